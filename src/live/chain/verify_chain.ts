/**
 * Reads the checkpoints of a folder, and finds out which can be restored.
 *
 * @module
 */

import * as fs from "node:fs";
import { chunksOf } from "../../base/chunks.ts";
import { cleanlyAsync } from "../../base/cleanup.ts";
import { CheckpointError } from "../../checkpoint/checkpoint_error.ts";
import { fileError } from "../../checkpoint/file/file_error.ts";
import { openCheckpointFile } from "../../checkpoint/file/open_checkpoint_file.ts";
import { CheckpointReader } from "../../checkpoint/format/checkpoint_reader.ts";
import type { ChainLink, LinkMemory } from "../../checkpoint/metadata/chain_link.ts";
import type { DecodedHeader } from "../../checkpoint/metadata/header.ts";
import { inspectCheckpoint } from "../../checkpoint/verify.ts";
import { errnoOf } from "../../kernel/errno_names.ts";
import { ChainError, type ChainErrorCode } from "./chain_error.ts";
import { linkFile, linkNumbers } from "./link_files.ts";

/** A checkpoint of a folder, as it was read. */
export interface LinkInspection {
  /** Its number. */
  readonly number: number;
  /** Its file. */
  readonly file: string;
  /** Its header; null if it is missing, or could not be read. */
  readonly header: DecodedHeader | null;
  /** Bytes of the file, as far as it could be read. */
  readonly storedBytes: number;
  /** Bytes of memory in it, zeros included. */
  readonly memoryBytes: number;
  /** Bytes of device data in it. */
  readonly deviceBytes: number;
  /** What is wrong with it, as a clause; null if it can be restored. */
  readonly problem: string | null;
  /** The code of that. */
  readonly code: ChainErrorCode | null;
  /** The error that made it unreadable; null if it is another checkpoint that is wrong. */
  readonly cause: Error | null;
}

/** A folder of checkpoints, as it was read. */
export interface ChainInspection {
  /** The folder. */
  readonly folder: string;
  /** The checkpoints, by ascending number, those included that are needed and missing. */
  readonly links: readonly LinkInspection[];
  /** The number of the last checkpoint that can be restored; null if there is none. */
  readonly lastGood: number | null;
}

/** A checkpoint that can be restored, and the checkpoints that it builds on. */
export interface VerifiedChain {
  /** The folder. */
  readonly folder: string;
  /** The number of the checkpoint. */
  readonly number: number;
  /** Its files: the full one first, the checkpoint itself last. */
  readonly files: readonly string[];
  /** The header of the checkpoint itself. */
  readonly header: DecodedHeader;
  /** The memory of each device, to be mapped for it. */
  readonly memory: readonly LinkMemory[];
  /** Bytes of device data that the devices are given. */
  readonly deviceBytes: number;
  /** Bytes of its files. */
  readonly storedBytes: number;
}

/** How far the checkpoints of a folder were read. */
export interface ChainProgress {
  /** Bytes of files that were read. */
  readonly storedBytes: number;
  /** Bytes of all files that are to be read. */
  readonly totalBytes: number;
}

/** How to read the checkpoints of a folder. */
export interface InspectChainOptions {
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called at least once a MiB. Counts from 0 again if a checkpoint cannot be restored, as all are
   * read then to find the last one that can. What it throws ends the work.
   */
  readonly onProgress?: ((progress: ChainProgress) => void) | undefined;
}

/** How to verify a chain. */
export interface VerifyChainOptions extends InspectChainOptions {
  /** The number of the checkpoint; the last one by default. */
  readonly number?: number | undefined;
}

/** What is wrong with a checkpoint. */
interface Problem {
  readonly code: ChainErrorCode;
  readonly problem: string;
  readonly cause: Error | null;
}

/** A checkpoint by itself: whether it fits the others is not known yet. */
interface Link extends Omit<LinkInspection, keyof Problem> {
  readonly link: ChainLink | null;
  readonly wrong: Problem | null;
}

