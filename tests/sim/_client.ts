/**
 * A plain v1 client for these tests: it speaks the protocol to a simulated device,
 * one call at a time.
 */

import { MAP_SHARED, type Mapping, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { vfioRegionInfo, vfioRegionInfoCapSparseMmap } from "../../src/uapi/mod.ts";
import { type Bytes, bytes, DeviceClient } from "./_device_client.ts";

export { type Bytes, bytes, int, text } from "./_device_client.ts";

export const STOP = 0;
export const RUNNING = 1;
export const STOP_AND_COPY = 2;
export const PRE_COPY = 3;
export const RESUMING = 4;
export const ERROR = 6;

export const DEVICE_STATE = 0;
export const PENDING_BYTES = 8;
export const DATA_OFFSET = 16;
export const DATA_SIZE = 24;

/** The migration region has index 9; each region begins 2^40 bytes after the one before. */
const BASE = 9 * 2 ** 40;

export class Client extends DeviceClient {
  readonly #area: { offset: number; mapping: Mapping }[] = [];

  static override of(...specs: string[]): Client {
    return new Client(new SimKernel(...specs));
  }

  override close(): void {
    for (const { mapping } of this.#area) mapping.close();
    super.close();
  }

  /** Maps every area that the region lists. The caller ensures that there is at least one. */
  map(): void {
    const info = this.regionInfo(9);
    const next = vfioRegionInfo.size + 16;
    for (const { offset, size } of vfioRegionInfoCapSparseMmap.unpack(info, next).areas) {
      if (size === 0n) continue;
      const mapping = this.kernel.mmap(Number(size), {
        fd: this.fd,
        offset: BASE + Number(offset),
        prot: PROT_READ | PROT_WRITE,
        flags: MAP_SHARED,
      });
      this.#area.push({ offset: Number(offset), mapping });
    }
  }

  readRaw(at: number, length: number): Bytes {
    const into = bytes(length);
    const count = this.kernel.pread(this.fd, into, BASE + at);
    return into.subarray(0, count);
  }

  writeRaw(at: number, from: Bytes): number {
    return this.kernel.pwrite(this.fd, from, BASE + at);
  }

  read64(at: number): bigint {
    const raw = this.readRaw(at, 8);
    return new DataView(raw.buffer).getBigUint64(0, true);
  }

  write64(at: number, value: bigint): void {
    const raw = bytes(8);
    new DataView(raw.buffer).setBigUint64(0, value, true);
    this.writeRaw(at, raw);
  }

  get register(): number {
    return new DataView(this.readRaw(DEVICE_STATE, 4).buffer).getUint32(0, true);
  }

  get state(): number {
    return this.register & 7;
  }

  set state(state: number) {
    const raw = bytes(4);
    new DataView(raw.buffer).setUint32(0, ((this.register & ~7) | state) >>> 0, true);
    this.writeRaw(DEVICE_STATE, raw);
  }

  get pending(): number {
    return Number(this.read64(PENDING_BYTES));
  }

  get dataOffset(): number {
    return Number(this.read64(DATA_OFFSET));
  }

  get dataSize(): number {
    return Number(this.read64(DATA_SIZE));
  }

  /** The longest run from `at` on that lies in one mapping, or in none. */
  #run(at: number, end: number): { mapping: Mapping | null; offset: number; until: number } {
    const inside = this.#area.find(({ offset, mapping }) =>
      offset <= at && at < offset + mapping.length
    );
    if (inside !== undefined) {
      const until = Math.min(end, inside.offset + inside.mapping.length);
      return { mapping: inside.mapping, offset: at - inside.offset, until };
    }
    const until = Math.min(end, ...this.#area.map(({ offset }) => offset).filter((o) => o > at));
    return { mapping: null, offset: at, until };
  }

  readData(at: number, size: number): Bytes {
    const data = bytes(size);
    for (let done = 0; done < size;) {
      const { mapping, offset, until } = this.#run(at + done, at + size);
      const part = data.subarray(done, until - at);
      if (mapping !== null) mapping.read(offset, part);
      const count = mapping === null
        ? this.kernel.pread(this.fd, part, BASE + offset)
        : part.length;
      done += count;
    }
    return data;
  }

  writeData(at: number, data: Bytes): void {
    for (let done = 0; done < data.length;) {
      const { mapping, offset, until } = this.#run(at + done, at + data.length);
      const part = data.subarray(done, until - at);
      if (mapping !== null) mapping.write(offset, part);
      done += mapping === null ? this.kernel.pwrite(this.fd, part, BASE + offset) : part.length;
    }
  }

  /** One iteration; null at the end. `sizeOf` computes the data_size of a vGPU, which reads 0. */
  transaction(sizeOf?: (pending: number) => number): Bytes | null {
    const pending = this.pending;
    if (pending === 0) return null;
    const offset = this.dataOffset;
    const size = this.dataSize;
    return this.readData(offset, size === 0 && sizeOf !== undefined ? sizeOf(pending) : size);
  }

  /** All transactions of this phase. */
  drain(sizeOf?: (pending: number) => number): Bytes[] {
    const transactions: Bytes[] = [];
    for (;;) {
      const data = this.transaction(sizeOf);
      if (data === null) return transactions;
      transactions.push(data);
    }
  }

  /** Writes one transaction to the device. */
  put(data: Bytes): void {
    this.writeData(this.dataOffset, data);
    this.write64(DATA_SIZE, BigInt(data.length));
  }

  /** A whole restore. */
  restore(transactions: readonly Bytes[]): void {
    this.state = RESUMING;
    for (const data of transactions) this.put(data);
    this.state = RUNNING;
  }
}
