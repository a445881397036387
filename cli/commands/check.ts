/**
 * `vfiokit check`: judge a migration driver.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { pathToFileURL } from "node:url";
import {
  check,
  type CheckOptions,
  type CheckPlan,
  type CheckRun,
  CHECKS,
  type Safety,
  selectChecks,
  type Verdict,
} from "../../src/check/mod.ts";
import {
  type CheckpointFile,
  createCheckpointFile,
  decodeCheckpoint,
  openCheckpointFile,
} from "../../src/checkpoint/mod.ts";
import { junit, tapLines } from "../check/junit.ts";
import { reportPage } from "../check/report.ts";
import { startLoad } from "../check/load_program.ts";
import {
  Counts,
  outcomeWord,
  ruleWords,
  SAFETY_WORDS,
  VerdictLines,
} from "../check/verdict_lines.ts";
import { shellWord } from "../../src/vfio/mod.ts";
import type { Context } from "../context.ts";
import { mayColour } from "../env.ts";
import { DONE, FAILED, NEEDS_RESET } from "../exit_codes.ts";
import { refuseFds } from "../lending/open_devices.ts";
import { refuseUnlendable } from "../lending/run_program.ts";
import type { CheckArgs } from "../specs/check.ts";
import { count } from "../output/format.ts";
import { table } from "../output/table.ts";
import { UsageError } from "../usage_error.ts";

/** Runs `check`. */
export async function run(args: CheckArgs, context: Context): Promise<number> {
  if (args.list) return list(args, context);
  if (args.explain !== undefined) return explain(args.explain, context);
  const [device, second] = args.devices;
  if (device === undefined) throw new UsageError("Expected a DEVICE to check, --list or --explain");
  refuseFds(args, args.devices);
  if (args.command !== undefined) refuseLoad(args.devices);
  await using files = await Files.create(args);
  const judged = check(device, await optionsOf(args, second, context));
  const plan = await judged.plan();
  announce(plan, args, context);
  const verdicts = await judge(judged, plan, args, context);
  await files.write(plan, verdicts);
  if (judged.lost !== null) {
    context.failed("needs-reset", `The device is in ${judged.lost} and needs a reset`);
    return NEEDS_RESET;
  }
  const failures = verdicts.filter(({ outcome }) => outcome === "fail").length;
  if (failures === 0) return DONE;
  context.failed("checks-failed", `${failures} of ${verdicts.length} checks failed`);
  return FAILED;
}

/**
 * Refuses a program as the load.
 *
 * @throws {UsageError} If a device cannot be lent to it, or keeps itself busy.
 */
function refuseLoad(names: readonly string[]): void {
  refuseUnlendable(names);
  const simulated = names.find((name) => name.startsWith("sim:"));
  if (simulated === undefined) return;
  throw new UsageError(
    `Cannot keep "${simulated}" busy by a program: a simulated device is checked inside this ` +
      "process, and its own DMA is the load",
  );
}

async function optionsOf(
  args: CheckArgs,
  second: string | undefined,
  context: Context,
): Promise<CheckOptions> {
  const { only, skip, via, vfToken, groupFd, containerFd, timeout, command } = args;
  const safety: Safety = args.destructive ? "destructive" : args.reset ? "reset" : "default";
  return {
    ...{ second, only, skip, safety, via, vfToken, groupFd, containerFd, timeoutMs: timeout },
    foreign: args.foreign === undefined ? undefined : await context.until(dataOf(args.foreign)),
    signal: context.signal,
    trace: context.trace,
    modules: args.checks.map((file) => pathToFileURL(file).href),
    ...(command === undefined ? {} : { load: (device) => startLoad(command, device, context) }),
  };
}

/** The most data of a checkpoint that is given to a device, in bytes. */
const FOREIGN_MAX = 256 * 1024 * 1024;

