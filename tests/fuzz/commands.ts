/**
 * Random command lines, on simulated devices that fail, with a signal at a random time.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import type { SignalName } from "../../cli/signals.ts";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { PERSONALITIES } from "../../src/sim/personalities.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { forge } from "./checkpoints.ts";
import { type Edit, makeEdit } from "./_edits.ts";
import { checkRestores, savedFrom } from "./_checkpoints.ts";
import { Commander, type Ended, runProcess, type Stdin } from "./_commander.ts";
import { control, nonsense } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";
import { makeSpec, nameOf, type Spec } from "./_specs.ts";
import { FOLDER, type Input, type Line, makeLine, OUTPUTS } from "./_words.ts";

const STDIN = ["empty", "checkpoint", "samples", "garbage", "stall"] as const;

/** A command line, what it finds, and when a signal comes. */
export interface CommandPlan extends Line {
  /** What `good.vfk` was saved from. */
  readonly base: Spec;
  /** How `bad.vfk` was made of that. */
  readonly edits: readonly Edit[];
  /** Whether it has a process of its own, which takes real signals, and a stdin. */
  readonly ownProcess: boolean;
  readonly stdin: (typeof STDIN)[number];
  readonly signal: SignalName;
  /** Milliseconds. When it comes to what the command is about is not in the seed. */
  readonly after: number;
}

let commander: Commander | null = null;

/** Command lines. */
export const commands: Kind<CommandPlan> = {
  name: "commands",
  make(random): CommandPlan {
    const base = makeSpec(random, { faults: 0 });
    const chosen = random.chance(0.04);
    const line = makeLine(random, base, chosen);
    return {
      ...line,
      base,
      edits: Array.from({ length: random.few(1, 3) }, () => makeEdit(random)),
      // A phase reads stdin without a word that says so.
      ownProcess: chosen || line.command.startsWith("phase "),
      stdin: random.pick(STDIN),
      signal: random.pick(["SIGINT", "SIGTERM", "SIGHUP"] as const),
      after: random.chance(0.2) ? random.few(1, 300) : 1500,
    };
  },
  *smaller(plan): Generator<CommandPlan> {
    const named = plan.command.split(" ").length;
    for (const words of without(plan.words.slice(named))) {
      // What is left of its devices is not known then.
      yield { ...plan, words: [...plan.words.slice(0, named), ...words], devices: null };
    }
    for (const [index, word] of plan.words.entries()) {
      const fault = /[?&]fault=[^&]*/.exec(word);
      if (fault === null) continue;
      const less = word.replace(fault[0], fault[0].startsWith("?") ? "?" : "").replace("?&", "?");
      const words = plan.words.with(index, less.replace(/\?$/, ""));
      yield { ...plan, words, devices: null };
    }
    if (plan.after !== 1500) yield { ...plan, after: 1500 };
  },
  async run(plan, folder): Promise<void> {
    const good = await prepare(plan, folder);
    const before = contents(folder);
    const request = {
      words: plan.words.map((word) => word.replaceAll(FOLDER, folder)),
      signal: plan.signal,
      after: plan.ownProcess ? Math.max(plan.after, 30) : plan.after,
    };
    const ended = plan.ownProcess
      ? await runProcess(request, stdinOf(plan, good))
      : await (commander ??= new Commander()).run(request);
    checkEnded(plan, ended);
    checkFiles(folder, before, plan);
    await checkSaved(plan, ended, folder);
  },
  async end(): Promise<void> {
    await commander?.end();
    commander = null;
  },
};

const SAMPLE = {
  schema: "vfiokit/dirty-sample/1",
  ...{ round: 1, time: 0.1, seconds: 0.1, pgsize: 4096, pages: 2, distinctPages: 2 },
};

