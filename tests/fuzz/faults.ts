/**
 * Random fault plans: devices that fail in every way that the simulator knows, every operation, and
 * a caller who aborts or closes in the midst of it.
 */

import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { save } from "../../src/transfer/save.ts";
import type { CheckpointSink } from "../../src/transfer/sinks_and_sources.ts";
import { restore } from "../../src/transfer/restore.ts";
import type { RestoreSource } from "../../src/transfer/sinks_and_sources.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import type { StateName } from "../../src/vfio/state/states.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { Bench, checkFolder } from "./_bench.ts";
import {
  checkRestores,
  collector,
  type OwnSink,
  ownSink,
  ownSource,
  savedFrom,
  streamOf,
} from "./_checkpoints.ts";
import { runDirty } from "./_dirty.ts";
import { checkError } from "./_errors.ts";
import { Find, type Kind } from "./_kind.ts";
import {
  type FaultsPlan,
  makePlan,
  type PhasesOperation,
  type RestoreOperation,
  type SaveOperation,
  smallerPlans,
  type StatesOperation,
} from "./_plan.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Faulty devices. */
export const faults: Kind<FaultsPlan> = {
  name: "faults",
  make: makePlan,
  smaller: smallerPlans,
  async run(plan, folder): Promise<void> {
    const { operation } = plan;
    if (operation.do === "dirty") return runDirty(plan, operation);
    const bench = await Bench.open(plan);
    if (bench === null) return;
    try {
      await operate(bench, plan, folder);
    } catch (error) {
      // What comes at the end of it says less.
      await bench.end().catch(() => {});
      throw error;
    }
    await bench.end(ACCEPTED[operation.do]);
  },
};

/**
 * Violations that a script asks for. Streams carry no identity: a script that pipes one kind of
 * device into another can give it transactions that do not fit its data section, and what that
 * section's size is, a v1 driver does not say.
 */
const ACCEPTED: Readonly<Partial<Record<FaultsPlan["operation"]["do"], RegExp>>> = {
  "states": /^device_state went from /,
  "phases": /^bytes \d+ to \d+ were written; the data lies |^data_size is \d+, and at most /,
};

async function operate(bench: Bench, plan: FaultsPlan, folder: string): Promise<void> {
  const { operation } = plan;
  switch (operation.do) {
    case "save":
      return await runSave(bench, plan, operation, folder);
    case "restore":
      return await runRestore(bench, plan, operation, folder);
    case "phases":
      return await runPhases(bench, operation);
    case "states":
      return await runStates(bench, operation);
  }
}

/** How an operation ended. */
type Outcome<T> = { readonly value: T } | { readonly error: Error };

async function outcomeOf<T>(bench: Bench, what: string, work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work };
  } catch (error) {
    const reason: unknown[] = bench.signal.aborted ? [bench.signal.reason] : [];
    checkError(error, reason, what);
    return { error };
  }
}

/** The states that an error tells, by device. */
function statesIn(error: Error, devices: number): (StateName | null)[] {
  if (error instanceof TransferError) return error.devices.map(({ state }) => state);
  const one = error instanceof MigrationError ? error.deviceState : null;
  return Array.from({ length: devices }, () => one);
}

async function checkStates(
  bench: Bench,
  states: readonly (StateName | null)[],
  by: string,
): Promise<void> {
  for (const [index, state] of states.entries()) await bench.checkState(index, state, by);
}

/** Where a save goes, and what came of it. */
interface Target {
  readonly sink: CheckpointSink | WritableStream<Bytes>;
  /** What is there afterwards; null where nothing is. */
  result(): Promise<Bytes | null>;
  close(): Promise<void>;
}

const nothing = (): Promise<void> => Promise.resolve();

