/**
 * Hostile migration streams of QEMU's and snapshots of cloud-hypervisor's: good ones in which bytes
 * were changed, lost, repeated or put elsewhere.
 */

import process from "node:process";
import { readCloudHypervisorSnapshot } from "../../src/vmm/cloud_hypervisor/read_snapshot.ts";
import { readQemuStream } from "../../src/vmm/qemu/read_stream.ts";
import { VmmFileError } from "../../src/vmm/vmm_file_error.ts";
import { snapshotState } from "../vmm/_cloud_hypervisor.ts";
import { pieces, qemuStream, type StreamPlan } from "../vmm/_qemu_stream.ts";
import { type Change, change, makeChange } from "./_byte_changes.ts";
import { describe, nonsense } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A hostile file, and how it is read. */
interface VmmFilePlan {
  readonly base: number;
  readonly changes: readonly Change[];
  /** The lengths of the pieces that it is read in, once each. */
  readonly pieces: readonly [number, number];
}

const STATE = new Uint8Array(700).fill(9);
const DEVICE = { name: "0000:00:05.0/vfio", precopy: [STATE], stopCopy: [STATE, STATE] };

const STREAMS: readonly StreamPlan[] = [
  { devices: [DEVICE], pages: 4, zeroPages: 3 },
  { devices: [DEVICE, { ...DEVICE, name: "0000:00:06.0/vfio" }], pages: 0, zeroPages: 1 },
  { machine: null, pages: 1 },
  { pageSize: 1024, capabilities: [], machine: "virt-9.1", devices: [DEVICE] },
];

/** A good file, and what reads it and says where state is in it. */
interface Base {
  readonly bytes: Bytes;
  readonly read: (bytes: Bytes, length: number) => Promise<object>;
}

const BASES: readonly Base[] = [
  ...STREAMS.map((plan) => ({ bytes: qemuStream(plan), read: readStream })),
  ...[[], [{ name: "nic0", state: STATE }, { name: "b", state: STATE.subarray(1) }]].map(
    (devices) => ({ bytes: snapshotState(devices), read: readSnapshot }),
  ),
];

async function readStream(bytes: Bytes, length: number): Promise<object> {
  const stream = await readQemuStream(pieces(bytes, length));
  for (const { records } of stream.devices) {
    const outside = records.find(({ offset, length }) => offset + length > bytes.length);
    if (outside !== undefined) throw new Find("bounds", "a record lies outside the file");
  }
  return stream;
}

async function readSnapshot(bytes: Bytes, length: number): Promise<object> {
  const snapshot = await readCloudHypervisorSnapshot(pieces(bytes, length));
  for (const { blob } of snapshot.devices) {
    if (blob === null) continue;
    const text = new TextDecoder("latin1").decode(
      bytes.subarray(blob.offset, blob.offset + blob.length),
    );
    const { length } = Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
    if (length !== blob.bytes) {
      throw new Find("base64", `${length} bytes, and not ${blob.bytes}, come of it`);
    }
  }
  return snapshot;
}

/** More than the runtime itself ever takes between two looks. */
const MOST_MIB = 400;

/** What became of reading it, as text: the same in whatever pieces it comes. */
async function verdict(read: Base["read"], bytes: Bytes, length: number): Promise<string> {
  try {
    return JSON.stringify(await read(bytes, length));
  } catch (error) {
    if (error instanceof Find) throw error;
    if (!(error instanceof VmmFileError)) {
      throw new Find("undocumented error", describe(error), { cause: error });
    }
    const bad = nonsense(error.message);
    if (bad !== null) throw new Find("message", `the error has ${bad}: ${error.message}`);
    if (error.offset !== null && error.offset > bytes.length) {
      throw new Find("offset", `${error.message}, and there are ${bytes.length} bytes`);
    }
    return error.message;
  }
}

/** Hostile files. */
export const vmmFiles: Kind<VmmFilePlan> = {
  name: "vmm-files",
  make: (random): VmmFilePlan => ({
    base: random.below(BASES.length),
    changes: Array.from({ length: random.few(1, 5) }, () => makeChange(random)),
    pieces: [random.few(1, 100), random.few(1000, 100_000)],
  }),
  *smaller(plan): Generator<VmmFilePlan> {
    for (const changes of without(plan.changes)) yield { ...plan, changes };
  },
  async run({ base, changes, pieces: [small, large] }): Promise<void> {
    const { read, bytes: good } = BASES[base]!;
    let bytes = good;
    for (const one of changes) bytes = change(bytes, one);
    const before = process.memoryUsage().rss;
    const [first, second] = [
      await verdict(read, bytes, small),
      await verdict(read, bytes, large),
    ];
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    if (grown > MOST_MIB) throw new Find("memory", `reading it took ${grown.toFixed(0)} MiB`);
    if (first === second) return;
    throw new Find("verdict", `in pieces of ${small}: ${first}; of ${large}: ${second}`);
  },
};
