/**
 * Reads the `state.json` of a snapshot of cloud-hypervisor's: what is in it, and where the state of
 * its VFIO devices is.
 *
 * The layout is that of cloud-hypervisor 53.0 (vm-migration/src/lib.rs, pci/src/vfio.rs,
 * vmm/src/device_manager.rs and memory_manager.rs): a tree of `{"snapshots": {ID: …},
 * "snapshot_data": {"state": "JSON"}}`.
 *
 * @module
 */

import { VmmFileError } from "../vmm_file_error.ts";
import { BlobSink, type BlobText } from "./_blob_text.ts";
import {
  type JsonKind,
  type JsonPath,
  JsonScanner,
  type JsonVisitor,
  KeptString,
  type StringSink,
} from "./_json_scanner.ts";

export type { BlobText };

/** A VFIO device in a snapshot. */
export interface CloudHypervisorDevice {
  /** Its id: `_vfio0`, or what `--device id=` said. */
  readonly name: string;
  /** Its PCI address in the guest, `0000:00:05.0`; null if the snapshot does not say. */
  readonly guestAddress: string | null;
  /** Bytes of its state; 0 if there is none. */
  readonly bytes: number;
  /** Where they are in the file; null if the snapshot has no state of the device. */
  readonly blob: BlobText | null;
}

/** What a snapshot's `state.json` holds. */
export interface CloudHypervisorSnapshot {
  /** Its size, in bytes. */
  readonly bytes: number;
  /** The guest's memory, which is in other files; null if it is not said. */
  readonly memory: {
    /** Its size, in bytes. */
    readonly bytes: number;
    /** Ranges of guest addresses that it consists of. */
    readonly ranges: number;
  } | null;
  /** The VFIO and vfio-user devices. */
  readonly devices: readonly CloudHypervisorDevice[];
  /** The ids of the other devices. */
  readonly others: readonly string[];
}

/** How to read a snapshot. */
export interface ReadSnapshotOptions {
  /** Ends it, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called after each chunk with the bytes so far, at last with those of what is returned. What
   * it throws ends the work.
   */
  readonly onProgress?: ((progress: Pick<CloudHypervisorSnapshot, "bytes">) => void) | undefined;
}

/** Devices of a machine: 96 PCI segments of 32 devices, each with its transport, fit in. */
const MOST_DEVICES = 16_384;

/** Bytes of the state of the device manager, or of the memory manager. */
const MOST_STATE = 16 << 20;

/** cloud-hypervisor 53.0 writes the file with one write, and Linux takes no more of it. */
const MOST_WRITTEN = 0x7ffff000;

/**
 * Reads a `state.json`, checks it as a whole, and says where the state of its VFIO devices is.
 * Memory does not grow with it.
 *
 * @throws {VmmFileError} `truncated` or `damaged`, with the offset; `unsupported` if another version
 * of cloud-hypervisor wrote it, which keeps the state in another way, or none; `not-a-vmm-file`.
 *
 * @example
 * ```ts
 * import { readCloudHypervisorSnapshot } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * const node = (state: unknown, snapshots = {}) => ({
 *   snapshots,
 *   snapshot_data: { state: JSON.stringify(state) },
 * });
 * const device = node({}, { vfio_common: node({}, { vfio_migration: node({ blob: "AAEC" }) }) });
 * const state = node({}, { "device-manager": node({}, { nic: device }) });
 * const { devices } = await readCloudHypervisorSnapshot(
 *   ReadableStream.from([new TextEncoder().encode(JSON.stringify(state))]),
 * );
 * assert.deepEqual(devices.map(({ name, bytes }) => [name, bytes]), [["nic", 3]]);
 * ```
 */
export async function readCloudHypervisorSnapshot(
  stream: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { signal, onProgress }: ReadSnapshotOptions = {},
): Promise<CloudHypervisorSnapshot> {
  const tree = new SnapshotTree();
  const scanner = new JsonScanner(tree);
  let bytes = 0;
  for await (const chunk of stream) {
    signal?.throwIfAborted();
    scanner.push(chunk);
    bytes += chunk.length;
    onProgress?.({ bytes });
  }
  try {
    scanner.end();
  } catch (error) {
    if (!(error instanceof VmmFileError) || bytes !== MOST_WRITTEN) throw error;
    throw new VmmFileError(
      "truncated",
      bytes,
      `it was cut when it was written: cloud-hypervisor writes no more than ${MOST_WRITTEN} bytes`,
    );
  }
  onProgress?.({ bytes });
  return { bytes, ...tree.content() };
}

/** A device of the device manager's, as far as it was read. */
interface DeviceNode {
  readonly name: string;
  /** Whether it is a VFIO device, and whether it has state. */
  vfio: boolean;
  stateful: boolean;
  blob: BlobText | null;
}

/** Takes what matters out of the tree. */
class SnapshotTree implements JsonVisitor {
  readonly #names = new Set<string>();
  readonly #devices: DeviceNode[] = [];
  #deviceManager: string | null = null;
  #memoryManager: string | null = null;
  #known = false;

