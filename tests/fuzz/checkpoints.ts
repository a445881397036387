/**
 * Hostile checkpoints: good ones that were changed, with every sum put right again, so that what is
 * wrong gets as far as it can.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { decodeCheckpoint } from "../../src/checkpoint/format/decode.ts";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { IdentityError } from "../../src/transfer/identity/identity_error.ts";
import { CheckpointReader } from "../../src/checkpoint/format/checkpoint_reader.ts";
import { restore } from "../../src/transfer/restore.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { Bench, checkFolder } from "./_bench.ts";
import { ownSource, savedFrom, type SavedOptions, streamOf } from "./_checkpoints.ts";
import { apply, type Edit, makeEdit } from "./_edits.ts";
import { checkError, describe, nonsense } from "./_errors.ts";
import { concat, fittingTail, putTogether, takeApart } from "./_forge.ts";
import { Find, type Kind, without } from "./_kind.ts";
import type { Random } from "./_random.ts";
import type { Spec } from "./_specs.ts";
import { FRAME_TAIL } from "../../src/checkpoint/frames/constants.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What is done to the whole when its sums are right. */
interface Damage {
  readonly how: "cut" | "append" | "flip";
  /** Where: a share of all bytes; bytes to append. */
  readonly at: number;
}

/** A hostile checkpoint. */
export interface Forgery {
  readonly specs: readonly Spec[];
  readonly options: SavedOptions;
  readonly edits: readonly Edit[];
  /** Whether the trailer is made to fit what comes before it. */
  readonly fit: boolean;
  readonly damage: Damage | null;
}

/** A hostile checkpoint, and how it is read and restored. */
export interface CheckpointPlan extends Forgery {
  /** The lengths of the pieces that it is read in, over and over. */
  readonly pieces: readonly number[];
  readonly way: "seekable" | "pipe" | "file";
  readonly host: "inline" | "worker";
  readonly force: boolean;
}

function spec(personality: Spec["personality"], ...options: readonly string[]): Spec {
  return { personality, options, faults: [] };
}

const BASES: readonly (readonly Spec[])[] = [
  [spec("trapped", "size=16KiB", "chunk=3000")],
  [spec("mapped", "size=64KiB", "chunk=4096")],
  [spec("partitioned", "size=64KiB", "chunk=5000")],
  [spec("nvidia-vgpu", "size=64KiB", "chunk=4096")],
  [spec("ice", "size=16KiB")],
  [spec("mlx5", "size=64KiB", "chunk=4096")],
  [spec("mtty", "size=4KiB")],
  [spec("hisi", "size=8KiB")],
  [spec("virtio", "size=16KiB"), spec("trapped", "size=8KiB", "chunk=1000")],
  [spec("stop-copy-only", "size=4KiB"), spec("qat", "size=4KiB"), spec("mapped", "size=4KiB")],
];

function makeDamage(random: Random): Damage {
  const how = random.pick(["cut", "append", "flip"] as const);
  return { how, at: how === "append" ? random.few(1, 100) : random.below(10_000) / 10_000 };
}

/** Hostile checkpoints. */
export const checkpoints: Kind<CheckpointPlan> = {
  name: "checkpoints",
  make: (random): CheckpointPlan => ({
    specs: random.pick(BASES),
    options: {
      ...(random.chance(0.4) ? { precopy: {} } : {}),
      ...(random.chance(0.5) ? { compress: "zstd" } : {}),
      ...(random.chance(0.3) ? { digest: "sha256" } : {}),
    },
    edits: Array.from({ length: random.few(1, 4) }, () => makeEdit(random)),
    fit: random.chance(0.7),
    damage: random.chance(0.1) ? makeDamage(random) : null,
    pieces: Array.from({ length: random.few(1, 5) }, () => random.few(1, 5000)),
    way: random.pick(["seekable", "pipe", "file"]),
    host: random.chance(0.2) ? "worker" : "inline",
    force: random.chance(0.3),
  }),
  *smaller(plan): Generator<CheckpointPlan> {
    for (const edits of without(plan.edits)) yield { ...plan, edits };
    if (plan.damage !== null) yield { ...plan, damage: null };
    if (plan.host === "worker") yield { ...plan, host: "inline" };
    if (plan.way !== "pipe") yield { ...plan, way: "pipe" };
    if (Object.keys(plan.options).length > 0) yield { ...plan, options: {} };
    if (plan.force) yield { ...plan, force: false };
    if (plan.fit) yield { ...plan, fit: false };
    for (const pieces of without(plan.pieces)) {
      if (pieces.length > 0) yield { ...plan, pieces };
    }
  },
  async run(plan, folder): Promise<void> {
    const bytes = await forge(plan);
    const before = process.memoryUsage().rss;
    const verdict = await judge(bytes, plan.pieces);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    if (grown > MOST_MIB) throw new Find("memory", `reading it took ${grown.toFixed(0)} MiB`);
    await bringIn(plan, bytes, verdict, folder);
  },
};