function samples(): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(SAMPLE)}\n`);
}

async function prepare({ base, edits }: CommandPlan, folder: string): Promise<Uint8Array> {
  const able = PERSONALITIES[base.personality].protocol !== null;
  const spec = able ? base : { ...base, personality: "trapped" as const, options: [] };
  const { bytes } = await savedFrom([spec], {});
  const files: Record<Exclude<Input, "folder" | "link">, Uint8Array> = {
    "good.vfk": bytes,
    "bad.vfk": await forge({ specs: [spec], options: {}, edits, fit: true, damage: null }),
    "samples.jsonl": samples(),
    "empty": new Uint8Array(),
  };
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(path.join(folder, name), content);
  }
  fs.mkdirSync(path.join(folder, "folder"));
  fs.symlinkSync("good.vfk", path.join(folder, "link"));
  return bytes;
}

function stdinOf({ stdin }: CommandPlan, good: Uint8Array): Stdin {
  switch (stdin) {
    case "empty":
      return new Uint8Array();
    case "checkpoint":
      return good;
    case "samples":
      return samples();
    case "garbage":
      return new Uint8Array(1000).fill(0x89);
    case "stall":
      return "stall";
  }
}

/** The words before a program of the user's, which has words of its own. */
function ownWords(words: readonly string[]): readonly string[] {
  const end = words.indexOf("--");
  return end < 0 ? words : words.slice(0, end);
}

function option(words: readonly string[], ...names: readonly string[]): string | null {
  const own = ownWords(words);
  for (const [index, word] of own.entries()) {
    if (names.includes(word)) return own[index + 1] ?? "";
    const name = names.find((one) => word.startsWith(`${one}=`));
    if (name !== undefined) return word.slice(name.length + 1);
  }
  return null;
}

const CODES: readonly number[] = [0, 1, 2, 3, 4, 5, 129, 130, 143];

/** The codes of a program that cannot be run. */
const NOT_RUN: readonly number[] = [126, 127];

function checkEnded(plan: CommandPlan, { code, stdout, stderr }: Ended): void {
  const { words, command } = plan;
  const own = ownWords(words);
  // A program of the user's stands behind "--": its exit code and stdout are its own.
  const runs = own.length < words.length - 1;
  const codes = runs ? [...CODES, ...NOT_RUN] : CODES;
  if (!codes.includes(code)) throw new Find("exit code", `it is ${code}: ${stderr}`);
  // What a script prints of a failure that nobody foresaw.
  const bad = nonsense(stderr) ?? control(stderr);
  if (bad !== null) throw new Find("message", `stderr has ${bad}: ${stderr}`);
  if (code === 2 && stderr === "") throw new Find("message", "wrong usage, and not a word");
  const data = option(words, "-o", "--output") === "-";
  if (command === "phase precopy" || command === "phase stop-and-copy") return;
  if (data && command === "save" || option(words, "--format") === "bitmap") return;
  const text = new TextDecoder().decode(stdout);
  const asked = own.indexOf("--json");
  // The name of a file, where the option before it takes one.
  if (asked > 0 && own[asked - 1]!.startsWith("-")) return;
  const json = asked >= 0 || option(words, "--format") === "json";
  const help = own.some((word) => ["--help", "-h", "--version", "-V"].includes(word));
  if (help) return;
  const odd = json ? null : nonsense(text) ?? control(text);
  if (odd !== null) throw new Find("message", `stdout has ${odd}: ${text}`);
  if (/^vfiokit /m.test(text) && command !== "man" && command !== "demo") {
    throw new Find("stdout", `an error is on stdout: ${text}`);
  }
  if (!json || runs) return;
  // Of a command line that makes no sense nobody knows whether JSON was wanted.
  const unparsed = code === 2 && /^Try "vfiokit/m.test(stderr);
  const elsewhere = command === "dirty get" && option(words, "-o", "--output") !== null;
  // A signal may come before the program has begun.
  const early = plan.ownProcess && code > 128 && text === "";
  if (unparsed || elsewhere || early) return;
  const lines = COMMANDS.find(({ name }) => name === command)?.jsonLines ?? false;
  const documents = lines ? text.split("\n").slice(0, -1) : [text];
  for (const document of documents) checkDocument(document, code, command);
}

function checkDocument(text: string, code: number, command: string): void {
  let document: { readonly schema?: unknown; readonly error?: unknown };
  try {
    document = JSON.parse(text);
  } catch {
    throw new Find("json", `stdout is no JSON document (exit code ${code}): ${text.slice(0, 300)}`);
  }
  // The lines of a trace are its own.
  if (command === "trace show") return;
  if (typeof document?.schema !== "string") throw new Find("json", `it has no schema: ${text}`);
  if (command === "dirty watch" || command === "checkpoint") return;
  // What a device or a link cannot do is a result as well, of those who were asked just that.
  const answers = code === 3 && (command === "probe" || command === "dirty forecast");
  const failed = code !== 0 && !answers && !(code > 128);
  if (failed !== (document.error !== undefined) && !answers && code <= 128) {
    throw new Find("json", `exit code ${code}, and the error is ${JSON.stringify(document.error)}`);
  }
}

/** What there is in a folder, by name. */
function contents(folder: string): ReadonlyMap<string, string> {
  return new Map(
    fs.readdirSync(folder).map((name) => {
      const at = path.join(folder, name);
      return [name, fs.statSync(at).isFile() ? fs.readFileSync(at, "latin1") : "folder"];
    }),
  );
}

function checkFiles(
  folder: string,
  before: ReadonlyMap<string, string>,
  { words }: CommandPlan,
): void {
  const own = ownWords(words);
  const force = own.some((word) => /^(--force|-\w*f\w*)$/.test(word));
  const after = contents(folder);
  for (const [name, content] of before) {
    if (!force && after.get(name) !== content) throw new Find("file", `${name} was changed`);
  }
  for (const name of after.keys()) {
    const known = before.has(name) || (OUTPUTS as readonly string[]).includes(name);
    if (!known) throw new Find("leak", `left in the folder: ${name}`);
  }
}

/** What a save has told to be there is what the devices were. */
async function checkSaved(
  { command, words, devices }: CommandPlan,
  { code, stdout, stderr }: Ended,
  folder: string,
): Promise<void> {
  if (command !== "save" || devices === null) return;
  const output = option(words, "-o", "--output");
  const own = ownWords(words);
  if (output === null || own.some((word) => ["--help", "-h", "--version"].includes(word))) return;
  const at = output.replaceAll(FOLDER, folder);
  const isOutput = OUTPUTS.some((name) => at === path.join(folder, name));
  if (!isOutput && output !== "-") return;
  const bytes = output === "-" ? stdout : fs.existsSync(at) ? fs.readFileSync(at) : null;
  if (code === 0 && bytes === null) throw new Find("restorable", `nothing was saved: ${stderr}`);
  if (bytes === null || output === "-" && code !== 0) return;
  // It has told that there was nothing: see the kind "faults".
  if (devices.some(({ faults }) => faults.includes("no-data"))) return;
  const expected = devices.map((spec) =>
    spec.options.some((one) => one.startsWith("rate="))
      ? null
      : new SimKernel(nameOf(spec)).devices[0]!.checksum()
  );
  await checkRestores(bytes, devices, expected);
}
