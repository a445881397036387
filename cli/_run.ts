/**
 * From the words of a command line to an exit code.
 *
 * @module
 */

import { or } from "@optique/core/constructs";
import type { Parser } from "@optique/core/parser";
import { Context } from "./_context.ts";
import { rootHelp } from "./_help.ts";
import { parseWords, USAGE } from "./_parse.ts";
import type { Signals } from "./_signals.ts";
import { STDERR, STDOUT } from "./_stdio.ts";
import type { Invocation } from "./table/command.ts";
import { COMMANDS, PROGRAM } from "./table/table.ts";

/** Runs a command line (without the program's name); resolves to the exit code. */
export async function run(
  words: readonly string[],
  version: string,
  signals: Signals,
): Promise<number> {
  // A command's own parser answers an unknown option with those it resembles; the choice of all
  // commands doesn't.
  const command = COMMANDS.find(({ name }) => name === words[0]);
  const bare = words.length === 0;
  const parsed = parseWords(command?.parser ?? anyCommand(), bare ? ["--help"] : words, {
    program: PROGRAM,
    called: command === undefined ? PROGRAM : `${PROGRAM} ${command.name}`,
    version,
    ...(command === undefined ? { help: rootHelp() } : {}),
    // A bare command gets the help, yet it is not a command line that does anything.
    fd: bare ? STDERR : STDOUT,
    commands: true,
  });
  if ("exitCode" in parsed) return bare ? USAGE : parsed.exitCode;
  return await parsed.value(({ name }, { json, quiet }) =>
    new Context({ called: `${PROGRAM} ${name}`, schema: name, json: json ?? false, quiet, signals })
  );
}

function anyCommand(): Parser<"sync", Invocation, unknown> {
  const [first, ...others] = COMMANDS.map(({ parser }) => parser);
  return others.reduce<Parser<"sync", Invocation, unknown>>(
    (choice, parser) => or(choice, parser),
    first as Parser<"sync", Invocation, unknown>,
  );
}
