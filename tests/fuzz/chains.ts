/**
 * Hostile folders of checkpoints: good ones whose files were cut, swapped, renamed, replaced, forged.
 */

import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { FRAME_HEAD, FRAME_TAIL } from "../../src/checkpoint/frames/constants.ts";
import { linkFile, linkNumbers } from "../../src/live/chain/link_files.ts";
import {
  ChainError,
  type ChainInspection,
  CheckpointChain,
  diffCheckpoints,
  inspectChain,
  restoreChain,
  type VerifiedChain,
  verifyChain,
} from "../../src/live/mod.ts";
import { openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { type Content, contentOf, openWriter } from "../live/chain/_chain.ts";
import { checkClosed, checkFolder } from "./_bench.ts";
import { type Change, change, makeChange } from "./_byte_changes.ts";
import { Commander } from "./_commander.ts";
import { apply, type Edit, makeEdit } from "./_edits.ts";
import { checkError, describe } from "./_errors.ts";
import { putTogether, takeApart } from "./_forge.ts";
import { Find, type Kind, without } from "./_kind.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What is done to a folder; a file is any number, and stands for one of those that there are. */
export type Damage =
  | { readonly do: "bytes"; readonly file: number; readonly change: Change }
  | { readonly do: "edit"; readonly file: number; readonly edits: readonly Edit[] }
  | {
    readonly do: "link";
    readonly file: number;
    readonly field: LinkField;
    /** The file whose link the value is taken from. */
    readonly other: number;
  }
  | { readonly do: "remove"; readonly file: number }
  | { readonly do: "swap"; readonly file: number; readonly other: number }
  | { readonly do: "move" | "copy"; readonly file: number; readonly to: number }
  | { readonly do: "foreign"; readonly file: number; readonly to: number }
  | { readonly do: "put"; readonly what: Odd; readonly to: number };

const LINK_FIELDS = [
  ...[
    "number",
    "id",
    "chain",
    "chain and id",
    "previous",
    "no previous",
    "previous number",
  ] as const,
  ...[
    "memory shrinks",
    "memory grows",
    "memory moves",
    "memory of 2^62 bytes",
    "no memory",
  ] as const,
] as const;
type LinkField = (typeof LINK_FIELDS)[number];

const ODDS = ["empty", "folder", "fifo", "dangling", "loop", "alone"] as const;
type Odd = (typeof ODDS)[number];

/** A hostile folder, and what is asked of it. */
interface ChainPlan {
  readonly base: number;
  readonly damages: readonly Damage[];
  /** Which of its checkpoints is restored, and which is compared with it. */
  readonly asked: readonly [number, number];
  /** Whether the command line is asked, too. */
  readonly commands: boolean;
}

const SPECS = ["mlx5?size=4KiB", "trapped?size=8KiB&chunk=1000"] as const;
const LINKS = 6;

/** Two folders of a device's checkpoints, and what each of them holds. */
interface Base {
  readonly spec: string;
  readonly folders: readonly (readonly Bytes[])[];
  readonly truths: ReadonlyMap<string, Content>;
}

const bases = new Map<number, Promise<Base>>();

function baseOf(number: number): Promise<Base> {
  const known = bases.get(number) ?? makeBase(SPECS[number]!);
  bases.set(number, known);
  return known;
}

async function makeBase(spec: string): Promise<Base> {
  const truths = new Map<string, Content>();
  const folders: Bytes[][] = [];
  for (let count = 0; count < 2; count++) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-chain-"));
    await using writer = await openWriter(`${spec}&dma=random:50/s&rate=20KiB`);
    await using chain = new CheckpointChain(writer.device, folder, { fullEvery: 3 });
    folders.push([]);
    for (let number = 0; number < LINKS; number++) {
      writer.goOn();
      const { file } = await chain.take();
      const bytes = new Uint8Array(fs.readFileSync(file));
      truths.set(keyOf(bytes), await writer.content());
      folders.at(-1)!.push(bytes);
    }
    fs.rmSync(folder, { recursive: true });
  }
  return { spec, folders, truths };
}

function keyOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function makeDamage(random: Random): Damage {
  const file = random.below(LINKS);
  const to = random.chance(0.9) ? random.below(LINKS + 1) : random.pick([999_999, 10 ** 14]);
  switch (random.below(10)) {
    case 0:
    case 1:
      return { do: "bytes", file, change: makeChange(random) };
    case 2: {
      const edits = Array.from({ length: random.few(1, 3) }, () => makeEdit(random));
      return { do: "edit", file, edits };
    }
    case 3:
    case 4: {
      const field = random.pick(LINK_FIELDS);
      return { do: "link", file, field, other: random.below(LINKS) };
    }
    case 5:
      return { do: "remove", file };
    case 6:
      return { do: "swap", file, other: random.below(LINKS) };
    case 7:
      return { do: random.pick(["move", "copy"]), file, to };
    case 8:
      return { do: "foreign", file, to: random.chance(0.7) ? file : to };
    default:
      return { do: "put", what: random.pick(ODDS), to };
  }
}

/** Damages a folder. */
function damage(folder: string, one: Damage, base: Base): void {
  const numbers = linkNumbers(folder).filter((number) => isFile(linkFile(folder, number)));
  const named = (any: number): string => linkFile(folder, numbers[any % numbers.length]!);
  if (one.do === "put") return put(linkFile(folder, one.to), one.what);
  if (one.do === "foreign") {
    return replace(linkFile(folder, one.to), base.folders[1]![one.file]!);
  }
  if (numbers.length === 0) return;
  const file = named(one.file);
  const bytes = new Uint8Array(fs.readFileSync(file));
  switch (one.do) {
    case "bytes":
      return replace(file, change(bytes, one.change));
    case "edit":
      return replace(
        file,
        forged(bytes, (parts) => one.edits.forEach((edit) => apply(parts, edit))),
      );
    case "link": {
      const other = linkOf(new Uint8Array(fs.readFileSync(named(one.other))));
      return replace(file, withLink(bytes, one.field, other));
    }
    case "remove":
      return fs.unlinkSync(file);
    case "swap": {
      const second = named(one.other);
      const other = new Uint8Array(fs.readFileSync(second));
      replace(second, bytes);
      return replace(file, other);
    }
    case "move":
      fs.unlinkSync(file);
      return replace(linkFile(folder, one.to), bytes);
    case "copy":
      return replace(linkFile(folder, one.to), bytes);
  }
}

function isFile(file: string): boolean {
  return fs.lstatSync(file).isFile();
}

function replace(file: string, bytes: Uint8Array): void {
  fs.rmSync(file, { recursive: true, force: true });
  fs.writeFileSync(file, bytes);
}

function put(file: string, what: Odd): void {
  fs.rmSync(file, { recursive: true, force: true });
  switch (what) {
    case "empty":
      return fs.writeFileSync(file, "");
    case "folder":
      return void fs.mkdirSync(file);
    case "fifo":
      return void execFileSync("mkfifo", [file]);
    case "dangling":
      return fs.symlinkSync("nowhere", file);
    case "loop":
      return fs.symlinkSync(file, file);
    case "alone":
      return fs.copyFileSync("fixtures/checkpoints/version-1.vfk", file);
  }
}

/** The same checkpoint with something changed, and every sum right; as it is if it is bad. */
function forged(bytes: Bytes, edit: (parts: ReturnType<typeof takeApart>) => void): Bytes {
  const parts = partsOf(bytes);
  if (parts === null) return bytes;
  edit(parts);
  return putTogether(parts);
}