/**
 * Reads all checkpoints of a folder whole, and finds out which of them can be restored.
 *
 * @throws {CheckpointFileError} If the folder or a file cannot be read.
 *
 * @example
 * ```ts
 * import { inspectChain } from "vfiokit/live";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * fs.writeFileSync(`${folder}/000003.vfk`, "no checkpoint");
 * const { links, lastGood } = await inspectChain(folder);
 * assert.deepEqual(links.map(({ number, code }) => [number, code]), [[3, "bad-link"]]);
 * assert.equal(lastGood, null);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function inspectChain(
  folder: string,
  options: InspectChainOptions = {},
): Promise<ChainInspection> {
  const read = new Map<number, Link>();
  const numbers = linkNumbers(folder);
  const reading = new Reading(folder, options);
  reading.expect(numbers.reduce((sum, number) => sum + sizeOf(linkFile(folder, number)), 0));
  for (const number of numbers) read.set(number, await reading.link(number));
  for (const { link } of [...read.values()]) {
    const needed = link?.previous?.number;
    if (needed !== undefined && !read.has(needed)) read.set(needed, missing(folder, needed));
  }
  const links: LinkInspection[] = [];
  const problems = new Map<number, Problem | null>();
  for (const number of [...read.keys()].sort((a, b) => a - b)) {
    const { link, wrong, ...rest } = read.get(number)!;
    const problem = wrong ?? predecessorProblem(link!, read, problems);
    problems.set(number, problem);
    links.push({
      ...rest,
      problem: problem?.problem ?? null,
      code: problem?.code ?? null,
      cause: wrong?.cause ?? null,
    });
  }
  const lastGood = links.findLast(({ problem }) => problem === null)?.number ?? null;
  return { folder, links, lastGood };
}

/**
 * Reads a checkpoint of a folder and all that it builds on, and checks that they are whole and fit
 * together.
 *
 * @throws {ChainError} If they do not; it names the last checkpoint that can be restored.
 * @throws {CheckpointFileError} If the folder or a file cannot be read.
 *
 * @example
 * ```ts
 * import { CheckpointChain, verifyChain } from "vfiokit/live";
 * import { openDevice } from "vfiokit";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const folder = fs.mkdtempSync("/tmp/vfiokit-");
 * await using device = await openDevice("sim:mlx5?size=64KiB", {
 *   maps: [{ iova: 0x100000n, size: 0x10000n }],
 *   tracker: "auto",
 * });
 * await using chain = new CheckpointChain(device, folder);
 * for (let count = 0; count < 3; count++) await chain.take();
 * const { files, memory } = await verifyChain(folder, { number: 1 });
 * assert.deepEqual(files, [`${folder}/000000.vfk`, `${folder}/000001.vfk`]);
 * assert.deepEqual(memory[0]!.ranges, [{ iova: 0x100000n, size: 0x10000n }]);
 * fs.rmSync(folder, { recursive: true });
 * ```
 */
export async function verifyChain(
  folder: string,
  options: VerifyChainOptions = {},
): Promise<VerifiedChain> {
  const number = options.number ?? linkNumbers(folder).at(-1);
  if (number === undefined) {
    throw new ChainError("there are none", { code: "no-checkpoint", folder, lastGood: null });
  }
  const reading = new Reading(folder, options);
  if (options.onProgress !== undefined) reading.expect(await sizeOfChain(folder, number));
  const files: string[] = [];
  let header: DecodedHeader | null = null;
  let deviceBytes = 0;
  let after: ChainLink | null = null;
  for (let next: number | null = number; next !== null;) {
    const read: Link = await reading.link(next);
    const wrong = read.wrong ?? (after === null ? null : misfit(after, read.link!));
    if (wrong !== null) {
      const { lastGood } = await inspectChain(folder, options);
      throw refusal({ folder, lastGood }, number, next, wrong);
    }
    files.unshift(read.file);
    if (header === null) ({ header, deviceBytes } = read);
    after = read.link!;
    next = after.previous?.number ?? null;
  }
  const { memory } = header!.link!;
  const { storedBytes } = reading;
  return { folder, number, files, header: header!, memory, deviceBytes, storedBytes };
}

/** Bytes of a checkpoint and of those that it builds on, as far as their headers can be read. */
async function sizeOfChain(folder: string, number: number): Promise<number> {
  let bytes = 0;
  const seen = new Set<number>();
  for (let next: number | null = number; next !== null && !seen.has(next);) {
    const file = linkFile(folder, next);
    seen.add(next);
    bytes += sizeOf(file);
    next = await previousOf(file);
  }
  return bytes;
}

/** The number of what a checkpoint builds on; null if there is nothing, or it cannot be read. */
async function previousOf(file: string): Promise<number | null> {
  if (sizeOf(file) === 0) return null;
  await using source = await openCheckpointFile(file);
  const chunks = chunksOf(source);
  const reader = new CheckpointReader({ discard: true });
  try {
    while (reader.header === null) {
      const { done, value } = await chunks.next();
      if (done) return null;
      for (const _ of reader.push(value));
    }
  } catch (error) {
    // Whoever reads it whole says what is wrong with it.
    if (!(error instanceof CheckpointError)) throw error;
  }
  chunks.cancel("the header was read");
  return reader.header?.link?.previous?.number ?? null;
}

