/**
 * Runs the command of a phase as a script: a process that has that command only.
 *
 * @module
 */

import process from "node:process";
import deno from "../../deno.json" with { type: "json" };
import { Context } from "../context.ts";
import { text } from "../optique.ts";
import { parseWords } from "../parse.ts";
import { watchSignals } from "../signals.ts";
import { type Command, description } from "../specs/command.ts";
import type { PhaseArgs } from "../specs/phase/phases.ts";
import { traced } from "../trace_option.ts";

/** Runs a phase as the process's only work, and ends the process. */
export async function runScript<T extends PhaseArgs>(
  name: string,
  command: Command<T>,
  run: (args: T, context: Context) => Promise<number>,
): Promise<never> {
  const signals = watchSignals(name, (exitCode) => process.exit(exitCode));
  const parsed = await parseWords(command.args, process.argv.slice(2), {
    program: name,
    called: name,
    version: deno.version,
    help: {
      brief: [text(command.brief)],
      usageLine: [{ type: "literal", value: command.usage }],
      description: description(command),
    },
    signals,
    commands: false,
  });
  if ("exitCode" in parsed) process.exit(parsed.exitCode);
  const args = parsed.value;
  const { quiet } = args;
  const context = new Context({ called: name, schema: name, json: false, quiet, signals });
  process.exit(await context.conclude(() => traced(args, context, () => run(args, context))));
}