/** More than the runtime itself ever takes between two looks. */
const MOST_MIB = 400;

/** Its bytes. */
export async function forge(plan: Forgery): Promise<Bytes> {
  const saved = await savedFrom(plan.specs, plan.options);
  const parts = takeApart(saved.bytes.slice());
  const atTail = (edit: Edit): boolean => "last" in edit && edit.last;
  for (const edit of plan.edits) if (!atTail(edit)) apply(parts, edit);
  if (plan.fit) {
    const digest = plan.options.digest !== undefined;
    for (const frame of parts.frames) {
      if (frame.type === FRAME_TAIL) frame.meta = fittingTail(parts, plan.specs.length, digest);
    }
  }
  for (const edit of plan.edits) if (atTail(edit)) apply(parts, edit);
  const bytes = putTogether(parts);
  if (plan.damage === null) return bytes;
  const { how, at } = plan.damage;
  if (how === "append") return concat([bytes, new Uint8Array(at)]);
  const where = Math.floor(at * bytes.length);
  if (how === "cut") return bytes.slice(0, where);
  if (bytes.length > 0) bytes[where]! ^= 1 << (where % 8);
  return bytes;
}

/** What became of reading it: null where it is good. */
type Verdict = CheckpointError | null;

function known(error: unknown, way: string): CheckpointError {
  if (!(error instanceof CheckpointError)) checkError(error, NEVER, way);
  if (error instanceof CheckpointError) {
    const bad = nonsense(error.message);
    if (bad !== null) throw new Find("message", `the error has ${bad}: ${error.message}`);
    return error;
  }
  throw new Find("undocumented error", `${way} failed with ${describe(error)}`, { cause: error });
}

const NEVER: readonly unknown[] = [];

/** Reads it in every way that there is: all come to the same. */
async function judge(bytes: Bytes, pieces: readonly number[]): Promise<Verdict> {
  const ways: Readonly<Record<string, () => unknown>> = {
    "read whole": () => push(bytes, [bytes.length], false),
    "read in pieces": () => push(bytes, pieces, false),
    "read without keeping it": () => push(bytes, pieces, true),
    "read in place": () => fill(bytes, pieces),
    "verified": () => verifyCheckpoint(streamOf(bytes, pieces[0])),
    "decoded": () => decode(bytes, pieces[0]!),
  };
  let first: { readonly way: string; readonly verdict: Verdict } | null = null;
  for (const [way, read] of Object.entries(ways)) {
    let verdict: Verdict = null;
    try {
      const result = await read();
      const bad = nonsense(JSON.stringify(result ?? null));
      if (bad !== null) throw new Find("message", `what was ${way} has ${bad}`);
    } catch (error) {
      if (error instanceof Find) throw error;
      verdict = known(error, way);
    }
    first ??= { way, verdict };
    const same = verdict?.code === first.verdict?.code && verdict?.offset === first.verdict?.offset;
    if (!same) {
      throw new Find(
        "verdict",
        `${first.way} it is ${tell(first.verdict)}, ${way} it is ${tell(verdict)}`,
      );
    }
  }
  return first!.verdict;
}

