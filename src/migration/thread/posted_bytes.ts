/**
 * How the bytes of requests and answers are posted: as buffers, not as views.
 *
 * Deno's `node:worker_threads` goes through the elements of each view and array in a message: 0.4 s
 * for a view of a MiB. It leaves buffers alone.
 */

import type { Batch } from "../../checkpoint/batches/batch_builder.ts";
import type { PulledBatch } from "./open_session.ts";
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
  return args;
}

/** The arguments of a request that was posted. */
export function unpackArgs(method: RequestName, args: readonly unknown[]): readonly unknown[] {
  if (method === "pull") return [unpackBytes(args[0] as PostedBytes)];
  if (method === "push") return [unpackBatch(args[0] as PostedBatch)];
  return args;
}

/** What a request returns, to be posted. */
export function packValue(method: RequestName, value: unknown): unknown {
  if (method === "readRegion") return packBytes(value as Bytes);
  if (method !== "pull") return value;
  const { batch, ended } = value as PulledBatch;
  return { batch: packBatch(batch), ended };
}

/** What a request returned, as it was posted. */
export function unpackValue(method: RequestName, value: unknown): unknown {
  if (method === "readRegion") return unpackBytes(value as PostedBytes);
  if (method !== "pull") return value;
  const { batch, ended } = value as { readonly batch: PostedBatch; readonly ended: boolean };
  return { batch: unpackBatch(batch), ended };
}