/** The data of a checkpoint. */
async function dataOf(path: string): Promise<Uint8Array<ArrayBuffer>> {
  await using source = await openCheckpointFile(path);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const transactions = source.stream().pipeThrough(decodeCheckpoint());
  for await (const { data } of transactions) {
    chunks.push(data);
    length += data.length;
    if (length > FOREIGN_MAX) {
      throw new UsageError(
        `Cannot use ${path} as foreign data: it has more than ${FOREIGN_MAX} bytes`,
      );
    }
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Says what is checked, and what will be done to it. */
function announce({ device, safety, checks }: CheckPlan, args: CheckArgs, context: Context): void {
  const { label, driver, kernel, protocol, migrationFlags, second, borrowed } = device;
  const flags = migrationFlags === null ? "" : ` with ${migrationFlags.join(", ")}`;
  context.set({ device, second, safety });
  const lines = [
    `${label}: protocol ${protocol ?? "unknown"}${flags}, driver ${
      driver ?? "unknown"
    }, kernel ${kernel}`,
    ...(second === null ? [] : [`States are restored into ${second}.`]),
    `Safety level ${safety}: ${SAFETY_WORDS[safety]}. ${count(checks.length, "check")}.`,
    ...(borrowed
      ? [
        "Another program opened the device: it is not closed here, and whether that program uses " +
        "it meanwhile cannot be seen.",
      ]
      : []),
  ];
  if (args.tap) context.print("TAP version 14", `1..${checks.length}`, ...lines.map(comment));
  else context.print(...lines, "");
}

function comment(line: string): string {
  return `# ${line}`;
}

/** Runs the checks, and prints each verdict. */
async function judge(
  judged: CheckRun,
  { device, checks }: CheckPlan,
  args: CheckArgs,
  context: Context,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const counts = new Counts();
  const lines = new VerdictLines(mayColour(process.stdout));
  for await (const verdict of judged) {
    verdicts.push(verdict);
    counts.add(verdict.outcome);
    if (args.tap) context.print(...tapLines(verdicts.length, verdict));
    else context.printColoured(...lines.add(verdict));
    context.set({ verdicts, counts: counts.document, lost: judged.lost });
  }
  context.set({ verdicts, counts: counts.document, lost: judged.lost });
  if (!args.tap) context.printColoured(...lines.end(), "");
  if (judged.lost !== null) {
    context.print(
      ...[
        `${device.label} is in ${judged.lost} and needs a reset: ` +
        `vfiokit reset ${shellWord(device.label)}`,
        `${checks.length - verdicts.length} checks were not run.`,
      ].map((line) => args.tap ? comment(line) : line),
    );
  }
  context.print(args.tap ? comment(counts.line) : counts.line);
  return verdicts;
}

/** The files that verdicts are written to: created before the device is opened. */
class Files implements AsyncDisposable {
  readonly #files: readonly (readonly [CheckpointFile, Format])[];

  private constructor(files: readonly (readonly [CheckpointFile, Format])[]) {
    this.#files = files;
  }

  static async create({ junit: xml, report, force }: CheckArgs): Promise<Files> {
    const wanted: readonly (readonly [string | undefined, Format])[] = [
      [xml, ({ device }, verdicts) => junit(device.label, verdicts)],
      [report, reportPage],
    ];
    const files: (readonly [CheckpointFile, Format])[] = [];
    const made = new Files(files);
    try {
      for (const [path, format] of wanted) {
        if (path === undefined) continue;
        files.push([await createCheckpointFile(path, { force, mode: 0o666 }), format]);
      }
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
    return made;
  }

  async write(plan: CheckPlan, verdicts: readonly Verdict[]): Promise<void> {
    for (const [file, format] of this.#files) {
      await file.write(new TextEncoder().encode(format(plan, verdicts)));
      await file.commit();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [file] of this.#files) await file.abort();
  }
}

/** Makes the text of a file. */
type Format = (plan: CheckPlan, verdicts: readonly Verdict[]) => string;

function list({ only, skip }: CheckArgs, context: Context): Promise<number> {
  const checks = selectChecks(CHECKS, { only, skip });
  context.set({
    checks: checks.map(({ id, group, safety, rules }) => ({ id, group, safety, rules })),
  });
  const rows = checks.map(({ id, group, safety, rules }) => [
    ...[id, group, safety, rules.map(({ number }) => number).join(" ")],
  ]);
  const heads = ["check", "group", "safety", "rules"].map((head) => ({ head }));
  context.print(...table(heads, rows), "");
  for (const safety of ["default", "reset", "destructive"] as const) {
    context.print(`${safety}: ${SAFETY_WORDS[safety]}.`);
  }
  return Promise.resolve(0);
}

function explain(id: string, context: Context): Promise<number> {
  const [found] = selectChecks(CHECKS.filter((check) => check.id === id), { only: [id] });
  const { group, safety, rules } = found!;
  context.set({ check: { id, group, safety, rules } });
  context.print(
    `${id}: group ${group}, safety level ${safety} (${SAFETY_WORDS[safety]})`,
    ...rules.map((rule) => `  ${ruleWords(rule)}`),
    `  ${outcomeWord("fail")} if the device breaks one of them.`,
  );
  return Promise.resolve(0);
}