async function targetOf({ to, full }: SaveOperation, folder: string): Promise<Target> {
  const at = path.join(folder, "target.vfk");
  switch (to) {
    case "file": {
      const file = await createCheckpointFile(at);
      return {
        sink: file,
        result: () =>
          Promise.resolve(fs.existsSync(at) ? new Uint8Array(fs.readFileSync(at)) : null),
        close: () => file.abort(),
      };
    }
    case "fifo": {
      execFileSync("mkfifo", [at]);
      const copy = path.join(folder, "copy.vfk");
      const take = full === null ? "cat" : `head -c ${full}`;
      const reader = program(`${take} < "$0" > "$1"`, at, copy);
      const file = await createCheckpointFile(at);
      return {
        sink: file,
        result: () => Promise.resolve(new Uint8Array(fs.readFileSync(copy))),
        close: async () => {
          await file.abort();
          await reader;
        },
      };
    }
    case "stream": {
      const stream = collector(full);
      return {
        sink: stream.writable,
        result: () => Promise.resolve(stream.closed ? stream.bytes : null),
        close: nothing,
      };
    }
    case "own": {
      const sink = ownSink(full);
      return { sink, result: () => Promise.resolve(resultOf(sink)), close: nothing };
    }
  }
}

function resultOf(sink: OwnSink): Bytes | null {
  if (sink.state === "open") throw new Find("sink", "the sink was neither committed nor aborted");
  return sink.state === "committed" ? sink.bytes : null;
}

/** Runs a line of the shell to its end, however that comes. */
function program(line: string, ...args: readonly string[]): Promise<void> {
  const child = spawn("sh", ["-c", line, ...args], { stdio: "ignore" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve());
  });
}

/** Notes that say that there was no state, or more than the driver takes back. */
const NOT_ITS_STATE: ReadonlySet<string> = new Set([
  ...["state-empty", "stop-copy-empty", "pending-returned", "pending-grows"],
]);

async function runSave(
  bench: Bench,
  { specs }: FaultsPlan,
  operation: SaveOperation,
  folder: string,
): Promise<void> {
  const { devices, signal } = bench;
  const target = await targetOf(operation, folder);
  const options = { ...operation.options, signal };
  bench.start();
  const work = save(devices, target.sink, options).then((report) => report.devices);
  const outcome = await outcomeOf(bench, "the save", work);
  const done = "value" in outcome;
  await checkStates(
    bench,
    done ? outcome.value.map(({ state }) => state) : statesIn(outcome.error, devices.length),
    done ? "the save's report" : `the save's error (${outcome.error.message})`,
  );
  const truths = await Promise.all(devices.map((_, index) => bench.truth(index)));
  await target.close();
  const result = await target.result();
  await checkFolder(folder, ["target.vfk", "copy.vfk"]);
  if (done && result === null) throw new Find("restorable", "a save that is done left nothing");
  // Of what went into a fifo nobody can take anything back, nor see that its reader has left some.
  const left = operation.to === "fifo" && (!done || operation.full !== null);
  if (result === null || left) return;
  // An error after the last byte has no report, and so no note that the driver gave no state.
  if (specs.some(({ faults }) => faults.includes("no-data"))) return;
  const notes = done ? outcome.value.flatMap(({ notes }) => notes) : [];
  if (notes.some(({ code }) => NOT_ITS_STATE.has(code))) return;
  const expected = specs.map(({ options }, index) => {
    const changing = options.some((option) => option.startsWith("rate="));
    if (!changing) return bench.before[index]?.crc32 ?? null;
    return done && operation.options.leave === "stop" ? truths[index]?.crc32 ?? null : null;
  });
  await checkRestores(result, specs, expected);
}

async function sourceOf(
  { from }: RestoreOperation,
  bytes: Bytes,
  folder: string,
): Promise<{ source: RestoreSource | ReadableStream<Bytes>; close(): Promise<void> }> {
  const at = path.join(folder, "source.vfk");
  switch (from) {
    case "file": {
      fs.writeFileSync(at, bytes);
      const source = await openCheckpointFile(at);
      return { source, close: () => source.close() };
    }
    case "fifo": {
      execFileSync("mkfifo", [at]);
      const original = path.join(folder, "original.vfk");
      fs.writeFileSync(original, bytes);
      // Whoever reads may end before all is written.
      const writer = program('cat < "$1" > "$0"', at, original);
      const source = await openCheckpointFile(at);
      return {
        source,
        close: async () => {
          await source.close();
          await writer;
        },
      };
    }
    case "stream":
      return { source: streamOf(bytes, 5000), close: nothing };
    case "own":
      return { source: ownSource(bytes, bytes.length % 2 === 0), close: nothing };
  }
}

