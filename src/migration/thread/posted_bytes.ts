/**
 * How what has bytes in it is posted in requests and answers: as buffers, not as views.
 *
 * Deno's `node:worker_threads` goes through the elements of each view and array in a message: 0.4 s
 * for a view of a MiB. It leaves buffers alone.
 */

import type { FilledBatch } from "../../checkpoint/batches/batch_builder.ts";
import {
  packReading,
  packUnmapReading,
  type PostedReading,
  unpackReading,
  unpackUnmapReading,
} from "./posted_readings.ts";
import type { PagesDue } from "../memory/page_scan.ts";
import type { RequestName, Requests } from "./requests.ts";

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

function packBatch({ bytes, sizes, more }: FilledBatch<ArrayBuffer>): PostedBatch {
  return { bytes: packBytes(bytes), sizes: Uint32Array.from(sizes).buffer, more };
}

function unpackBatch({ bytes, sizes, more }: PostedBatch): FilledBatch<ArrayBuffer> {
  return { bytes: unpackBytes(bytes), sizes: new Uint32Array(sizes), more };
}

/** Memory that is due, with the reading taken apart. */
interface PostedDue extends Omit<PagesDue, "reading"> {
  readonly reading: PostedReading | null;
}

/** How something is taken apart to be posted, and put together again. */
interface Posting<Value> {
  pack(value: Value): unknown;
  unpack(posted: never): Value;
}

const BYTES: Posting<Bytes> = { pack: packBytes, unpack: unpackBytes };

/** The requests whose arguments have bytes in them. */
const ARGS: { readonly [Name in RequestName]?: Posting<Parameters<Requests[Name]>> } = {
  pull: {
    pack: ([buffer]) => [packBytes(buffer)],
    unpack: ([buffer]: [PostedBytes]) => [unpackBytes(buffer)],
  },
  push: {
    pack: ([batch]) => [packBatch(batch)],
    unpack: ([batch]: [PostedBatch]) => [unpackBatch(batch)],
  },
  writeMemory: {
    // A copy: the whole buffer is posted.
    pack: ([iova, bytes]) => [iova, packBytes(bytes.slice())],
    unpack: ([iova, bytes]: [bigint, PostedBytes]) => [iova, unpackBytes(bytes)],
  },
};

/** The requests whose answers have. */
const VALUES: { readonly [Name in RequestName]?: Posting<ReturnType<Requests[Name]>> } = {
  readRegion: BYTES,
  readMemory: BYTES,
  hashPages: BYTES,
  addPages: {
    pack: (due) => ({ ...due, reading: due.reading === null ? null : packReading(due.reading) }),
    unpack: (due: PostedDue) => ({
      ...due,
      reading: due.reading === null ? null : unpackReading(due.reading),
    }),
  },
  readDirty: { pack: packReading, unpack: unpackReading },
  unmapWithDirty: { pack: packUnmapReading, unpack: unpackUnmapReading },
  pull: {
    pack: ({ batch, ended }) => ({ batch: packBatch(batch), ended }),
    unpack: ({ batch, ended }: { readonly batch: PostedBatch; readonly ended: boolean }) => ({
      batch: unpackBatch(batch),
      ended,
    }),
  },
};

/** The arguments of a request, to be posted. */
export function packArgs(method: RequestName, args: readonly unknown[]): readonly unknown[] {
  return (ARGS[method]?.pack(args as never) ?? args) as readonly unknown[];
}

/** The arguments of a request that was posted. */
export function unpackArgs(method: RequestName, args: readonly unknown[]): readonly unknown[] {
  return ARGS[method]?.unpack(args as never) ?? args;
}

/** What a request returns, to be posted. */
export function packValue(method: RequestName, value: unknown): unknown {
  return VALUES[method]?.pack(value as never) ?? value;
}

/** What a request returned, as it was posted. */
export function unpackValue(method: RequestName, value: unknown): unknown {
  return VALUES[method]?.unpack(value as never) ?? value;
}
