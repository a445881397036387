/**
 * Which file runs which command. A command's file is imported once the command line asks for it.
 *
 * @module
 */

import { command as word, map, type Parser, text } from "../optique.ts";
import type { Context } from "../context.ts";
import { check } from "../specs/check.ts";
import { checkpoint } from "../specs/checkpoint/checkpoint.ts";
import { diff } from "../specs/checkpoint/diff.ts";
import { type Command, type CommonArgs, description } from "../specs/command.ts";
import { dirtyForecast, dirtyGet, dirtyWatch, unmap } from "../specs/dirty_unmap.ts";
import { importCloudHypervisor, importQemu } from "../specs/import.ts";
import { list } from "../specs/list.ts";
import { serve } from "../specs/serve.ts";
import { show, verify } from "../specs/verify_show.ts";
import { keygen } from "../specs/migrate/keygen.ts";
import { migrate } from "../specs/migrate/migrate.ts";
import { receive } from "../specs/migrate/receive.ts";
import { probe, reset, state, withDevices } from "../specs/probe_state_reset_with.ts";
import { restore, save } from "../specs/save_restore.ts";
import { phasePrecopy, phaseResume, phaseStopAndCopy } from "../specs/phase/phases.ts";
import { demo, man, uapi } from "../specs/uapi_demo_man.ts";
import { timeline, traceShow } from "../specs/trace_timeline.ts";
import { traced } from "../trace_option.ts";

/** Makes the context that a command runs in. */
export type StartContext = (command: Command, args: CommonArgs) => Context;

/** Runs a parsed command line; resolves to the exit code. */
export type Invocation = (start: StartContext) => Promise<number>;

/** Parses the last word of a command's name and its arguments; yields what to run. */
export type CommandParser = Parser<"sync", Invocation, unknown>;

/** What the file of a command exports. */
interface CommandFile<Args> {
  /** Runs the command; resolves to its exit code. */
  run(args: Args, context: Context): Promise<number>;
}

function runnable<Args extends CommonArgs>(
  command: Command<Args>,
  load: () => Promise<CommandFile<Args>>,
): [Command, CommandParser] {
  const invocation = (parsed: Args): Invocation => async (start) => {
    const args = parsed.jsonFile === undefined ? parsed : { ...parsed, json: true };
    const context = start(command, args);
    return await context.conclude(async () => {
      const file = await load();
      return await traced(args, context, () => file.run(args, context));
    });
  };
  const parser = word(command.name.split(" ").at(-1) as string, map(command.args, invocation), {
    brief: [text(command.brief)],
    description: description(command),
    usageLine: [{ type: "literal", value: command.usage }],
  });
  return [command, parser];
}

const PARSERS: ReadonlyMap<Command, CommandParser> = new Map([
  runnable(dirtyGet, () => import("./dirty/get.ts")),
  runnable(dirtyWatch, () => import("./dirty/watch.ts")),
  runnable(dirtyForecast, () => import("./dirty/forecast.ts")),
  runnable(unmap, () => import("./unmap.ts")),
  runnable(timeline, () => import("./timeline.ts")),
  runnable(traceShow, () => import("./trace/show.ts")),
  runnable(importQemu, () => import("./import/qemu.ts")),
  runnable(importCloudHypervisor, () => import("./import/cloud_hypervisor.ts")),
  runnable(checkpoint, () => import("./checkpoint/take.ts")),
  runnable(verify, () => import("./checkpoint/verify.ts")),
  runnable(diff, () => import("./checkpoint/diff.ts")),
  runnable(show, () => import("./checkpoint/show.ts")),
  runnable(list, () => import("./list.ts")),
  runnable(probe, () => import("./probe.ts")),
  runnable(state, () => import("./state.ts")),
  runnable(reset, () => import("./reset.ts")),
  runnable(withDevices, () => import("./with.ts")),
  runnable(serve, () => import("./serve.ts")),
  runnable(check, () => import("./check.ts")),
  runnable(save, () => import("./save.ts")),
  runnable(restore, () => import("./restore.ts")),
  runnable(phasePrecopy, () => import("./phase/precopy.ts")),
  runnable(phaseStopAndCopy, () => import("./phase/stop_and_copy.ts")),
  runnable(phaseResume, () => import("./phase/resume.ts")),
  runnable(migrate, () => import("./migrate/migrate.ts")),
  runnable(receive, () => import("./migrate/receive.ts")),
  runnable(keygen, () => import("./migrate/keygen.ts")),
  runnable(uapi, () => import("./uapi.ts")),
  runnable(demo, () => import("./demo.ts")),
  runnable(man, () => import("./man.ts")),
]);

/** The parser of a command of the table. */
export function commandParser(command: Command): CommandParser {
  const parser = PARSERS.get(command);
  if (parser === undefined) throw new Error(`No file runs "${command.name}"`);
  return parser;
}
