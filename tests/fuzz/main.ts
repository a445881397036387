/**
 * Attacks the product, and says what it found: see docs/fuzzing.md.
 *
 *     deno task fuzz --seconds 600
 *     deno task fuzz --only faults --seed 1234 --tries 1
 *
 * The tries run in a process of their own, which is watched: one that hangs, or that a crash ends,
 * is a find, and the next seeds are tried by another.
 */

import type { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Options, parseOptions, USAGE } from "./_options.ts";
import { keyOf, type Line, type Orders, type Told } from "./_report.ts";
import { LIMIT_MS } from "./_try.ts";

/** A process that says nothing for so long hangs: a try, and what makes a find smaller. */
const SILENT_MS = 2 * LIMIT_MS;
/** Tries of one process. */
const MOST = 1500;

interface Tally {
  readonly name: string;
  next: number;
  readonly end: number;
  ms: number;
  tries: number;
  finds: number;
}

/** A campaign. */
class Campaign {
  readonly #options: Options;
  readonly #tallies: Tally[];
  readonly #until: number;
  readonly #finds: Told[] = [];
  readonly #known = new Map<string, number>();
  readonly #begun = performance.now();

  constructor(options: Options) {
    this.#options = options;
    this.#until = Date.now() + options.seconds * 1000;
    this.#tallies = options.only.map((name) => ({
      name,
      next: options.seed,
      end: Math.min(options.seed + options.tries, Number.MAX_SAFE_INTEGER),
      ...{ ms: 0, tries: 0, finds: 0 },
    }));
  }

  get #going(): boolean {
    return Date.now() < this.#until && this.#tallies.some(({ next, end }) => next < end);
  }

  /** Runs to its end; returns the exit code. */
  async run(): Promise<number> {
    const runtime = "Deno" in globalThis ? "deno" : "bun";
    const { seed, only, seconds, tries } = this.#options;
    const limit = tries === Infinity ? `${seconds} s` : `${tries} tries each`;
    console.log(`fuzz: seed ${seed}, ${only.join(", ")}, ${limit}, in ${runtime}`);
    while (this.#going) await this.#process();
    return this.#conclude();
  }

  async #process(): Promise<void> {
    const orders: Orders = {
      kinds: this.#tallies.map(({ name, next, end, ms }) => ({ name, next, end, ms })),
      until: this.#until,
      most: MOST,
      plan: this.#options.plan,
    };
    const script = fileURLToPath(new URL("./_child.ts", import.meta.url));
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-prompt", "--quiet"] : ["run"];
    const child = spawn(process.execPath, [...flags, script, JSON.stringify(orders)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    let now: { readonly kind: string; readonly seed: number } | null = null;
    let hung = false;
    let said = "";
    let errors = "";
    let timer = setTimeout(() => {}, 0);
    const watch = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        hung = true;
        child.kill("SIGKILL");
      }, SILENT_MS);
    };
    const hear = (text: string): void => {
      let line: Line;
      try {
        line = JSON.parse(text) as Line;
      } catch {
        // Nothing but the campaign itself has anything to say on stdout.
        this.#found({ ...now ?? NOBODY, promise: "stdout", message: text, plan: "", stack: "" });
        return;
      }
      if ("begin" in line) now = line.begin;
      if ("find" in line) this.#found(line.find);
      if ("end" in line) {
        now = null;
        const tally = this.#tally(line.end.kind);
        tally.next = line.end.seed + 1;
        tally.tries += 1;
        tally.ms += line.end.ms;
      }
    };
    watch();
    child.stdout.on("data", (data: Buffer) => {
      watch();
      said += data.toString();
      const lines = said.split("\n");
      said = lines.pop()!;
      lines.forEach(hear);
    });
    child.stderr.on("data", (data: Buffer) => {
      errors = (errors + data.toString()).slice(-4000);
    });
    const ended = await new Promise<string | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(code === 0 ? null : String(signal ?? code)));
    });
    clearTimeout(timer);
    if (ended === null) return;
    if (now === null) throw new Error(`a process of the campaign has ended (${ended}): ${errors}`);
    const { kind, seed } = now as { readonly kind: string; readonly seed: number };
    const tally = this.#tally(kind);
    tally.next = seed + 1;
    tally.tries += 1;
    this.#found({
      kind,
      seed,
      promise: hung ? "hang" : "crash",
      message: hung ? "its thread did not come back" : `the process has ended (${ended})`,
      plan: "",
      stack: errors,
    });
  }

  #tally(kind: string): Tally {
    return this.#tallies.find(({ name }) => name === kind)!;
  }

  /** Tells of a find in full the first time. */
  #found(find: Told): void {
    this.#tally(find.kind).finds += 1;
    const key = keyOf(find.kind, find);
    const times = (this.#known.get(key) ?? 0) + 1;
    this.#known.set(key, times);
    if (times > 1) return;
    this.#finds.push(find);
    console.log(`\nFIND ${find.kind}, seed ${find.seed}: ${find.promise}: ${find.message}`);
    if (find.plan !== "") console.log(`  plan: ${find.plan}`);
    if (find.stack !== "") console.log(find.stack.replace(/^/gm, "  | "));
    console.log(`  again: deno task fuzz --only ${find.kind} --seed ${find.seed} --tries 1`);
  }

  #conclude(): number {
    console.log("");
    for (const { name, tries, finds, ms } of this.#tallies) {
      console.log(`${name}: ${tries} tries, ${finds} finds, ${(ms / 1000).toFixed(0)} s`);
    }
    const seconds = ((performance.now() - this.#begun) / 1000).toFixed(0);
    const again = [...this.#known].filter(([, times]) => times > 1);
    for (const [key, times] of again) console.log(`${times} times: ${key}`);
    const found = this.#finds.length;
    const what = found === 0 ? "nothing found" : `${found} different finds`;
    console.log(`fuzz: ${what} in ${seconds} s, seed ${this.#options.seed}`);
    return found === 0 ? 0 : 1;
  }
}

const NOBODY = { kind: "", seed: 0 } as const;

let options: Options;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof RangeError)) throw error;
  console.error(`fuzz: ${error.message}\n${USAGE}`);
  process.exit(2);
}
process.exit(await new Campaign(options).run());
