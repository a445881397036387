/**
 * Checkpoints of clean devices, and whether a checkpoint makes a clean device equal.
 */

import { restore } from "../../src/transfer/restore.ts";
import type { RestoreSource } from "../../src/transfer/sinks_and_sources.ts";
import { save, type SaveOptions } from "../../src/transfer/save.ts";
import type { CheckpointSink } from "../../src/transfer/sinks_and_sources.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { describe } from "./_errors.ts";
import { Find } from "./_kind.ts";
import { cleanName, type Spec } from "./_specs.ts";
import { truthOf } from "./_window.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a caller's own sink got, and how it ended. */
export interface OwnSink extends CheckpointSink {
  readonly bytes: Bytes;
  readonly state: "open" | "committed" | "aborted";
}

/** A sink in memory, which has had enough after so many bytes. */
export function ownSink(full: number | null = null): OwnSink {
  const collected = collector(full);
  let state: OwnSink["state"] = "open";
  return {
    writable: collected.writable,
    get bytes(): Bytes {
      return collected.bytes;
    },
    get state(): OwnSink["state"] {
      return state;
    },
    commit(): Promise<void> {
      state = "committed";
      return Promise.resolve();
    },
    abort(): Promise<void> {
      if (state === "open") state = "aborted";
      return Promise.resolve();
    },
  };
}

/** A plain stream that keeps what it gets. */
export interface Collector {
  readonly writable: WritableStream<Bytes>;
  readonly bytes: Bytes;
  readonly closed: boolean;
}

/** Such a stream; it fails after so many bytes. */
export function collector(full: number | null = null): Collector {
  const chunks: Bytes[] = [];
  let length = 0;
  let closed = false;
  return {
    writable: new WritableStream<Bytes>({
      write(chunk): void {
        length += chunk.length;
        if (full !== null && length > full) throw new Error("the reader has had enough");
        chunks.push(chunk.slice());
      },
      close(): void {
        closed = true;
      },
    }),
    get bytes(): Bytes {
      const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
      let at = 0;
      for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
      return bytes;
    },
    get closed(): boolean {
      return closed;
    },
  };
}

/** Bytes as a stream, in pieces. */
export function streamOf(bytes: Uint8Array, piece = 1 << 16): ReadableStream<Bytes> {
  let at = 0;
  return new ReadableStream<Bytes>({
    pull(controller): void {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + piece) as Bytes);
      at += piece;
    },
  });
}

/** Bytes as a source of the caller's own. */
export function ownSource(bytes: Uint8Array, seekable: boolean): RestoreSource {
  return { seekable, stream: () => streamOf(bytes) };
}

/** A good checkpoint, and the sums of the states that are in it. */
export interface Saved {
  readonly bytes: Bytes;
  readonly crc32: readonly number[];
}

/** How a good checkpoint is made. */
export type SavedOptions = Pick<SaveOptions, "precopy" | "compress" | "digest">;

const made = new Map<string, Promise<Saved>>();
/** Each may have a MiB. */
const MOST_MADE = 100;

/** A checkpoint of clean devices of this kind. */
export function savedFrom(specs: readonly Spec[], options: SavedOptions): Promise<Saved> {
  const names = specs.map((spec, index) => cleanName(spec, 1000 + index));
  const key = JSON.stringify([names, options]);
  const known = made.get(key);
  if (known !== undefined) return known;
  if (made.size >= MOST_MADE) made.clear();
  const making = make(names, options);
  made.set(key, making);
  return making;
}

async function make(names: readonly string[], options: SavedOptions): Promise<Saved> {
  const kernel = new SimKernel(...names);
  await using devices = await openDevices(kernel.devices.map(({ path }) => path), { kernel });
  const sink = ownSink();
  const able = devices.some(({ description }) => description.precopy);
  const { precopy, ...rest } = options;
  const how = able && precopy !== undefined ? options : rest;
  if (devices.length === 1) await save(devices[0]!, sink, how);
  else await save(devices, sink, how);
  return { bytes: sink.bytes, crc32: kernel.devices.map((device) => device.checksum()) };
}

/**
 * Restores a checkpoint that was told to be good into clean devices.
 *
 * @param expected The sums of the states; null for one that is not known.
 * @throws {Find} If that fails, or the devices are not equal then.
 */
export async function checkRestores(
  bytes: Uint8Array,
  specs: readonly Spec[],
  expected: readonly (number | null)[],
): Promise<void> {
  const kernel = new SimKernel(...specs.map((spec, index) => cleanName(spec, 2000 + index)));
  await using devices = await openDevices(kernel.devices.map(({ path }) => path), { kernel });
  const source = ownSource(bytes, true);
  try {
    if (devices.length === 1) await restore(devices[0]!, source);
    else await restore(devices, source);
  } catch (error) {
    const message = `what was saved cannot be restored: ${describe(error)}`;
    throw new Find("restorable", message, { cause: error });
  }
  for (const [index, device] of devices.entries()) {
    const truth = (await truthOf(device))!;
    if (truth.state !== "running") {
      throw new Find("restorable", `restored, device ${index} is in ${truth.state}`);
    }
    if (expected[index] !== null && truth.crc32 !== expected[index]) {
      throw new Find("restorable", `restored, device ${index} is not what was saved`);
    }
    if (truth.violations > 0) {
      throw new Find("violation", `restoring: ${kernel.devices[index]!.violations.join("; ")}`);
    }
  }
}