  value(kind: JsonKind, path: JsonPath, offset: number): StringSink | null {
    if (path.length === 0) {
      if (kind === "object") return null;
      throw new VmmFileError("not-a-vmm-file", offset, "it is no snapshot of cloud-hypervisor's");
    }
    if (path.length === 1 && path[0] === "id") throw older(offset, "28 or earlier");
    if (path.length % 2 === 1 && path.at(-1) === "snapshot_data" && kind === "array") {
      throw older(offset, "29 to 38");
    }
    const [snapshots, manager, part, name] = path;
    if (snapshots !== "snapshots") return null;
    if (manager === "memory-manager" && isState(path, 2) && kind === "string") {
      return new KeptString("the state of memory-manager", MOST_STATE, (state) => {
        this.#memoryManager = state;
      });
    }
    if (manager !== "device-manager") return null;
    this.#known = true;
    if (isState(path, 2) && kind === "string") {
      return new KeptString("the state of device-manager", MOST_STATE, (state) => {
        this.#deviceManager = state;
      });
    }
    if (part !== "snapshots" || typeof name !== "string") return null;
    return this.#inDevice(kind, path, offset);
  }

  #inDevice(kind: JsonKind, path: JsonPath, offset: number): StringSink | null {
    const name = path[3]!;
    if (path.length === 4) {
      this.#begin(name, kind, offset);
      return null;
    }
    const device = this.#devices.at(-1)!;
    if (path[4] !== "snapshots" || path[5] !== "vfio_common") return null;
    device.vfio = true;
    if (path[6] !== "snapshots" || path[7] !== "vfio_migration") return null;
    device.stateful = true;
    if (!isState(path, 8)) return null;
    if (kind !== "string" || device.blob !== null) {
      throw new VmmFileError("damaged", offset, `the state of ${name} is no text, or comes twice`);
    }
    return new BlobSink(name, (blob) => {
      device.blob = blob;
    });
  }

  #begin(name: string, kind: JsonKind, offset: number): void {
    if (kind !== "object" || this.#names.has(name)) {
      throw new VmmFileError("damaged", offset, `the device ${name} is no object, or comes twice`);
    }
    if (this.#names.size === MOST_DEVICES) {
      throw new VmmFileError("damaged", offset, `it has more than ${MOST_DEVICES} devices`);
    }
    this.#names.add(name);
    this.#devices.push({ name, vfio: false, stateful: false, blob: null });
  }

  /** What was read, of the whole file. */
  content(): Omit<CloudHypervisorSnapshot, "bytes"> {
    if (!this.#known) {
      const what = "it has no device-manager, so it is no snapshot of cloud-hypervisor's";
      throw new VmmFileError("not-a-vmm-file", null, what);
    }
    const empty = this.#devices.find(({ stateful, blob }) => stateful && blob === null);
    if (empty !== undefined) {
      throw new VmmFileError("damaged", null, `vfio_migration of ${empty.name} has no state`);
    }
    const tree = member(parsed(this.#deviceManager, "device-manager"), "device_tree");
    return {
      memory: memoryOf(parsed(this.#memoryManager, "memory-manager")),
      devices: this.#devices.filter(({ vfio }) => vfio).map(({ name, blob }) => ({
        name,
        guestAddress: addressOf(member(member(tree, name), "pci_bdf")),
        bytes: blob?.bytes ?? 0,
        blob,
      })),
      others: this.#devices.filter(({ vfio }) => !vfio).map(({ name }) => name),
    };
  }
}

/** Whether a path ends in the state of the node with so many steps. */
function isState(path: JsonPath, steps: number): boolean {
  return path.length === steps + 2 && path[steps] === "snapshot_data" &&
    path[steps + 1] === "state";
}

function older(offset: number, versions: string): VmmFileError {
  return new VmmFileError(
    "unsupported",
    offset,
    `cloud-hypervisor ${versions} wrote it, which saved no state of VFIO devices`,
    "Take the snapshot with cloud-hypervisor 53 or later",
  );
}

function parsed(state: string | null, manager: string): unknown {
  if (state === null) return null;
  try {
    return JSON.parse(state);
  } catch {
    throw new VmmFileError("damaged", null, `the state of ${manager} is no JSON`);
  }
}

function member(object: unknown, key: string): unknown {
  if (typeof object !== "object" || object === null || !Object.hasOwn(object, key)) return null;
  return (object as Readonly<Record<string, unknown>>)[key];
}

function addressOf(address: unknown): string | null {
  if (typeof address !== "string") return null;
  return /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(address) ? address : null;
}

function memoryOf(state: unknown): CloudHypervisorSnapshot["memory"] {
  const ranges = member(member(state, "memory_ranges"), "data");
  if (!Array.isArray(ranges)) return null;
  let bytes = 0;
  for (const range of ranges) {
    const length = member(range, "length");
    if (typeof length !== "number" || length < 0) return null;
    bytes += length;
  }
  return Number.isSafeInteger(bytes) ? { bytes, ranges: ranges.length } : null;
}