async function runRestore(
  bench: Bench,
  { specs }: FaultsPlan,
  operation: RestoreOperation,
  folder: string,
): Promise<void> {
  const { devices, signal } = bench;
  const able = devices.every(({ description: { protocol } }) => protocol !== null);
  const saved = await savedFrom(able ? specs : specs.map(() => MIGRATES), {
    ...(operation.precopy ? { precopy: {} } : {}),
    ...(operation.compress ? { compress: "zstd" } : {}),
  });
  const { cut, leave } = operation;
  const bytes = cut === null
    ? saved.bytes
    : saved.bytes.slice(0, Math.floor(cut * saved.bytes.length));
  const { source, close } = await sourceOf(operation, bytes, folder);
  const options = { leave, signal };
  bench.start();
  const work = devices.length === 1
    ? restore(devices[0]!, source, options).then(({ state }) => [state])
    : restore(devices, source, options).then((report) => report.devices.map(({ state }) => state));
  const outcome = await outcomeOf(bench, "the restore", work);
  const done = "value" in outcome;
  await checkStates(
    bench,
    done ? outcome.value : statesIn(outcome.error, devices.length),
    done ? "the restore's report" : `the restore's error (${outcome.error.message})`,
  );
  if (done) {
    if (cut !== null) throw new Find("restorable", "a checkpoint that was cut was restored");
    for (const [index, { options }] of specs.entries()) {
      if (options.some((option) => option.startsWith("rate="))) continue;
      const truth = await bench.truth(index);
      if (truth !== null && truth.crc32 !== saved.crc32[index]) {
        throw new Find("restorable", `restored, device ${index} is not what was saved`);
      }
    }
  }
  await close();
  await checkFolder(folder, ["source.vfk", "original.vfk"]);
}

/** What to save where the devices themselves cannot be. */
const MIGRATES = { personality: "trapped", options: ["size=16KiB"], faults: [] } as const;

async function runPhases(bench: Bench, operation: PhasesOperation): Promise<void> {
  const { devices, signal } = bench;
  const from = devices[0]!;
  const last = devices.length - 1;
  let left = operation.cancelAfter ?? Infinity;
  let stop = false;
  const limited = (): TransformStream<Transaction, Transaction> =>
    new TransformStream({
      transform(transaction, controller): void {
        if (left-- > 0) return controller.enqueue(transaction);
        stop = true;
        controller.terminate();
      },
    });
  const pipe = async (
    source: ReadableStream<Transaction>,
    target: WritableStream<Transaction>,
    preventClose: boolean,
  ): Promise<void> => {
    await source.pipeThrough(limited(), { signal }).pipeTo(target, { signal, preventClose });
  };
  const work = async (): Promise<void> => {
    const target = devices.length > 1
      ? resume(devices[last]!, { leave: operation.leave })
      : new WritableStream<Transaction>();
    if (operation.precopy !== null) await pipe(precopy(from, operation.precopy), target, true);
    if (stop) return await target.abort();
    await pipe(stopAndCopy(from), target, stop);
  };
  bench.start();
  const outcome = await outcomeOf(bench, "a phase", work());
  if (!("error" in outcome) || !(outcome.error instanceof MigrationError)) return;
  // Of which device it tells is not in it: it is true of one of them.
  const tell = `a phase's error (${outcome.error.message})`;
  try {
    await bench.checkState(0, outcome.error.deviceState, tell);
  } catch (error) {
    if (last === 0) throw error;
    await bench.checkState(last, outcome.error.deviceState, tell);
  }
}

async function runStates(bench: Bench, { steps }: StatesOperation): Promise<void> {
  bench.start();
  for (const [index, device] of bench.devices.entries()) {
    for (const step of steps) {
      const what = `${step.ask}${"target" in step ? ` ${step.target}` : ""}`;
      const asked: Promise<unknown> = step.ask === "setState"
        ? device.setState(step.target)
        : device[step.ask]();
      const outcome = await outcomeOf(bench, what, asked);
      if ("error" in outcome) {
        await bench.checkState(index, ...toldBy(outcome.error, what));
        continue;
      }
      const report = outcome.value as { state?: StateName } | string | null | undefined;
      if (typeof report === "object" && report?.state !== undefined) {
        await bench.checkState(index, report.state, what);
      } else if (report === "running" || report === "reset") {
        await bench.checkState(index, "running", what);
      }
    }
  }
}

function toldBy(error: Error, what: string): [StateName | null, string] {
  const [state = null] = statesIn(error, 1);
  return [state, `${what}'s error (${error.message})`];
}
