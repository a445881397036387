/**
 * Region 2 of a simulated device with `doorbell=1`: registers that make it write to memory by DMA
 * and then raise an interrupt, so that a driver or a virtual machine can be tried on it.
 */

import { VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE } from "../../uapi/mod.ts";
import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import type { DmaEngine } from "../dma/dma_engine.ts";
import { Refusal, refuse } from "../os/refusal.ts";
import type { Bytes } from "../os/bytes.ts";
import type { DeviceRegion } from "../driver/region.ts";
import type { Interrupts } from "./interrupts.ts";

/** The registers, in this order and little endian. */
interface DoorbellFields {
  /** Where in memory to write (IOVA). */
  address: bigint;
  /** How many bytes, at most 4096. */
  length: number;
  /** A write begins the DMA: byte n of it is the value plus n. */
  doorbell: number;
  /** The errno of the last DMA; 0 if it succeeded. Read only. */
  status: number;
  /** DMAs since the device was opened. Read only. */
  count: number;
  /** Which vector is signalled, by MSI and MSI-X. */
  vector: number;
  /** 1 while INTx is pending. A write acknowledges it. */
  pending: number;
}

const LAYOUT: StructCodec<DoorbellFields> = struct("vkit_doorbell", {
  address: "u64",
  length: "u32",
  doorbell: "u32",
  status: "u32",
  count: "u32",
  vector: "u32",
  pending: "u32",
});

const SIZE = 4096;
const MOST = 4096;
const DOORBELL = LAYOUT.offsetOf("doorbell");
const STATUS = LAYOUT.offsetOf("status");
const COUNT = LAYOUT.offsetOf("count");
const VECTOR = LAYOUT.offsetOf("vector");
const PENDING = LAYOUT.offsetOf("pending");
const END = LAYOUT.size;
/** What can be written to. */
const WRITABLE: readonly (readonly [from: number, to: number])[] = [[0, STATUS], [VECTOR, PENDING]];

/** The registers; all that follows them reads as 0. */
export class DoorbellRegion implements DeviceRegion {
  readonly size = SIZE;
  readonly flags: number = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
  readonly #bytes: Bytes = new Uint8Array(SIZE);
  readonly #view: DataView = new DataView(this.#bytes.buffer);
  readonly #engine: DmaEngine;
  readonly #interrupts: Interrupts;
  readonly #running: () => boolean;

  constructor(engine: DmaEngine, interrupts: Interrupts, running: () => boolean) {
    this.#engine = engine;
    this.#interrupts = interrupts;
    this.#running = running;
  }

  /** The device is opened or reset. */
  reset(): void {
    this.#bytes.fill(0);
  }

  pread(at: number, into: Bytes): number {
    if (at >= SIZE) refuse("EINVAL");
    this.#view.setUint32(PENDING, this.#interrupts.pending ? 1 : 0, true);
    const part = this.#bytes.subarray(at, at + into.length);
    into.set(part);
    return part.length;
  }

  pwrite(at: number, from: Bytes): number {
    if (at >= SIZE) refuse("EINVAL");
    const length = Math.min(from.length, SIZE - at);
    const end = at + length;
    for (const [first, last] of WRITABLE) {
      const [begin, stop] = [Math.max(at, first), Math.min(end, last)];
      if (begin < stop) this.#bytes.set(from.subarray(begin - at, stop - at), begin);
    }
    if (at < END && end > PENDING) this.#interrupts.acknowledge();
    if (at < STATUS && end > DOORBELL) this.#ring();
    return length;
  }

  #ring(): void {
    const { address, length, doorbell, vector } = LAYOUT.unpack(this.#bytes);
    this.#view.setUint32(STATUS, this.#write(address, length, doorbell), true);
    this.#view.setUint32(COUNT, this.#view.getUint32(COUNT, true) + 1, true);
    this.#interrupts.raise(vector);
  }

  /** Writes; returns the errno. */
  #write(address: bigint, length: number, value: number): number {
    try {
      if (!this.#running()) refuse("EBUSY");
      if (length > MOST) refuse("EINVAL");
      this.#engine.write(address, Uint8Array.from({ length }, (_, n) => value + n));
      return 0;
    } catch (error) {
      if (error instanceof Refusal) return error.errno;
      throw error;
    }
  }
}
