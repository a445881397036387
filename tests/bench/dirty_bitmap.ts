/**
 * The dirty bitmap against C, on 32 MiB of bitmap: 1 TiB in pages of 4 KiB.
 *
 * `npx --yes deno@2.9.6 run -A tests/bench/dirty_bitmap.ts` measures in Deno, then
 * in Bun. C works on the same memory in the same process, in turns with ours;
 * the least time of each counts. Compared is C's time by ours: above 1, ours is
 * the faster. The row against memcmp says how much of what the memory can give
 * isEmpty() takes: where C's own loop takes nearly all of it, nothing can be 1.5
 * times as fast on 32 MiB.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { DirtyBitmap } from "../../src/dirty/bitmap/bitmap.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { compileLibrary, type Yardstick } from "./_library.ts";
import { interleave } from "./_measure.ts";
import { formatRows, type Row } from "./_row.ts";

const BITMAP_BYTES = 32 << 20;
const ROUNDS = 15;

interface Case {
  readonly what: string;
  readonly yardstick: Yardstick;
  readonly ours: (bitmap: DirtyBitmap) => number;
  /** The ratio to reach. */
  readonly target?: number;
}

const words = new Uint32Array(BITMAP_BYTES / 4);
const bytes = new Uint8Array(words.buffer);

let seed = 20260707;
/** xorshift: 32 random bits. */
function random(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return seed >>> 0;
}

/** Sets this part of the bits, anywhere. */
function fill(part: number): void {
  words.fill(0);
  if (part === 0.5) {
    for (let index = 0; index < words.length; index++) words[index] = random();
    return;
  }
  for (let left = part * BITMAP_BYTES * 8; left >= 1; left--) {
    const page = random() % (BITMAP_BYTES * 8);
    words[page >>> 5]! |= 1 << (page & 31);
  }
}

function bitmapOver(memory: Parameters<typeof DirtyBitmap.over>[1]): DirtyBitmap {
  return DirtyBitmap.over({ iova: 0n, size: BigInt(memory.length) << 15n, pgsize: 4096 }, memory);
}

function foldPages(bitmap: DirtyBitmap): number {
  let fold = 0;
  for (const batch of bitmap.pageBatches()) {
    for (let index = 0; index < batch.length; index++) fold ^= batch[index]!;
  }
  return fold >>> 0;
}

function foldRuns(bitmap: DirtyBitmap): number {
  let fold = 0;
  bitmap.forEachRun((page, pages) => {
    fold ^= page - pages;
  });
  return fold >>> 0;
}

function foldRunObjects(bitmap: DirtyBitmap): number {
  let fold = 0;
  for (const { iova, size } of bitmap.runs()) fold ^= Number(iova >> 12n) - Number(size >> 12n);
  return fold >>> 0;
}

function isEmpty(bitmap: DirtyBitmap): number {
  return Number(bitmap.isEmpty());
}

function count(bitmap: DirtyBitmap): number {
  return bitmap.count();
}

function microseconds(work: () => number): number {
  const start = performance.now();
  work();
  return (performance.now() - start) * 1000;
}

async function measure(
  bits: Uint8Array<ArrayBuffer>,
  bitmap: DirtyBitmap,
  one: Case,
): Promise<Row> {
  assert.equal(one.ours(bitmap), one.yardstick(bits), `${one.what}: C has another answer`);
  const least = await interleave(ROUNDS, {
    theirs: () => microseconds(() => one.yardstick(bits)),
    ours: () => microseconds(() => one.ours(bitmap)),
  });
  const ratio = least.theirs / least.ours;
  return {
    ...least,
    what: one.what,
    yardstick: "C",
    unit: "µs",
    compared: ratio.toFixed(2),
    target: one.target === undefined ? null : `≥ ${one.target}`,
    met: one.target === undefined ? null : ratio >= one.target,
    note: null,
  };
}

async function table(folder: string): Promise<Row[]> {
  const c = await compileLibrary("dirty_bitmap", folder, [
    "is_empty",
    "is_empty_memcmp",
    "count_set",
    "fold_pages",
    "fold_runs",
  ]);
  using mapping = libcKernel().mmap(BITMAP_BYTES, {
    prot: PROT_READ | PROT_WRITE,
    flags: MAP_PRIVATE | MAP_ANONYMOUS,
  });
  const bitmap = bitmapOver(bytes);
  const mapped = bitmapOver(mapping);
  const rows: Row[] = [];
  const add = async (bits: Uint8Array<ArrayBuffer>, over: DirtyBitmap, one: Case) => {
    rows.push(await measure(bits, over, one));
  };

  fill(0);
  // Untouched, all of it would be one page of zeros.
  mapping.write(0, bytes);
  const small = bytes.subarray(0, 1 << 20);
  const empty = { yardstick: c.is_empty, ours: isEmpty };
  await add(bytes, bitmap, { what: "nothing set, isEmpty()", ...empty, target: 1.5 });
  await add(bytes, bitmap, {
    what: "  against memcmp in C",
    yardstick: c.is_empty_memcmp,
    ours: isEmpty,
  });
  await add(small, bitmapOver(small), { what: "  1 MiB of bitmap", ...empty });
  await add(bytes, mapped, { what: "  kernel memory", ...empty });
  for (const [part, target] of [[0.0001, 1], [0.01, 0.6], [0.5, 0.5]] as const) {
    fill(part);
    mapping.write(0, bytes);
    const set = `${part * 100} % set,`;
    const runs = { yardstick: c.fold_runs, ours: foldRuns };
    await add(bytes, bitmap, {
      what: `${set} pageBatches()`,
      yardstick: c.fold_pages,
      ours: foldPages,
      target,
    });
    await add(bytes, bitmap, { what: `${set} forEachRun()`, ...runs, target });
    await add(bytes, mapped, { what: "  kernel memory", ...runs });
    if (part < 0.5) {
      await add(bytes, bitmap, { what: "  as runs()", ...runs, ours: foldRunObjects });
    }
    await add(bytes, bitmap, {
      what: `${set} count()`,
      yardstick: c.count_set,
      ours: count,
      target: 0.5,
    });
  }
  return rows;
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-bench-"));
try {
  console.log(
    "Deno" in globalThis ? `Deno ${Deno.version.deno}` : `Bun ${process.versions["bun"]}`,
  );
  console.log(formatRows(await table(folder)));
} finally {
  fs.rmSync(folder, { recursive: true });
}
if ("Deno" in globalThis) {
  console.log();
  execFileSync("npx", ["--yes", "bun@1.4.5", import.meta.filename!], { stdio: "inherit" });
}