function refusal(
  { folder, lastGood }: Pick<ChainInspection, "folder" | "lastGood">,
  number: number,
  failed: number,
  { code, problem, cause }: Problem,
): ChainError {
  const own = failed === number;
  const what = own ? `${number}: ${problem}` : `${number} needs ${failed}: ${problem}`;
  const none = own && code === "missing-link";
  return new ChainError(what, { code: none ? "no-checkpoint" : code, folder, lastGood }, {
    cause,
  });
}

function missing(folder: string, number: number): Link {
  return unread(folder, number, { code: "missing-link", problem: "it is missing", cause: null });
}

/** A checkpoint that there is nothing to read of. */
function unread(folder: string, number: number, wrong: Problem): Link {
  return {
    number,
    file: linkFile(folder, number),
    header: null,
    ...{ storedBytes: 0, memoryBytes: 0, deviceBytes: 0 },
    link: null,
    wrong,
  };
}

/** Reads checkpoints of a folder one after the other, and reports how far it is. */
class Reading {
  readonly #folder: string;
  readonly #options: InspectChainOptions;
  #totalBytes = 0;
  /** Bytes of the files that were read. */
  storedBytes = 0;

  constructor(folder: string, options: InspectChainOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Begins to report, of so many bytes. */
  expect(totalBytes: number): void {
    this.#totalBytes = totalBytes;
    this.#report(0);
  }

  #report(ofThisFile: number): void {
    const storedBytes = this.storedBytes + ofThisFile;
    this.#options.onProgress?.({ storedBytes, totalBytes: this.#totalBytes });
  }

  async link(number: number): Promise<Link> {
    const file = linkFile(this.#folder, number);
    const kind = kindOf(file);
    if (kind === "missing") return missing(this.#folder, number);
    if (kind === "other") {
      // A fifo would be waited for, and what comes out of a pipe cannot be read again to restore it.
      const problem = "it is no regular file";
      return unread(this.#folder, number, { code: "bad-link", problem, cause: null });
    }
    const { header, phases, storedBytes, memoryBytes, error } = await cleanlyAsync(async () => {
      await using source = await openCheckpointFile(file);
      return await inspectCheckpoint(source, {
        signal: this.#options.signal,
        onProgress: ({ storedBytes }) => this.#report(storedBytes),
      });
    });
    this.storedBytes += storedBytes;
    const deviceBytes = phases.reduce((sum, { bytes }) => sum + bytes, 0);
    const link = header?.link ?? null;
    const read = { number, file, header, storedBytes, memoryBytes, deviceBytes, link };
    return { ...read, wrong: error !== null ? damaged(error) : misplaced(number, link) };
  }
}

/** Bytes of a regular file; 0 if there is none. */
function sizeOf(path: string): number {
  return kindOf(path) === "file" ? fs.statSync(path).size : 0;
}

/** What a path leads to. */
function kindOf(path: string): "file" | "missing" | "other" {
  try {
    const stats = fs.statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? "missing" : stats.isFile() ? "file" : "other";
  } catch (error) {
    if (errnoOf(error) === "ELOOP") return "other";
    throw fileError("open", path, error);
  }
}

function damaged(error: CheckpointError): Problem {
  return { code: "bad-link", problem: error.problem, cause: error };
}

/** Why a good checkpoint is not the one of this number. */
function misplaced(number: number, link: ChainLink | null): Problem | null {
  if (link?.number === number) return null;
  const problem = link === null
    ? "it is a checkpoint that stands alone"
    : `it is another checkpoint, of number ${link.number}`;
  return { code: "wrong-link", problem, cause: null };
}

/** Why a checkpoint cannot be what the next one builds on. */
function misfit({ previous, chain, memory }: ChainLink, link: ChainLink): Problem | null {
  const wrong = chain !== link.chain
    ? "it is of another chain"
    : previous!.id !== link.id
    ? "it is another checkpoint of the same number"
    : !sameMemory(memory, link.memory)
    ? "it is of other memory"
    : null;
  return wrong === null ? null : { code: "wrong-link", problem: wrong, cause: null };
}

function predecessorProblem(
  link: ChainLink,
  read: ReadonlyMap<number, Link>,
  problems: ReadonlyMap<number, Problem | null>,
): Problem | null {
  if (link.previous === null) return null;
  const { number } = link.previous;
  const found = problems.get(number) ?? misfit(link, read.get(number)!.link!);
  if (found === null) return null;
  return { ...found, problem: `it needs ${number}: ${found.problem}` };
}

/** Whether two are of the same memory. */
export function sameMemory(one: readonly LinkMemory[], other: readonly LinkMemory[]): boolean {
  const words = (memory: readonly LinkMemory[]): string =>
    memory.map(({ ranges }) => ranges.map(({ iova, size }) => `${iova}:${size}`).join()).join("/");
  return words(one) === words(other);
}