function partsOf(bytes: Bytes): ReturnType<typeof takeApart> | null {
  try {
    const parts = takeApart(bytes);
    return parts.frames.at(-1)?.type === FRAME_TAIL ? parts : null;
  } catch (error) {
    // What is no checkpoint any more has lengths beyond its end.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

type LinkJson = Record<string, unknown> & {
  previous: { id: string; number: number } | null;
  memory: { ranges: { iova: string; size: string }[] }[];
};

function jsonOf(bytes: Bytes): { link?: LinkJson } | null {
  const head = partsOf(bytes)?.frames.find(({ type }) => type === FRAME_HEAD);
  try {
    return head === undefined ? null : JSON.parse(new TextDecoder().decode(head.meta));
  } catch {
    return null;
  }
}

function linkOf(bytes: Bytes): LinkJson | null {
  return jsonOf(bytes)?.link ?? null;
}

function withLink(bytes: Bytes, field: LinkField, other: LinkJson | null): Bytes {
  const json = jsonOf(bytes);
  const link = json?.link;
  if (json == null || link == null || other === null) return bytes;
  try {
    changeLink(link, field, other);
  } catch (error) {
    // An earlier change has left no such field.
    if (error instanceof TypeError || error instanceof SyntaxError) return bytes;
    throw error;
  }
  const meta = new TextEncoder().encode(JSON.stringify(json));
  return forged(bytes, ({ frames }) => {
    for (const frame of frames) if (frame.type === FRAME_HEAD) frame.meta = meta;
  });
}

function changeLink(link: LinkJson, field: LinkField, other: LinkJson): void {
  const [first] = link.memory;
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  switch (field) {
    case "number":
    case "id":
    case "chain":
      link[field] = other[field];
      return;
    case "chain and id":
      link["chain"] = other["chain"];
      link["id"] = other["id"];
      return;
    case "previous":
      link.previous = other.previous;
      return;
    case "no previous":
      link.previous = null;
      link["chain"] = link["id"];
      return;
    case "previous number":
      link.previous!.number = other["number"] as number;
      return;
    case "memory shrinks":
      first!.ranges.pop();
      return;
    case "memory grows":
      first!.ranges.push({ iova: "0x100000000", size: "0x100000" });
      return;
    case "memory moves":
      for (const range of first!.ranges) range.iova = hex(BigInt(range.iova) + 4096n);
      return;
    case "memory of 2^62 bytes":
      first!.ranges.push({ iova: "0x100000000", size: hex(1n << 62n) });
      return;
    case "no memory":
      link.memory = [];
      return;
  }
}

/** Whether a damage puts the sums right again, so that nobody can tell. */
function isForgery({ do: how }: Damage): boolean {
  return how === "edit" || how === "link";
}

/** More than the runtime itself ever takes between two looks. */
const MOST_MIB = 400;

let commander: Commander | null = null;

/** Hostile folders of checkpoints. */
export const chains: Kind<ChainPlan> = {
  name: "chains",
  make: (random): ChainPlan => ({
    base: random.below(SPECS.length),
    damages: Array.from({ length: random.few(1, 4) }, () => makeDamage(random)),
    asked: [random.below(LINKS), random.below(LINKS)],
    commands: random.chance(0.2),
  }),
  *smaller(plan): Generator<ChainPlan> {
    for (const damages of without(plan.damages)) yield { ...plan, damages };
    if (plan.commands) yield { ...plan, commands: false };
    for (const [index, one] of plan.damages.entries()) {
      if (one.do !== "edit") continue;
      for (const edits of without(one.edits)) {
        yield { ...plan, damages: plan.damages.with(index, { ...one, edits }) };
      }
    }
  },
  async run(plan, folder): Promise<void> {
    const base = await baseOf(plan.base);
    const chain = path.join(folder, "chain");
    fs.mkdirSync(chain);
    for (const [number, bytes] of base.folders[0]!.entries()) {
      fs.writeFileSync(linkFile(chain, number), bytes);
    }
    for (const one of plan.damages) damage(chain, one, base);
    const before = process.memoryUsage().rss;
    const inspection = await inspectChain(chain);
    const verified = await verifyEach(inspection);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    if (grown > MOST_MIB) throw new Find("memory", `reading it took ${grown.toFixed(0)} MiB`);
    const honest = !plan.damages.some(isForgery);
    if (honest) { for (const one of verified) checkOriginal(one, base); }
    const [one, two] = plan.asked.map((any) => verified[any % verified.length]);
    if (one !== undefined && two !== undefined) {
      await bringIn(one, { base, honest });
      await compare(one, two, { base, honest });
    }
    if (plan.commands) await askCommands(inspection, one ?? null, base.spec);
    await checkFolder(folder, ["chain"]);
  },
  async end(): Promise<void> {
    await commander?.end();
    commander = null;
  },
};

/** Verifies each checkpoint by itself; returns the good ones. */
async function verifyEach({ folder, links, lastGood }: ChainInspection): Promise<VerifiedChain[]> {
  const good: VerifiedChain[] = [];
  for (const { number, problem, code } of links) {
    try {
      good.push(await verifyChain(folder, { number }));
      if (code === null) continue;
    } catch (error) {
      if (!(error instanceof ChainError)) throw unexpected(error, `verifying ${number}`);
      checkError(error, [ChainError]);
      if (error.lastGood !== lastGood) {
        throw new Find("verdict", `${error.message}, and inspecting says ${lastGood}`);
      }
      if (code !== null) continue;
      throw new Find("verdict", `inspecting, ${number} is good; verifying: ${error.message}`);
    }
    throw new Find("verdict", `verifying, ${number} is good; inspecting: ${problem}`);
  }
  return good;
}

function unexpected(error: unknown, what: string): Find {
  return new Find("undocumented error", `${what} failed with ${describe(error)}`, { cause: error });
}

/** A chain that nobody forged is of files as they were taken. */
function checkOriginal({ number, files }: VerifiedChain, { truths }: Base): void {
  for (const file of files) {
    if (truths.has(keyOf(fs.readFileSync(file)))) continue;
    throw new Find("accepted", `${number} is good, with ${path.basename(file)}, which is damaged`);
  }
}

/** Where a folder comes from. */
interface Origin {
  readonly base: Base;
  /** Whether nobody has put a sum right: what can be restored is what was taken. */
  readonly honest: boolean;
}

/** Restores it into a device of its kind. */
async function bringIn(chain: VerifiedChain, { base, honest }: Origin): Promise<void> {
  const kernel = new SimKernel(`sim:${base.spec}`);
  const simulated = kernel.devices[0]!;
  const maps = chain.memory[0]?.ranges ?? [];
  try {
    await using device = await openDevice(simulated.path, { kernel, maps });
    const untouched = simulated.checksum();
    try {
      await restoreChain(device, chain);
    } catch (error) {
      if (honest) throw new Find("restorable", `${chain.number} is good: ${describe(error)}`);
      checkError(error, [TypeError], "restoring");
      if (!simulated.running) {
        throw new Find("told state", `not restored, and does not run: ${describe(error)}`);
      }
      return;
    }
    if (!honest) return;
    const truth = truthOf(chain, base);
    const found = await contentOf(device, kernel);
    if (!same(found, truth)) throw new Find("restorable", `${chain.number} is not what was taken`);
    if (untouched === truth.checksum) throw new Error("the device held the state before");
    const { violations } = simulated;
    if (violations.length > 0) throw new Find("violation", violations.join("; "));
  } catch (error) {
    if (honest || error instanceof Find) throw error;
    // Memory that nobody has cannot be mapped.
    checkError(error, [], "opening");
  } finally {
    checkClosed(kernel);
  }
}

function truthOf({ files }: VerifiedChain, { truths }: Base): Content {
  return truths.get(keyOf(fs.readFileSync(files.at(-1)!)))!;
}

function same(one: Content, other: Content): boolean {
  return one.checksum === other.checksum &&
    one.memory.every((bytes, index) => Buffer.compare(bytes, other.memory[index]!) === 0);
}

/** Compares two. */
async function compare(
  one: VerifiedChain,
  two: VerifiedChain,
  { base, honest }: Origin,
): Promise<void> {
  try {
    const difference = await diffCheckpoints(one, two);
    if (!honest || difference.same === same(truthOf(one, base), truthOf(two, base))) return;
    throw new Find("verdict", `${one.number} and ${two.number}: same is ${difference.same}`);
  } catch (error) {
    if (honest || error instanceof Find) throw error;
    checkError(error, [RangeError], "comparing");
  }
}

/** What commands say, by their exit codes. */
async function askCommands(
  { folder, links, lastGood }: ChainInspection,
  good: VerifiedChain | null,
  spec: string,
): Promise<void> {
  const bad = links.find(({ code }) => code !== null)?.number ?? null;
  await expectCode(["verify", folder], bad === null && links.length > 0 ? [0] : [4]);
  if (bad !== null) {
    await expectCode(["verify", `${folder}@${bad}`], [4]);
    await expectCode(["restore", `sim:${spec}`, `${folder}@${bad}`], [4]);
    await expectCode(["diff", `${folder}@${bad}`, `${folder}@${bad}`], [4]);
  }
  if (good !== null) await expectCode(["verify", `${folder}@${good.number}`], [0]);
  if (lastGood === links.at(-1)?.number) await expectCode(["diff", folder, folder], [0, 4]);
}

async function expectCode(words: readonly string[], codes: readonly number[]): Promise<void> {
  commander ??= new Commander();
  // Long after anything of this has ended.
  const { code, stderr } = await commander.run({ words, signal: "SIGINT", after: 60_000 });
  if (codes.includes(code)) return;
  throw new Find("exit code", `${words.join(" ")} ended with ${code}: ${stderr}`);
}
