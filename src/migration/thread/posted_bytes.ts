/**
 * How what has bytes in it is posted in requests and answers: as buffers, not as views.
 *
 * Deno's `node:worker_threads` goes through the elements of each view and array in a message: 0.4 s
 * for a view of a MiB. It leaves buffers alone.
 */

import type { Batch } from "../../checkpoint/batches/batch_builder.ts";
import type { DirtyReading, UnmapReading } from "../../dirty/mod.ts";
import type { PulledBatch } from "./session.ts";
import {
  packReading,
  packUnmapReading,
  type PostedReading,
  type PostedUnmapReading,
  unpackReading,
  unpackUnmapReading,
} from "./posted_readings.ts";
import type { RequestName } from "./requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A view, taken apart. */
interface PostedBytes {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
  readonly length: number;
}

/** A batch, its bytes and sizes taken apart. */
interface PostedBatch {
  readonly bytes: PostedBytes;
  readonly sizes: ArrayBuffer;
  readonly more: boolean;
}

function packBytes({ buffer, byteOffset, length }: Bytes): PostedBytes {
  return { buffer, offset: byteOffset, length };
}

function unpackBytes({ buffer, offset, length }: PostedBytes): Bytes {
  return new Uint8Array(buffer, offset, length);
}

function packBatch({ bytes, sizes, more }: Batch<ArrayBuffer>): PostedBatch {
  return { bytes: packBytes(bytes), sizes: Uint32Array.from(sizes).buffer, more };
}

function unpackBatch({ bytes, sizes, more }: PostedBatch): Batch<ArrayBuffer> {
  return { bytes: unpackBytes(bytes), sizes: new Uint32Array(sizes), more };
}

/** The arguments of a request, to be posted. */
export function packArgs(method: RequestName, args: readonly unknown[]): readonly unknown[] {
  if (method === "pull") return [packBytes(args[0] as Bytes)];
  if (method === "push") return [packBatch(args[0] as Batch<ArrayBuffer>)];
  // A copy: the whole buffer is posted.
  if (method === "writeMemory") return [args[0], packBytes((args[1] as Bytes).slice())];
  return args;
}

/** The arguments of a request that was posted. */
export function unpackArgs(method: RequestName, args: readonly unknown[]): readonly unknown[] {
  if (method === "pull") return [unpackBytes(args[0] as PostedBytes)];
  if (method === "push") return [unpackBatch(args[0] as PostedBatch)];
  if (method === "writeMemory") return [args[0], unpackBytes(args[1] as PostedBytes)];
  return args;
}

/** What a request returns, to be posted. */
export function packValue(method: RequestName, value: unknown): unknown {
  switch (method) {
    case "readRegion":
    case "readMemory":
    case "hashPages":
      return packBytes(value as Bytes);
    case "readDirty":
      return packReading(value as DirtyReading);
    case "unmapWithDirty":
      return packUnmapReading(value as UnmapReading);
    case "pull": {
      const { batch, ended } = value as PulledBatch;
      return { batch: packBatch(batch), ended };
    }
    default:
      return value;
  }
}

/** What a request returned, as it was posted. */
export function unpackValue(method: RequestName, value: unknown): unknown {
  switch (method) {
    case "readRegion":
    case "readMemory":
    case "hashPages":
      return unpackBytes(value as PostedBytes);
    case "readDirty":
      return unpackReading(value as PostedReading);
    case "unmapWithDirty":
      return unpackUnmapReading(value as PostedUnmapReading);
    case "pull": {
      const { batch, ended } = value as { readonly batch: PostedBatch; readonly ended: boolean };
      return { batch: unpackBatch(batch), ended };
    }
    default:
      return value;
  }
}