function tell(verdict: Verdict): string {
  return verdict === null ? "good" : `bad (${verdict.code} at ${verdict.offset})`;
}

function push(bytes: Bytes, pieces: readonly number[], discard: boolean): unknown {
  const reader = new CheckpointReader({ discard });
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = pieces[index % pieces.length]!;
    for (const _ of reader.push(bytes.subarray(at, at + length)));
    at += length;
  }
  const trailer = reader.end();
  return { header: reader.header, trailer, phases: reader.phases };
}

function fill(bytes: Bytes, pieces: readonly number[]): unknown {
  const reader = new CheckpointReader();
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const room = reader.room();
    const count = Math.min(room.length, pieces[index % pieces.length]!, bytes.length - at);
    room.set(bytes.subarray(at, at + count));
    reader.filled(count);
    at += count;
  }
  return { trailer: reader.end() };
}

async function decode(bytes: Bytes, piece: number): Promise<unknown> {
  const decoder = decodeCheckpoint();
  const input = streamOf(bytes, piece).pipeTo(decoder.writable).catch(() => {});
  let read = 0;
  for await (const { data } of decoder.readable as AsyncIterable<Transaction>) read += data.length;
  await input;
  const trailer = await decoder.trailer;
  if (read !== trailer.bytes) {
    throw new Find("verdict", `${read} bytes came out, and the trailer says ${trailer.bytes}`);
  }
  return { header: await decoder.header, trailer };
}

/** What the simulated driver says of transactions that are not those that it gave. */
const CONTENT = /^transaction \d+ (came instead of|has) /;

/** Restores it into devices that it could be of. */
async function bringIn(
  plan: CheckpointPlan,
  bytes: Bytes,
  verdict: Verdict,
  folder: string,
): Promise<void> {
  const specs = plan.specs.map((one, index) => ({
    ...one,
    options: [...one.options, `seed=${3000 + index}`],
  }));
  const at = path.join(folder, "hostile.vfk");
  fs.writeFileSync(at, bytes);
  const bench = (await Bench.open({
    specs,
    host: plan.host,
    onError: "reset",
    operation: { do: "states", steps: [] },
    interruption: null,
  }))!;
  try {
    const { devices } = bench;
    const file = plan.way === "file" ? await openCheckpointFile(at) : null;
    const source = file ?? ownSource(bytes, plan.way === "seekable");
    const options = { force: plan.force };
    let error: Error | null = null;
    try {
      await (devices.length === 1
        ? restore(devices[0]!, source, options)
        : restore(devices, source, options));
    } catch (thrown) {
      checkError(thrown, NEVER, "the restore");
      error = thrown;
    }
    await file?.close();
    checkOutcome(error, verdict);
    for (const [index] of devices.entries()) {
      // Whatever somebody wrote: the device runs, and not with a part of it.
      await bench.checkState(index, "running", error === null ? "the restore" : error.message);
      const same = (await bench.truth(index))?.crc32 === bench.before[index]?.crc32;
      const untouched = verdict !== null && plan.way !== "pipe" || error instanceof IdentityError;
      if (untouched && !same) {
        throw new Find("untouched", `device ${index} was changed by ${error?.message}`);
      }
    }
  } finally {
    await bench.end(CONTENT);
  }
  await checkFolder(folder, ["hostile.vfk"]);
}

function checkOutcome(error: Error | null, verdict: Verdict): void {
  if (verdict === null) {
    // A driver may refuse what is in it, or it is of another device.
    const bad = error instanceof CheckpointError && error.code !== "incomplete";
    if (bad) throw new Find("verdict", `it is good, and the restore says ${describe(error)}`);
    return;
  }
  if (error === null) throw new Find("verdict", `it is ${tell(verdict)}, and was restored`);
  const cause = error instanceof TransferError ? error.cause : error;
  if (cause instanceof CheckpointError || cause instanceof MigrationError) return;
  if (cause instanceof IdentityError) return;
  throw new Find("verdict", `it is ${tell(verdict)}, and the restore says ${describe(error)}`);
}
