/**
 * From the words of a command line to an exit code.
 *
 * @module
 */

import { command as word, or, text } from "./optique.ts";
import { Context } from "./context.ts";
import { rootHelp } from "./help.ts";
import { USAGE } from "./exit_codes.ts";
import { parseWords } from "./parse.ts";
import type { Signals } from "./signals.ts";
import { STDERR, STDOUT } from "./output/stdio.ts";
import { type CommandParser, commandParser } from "./commands/runnable.ts";
import type { Command, CommandGroup, CommandText, CommonArgs } from "./specs/command.ts";
import { COMMANDS, GROUPS, PROGRAM } from "./specs/commands.ts";
import { JSON_FILE } from "./specs/json_file.ts";

/** Runs a command line (without the program's name); resolves to the exit code. */
export async function run(
  words: readonly string[],
  version: string,
  signals: Signals,
): Promise<number> {
  // A command's own parser suggests similar options for an unknown one; the choice of all commands
  // does not.
  const command = COMMANDS.find(({ name }) => words.slice(0, wordsIn(name)).join(" ") === name);
  const bare = words.length === 0 || (words.length === 1 && groupOf(words[0]) !== undefined);
  const parser = parserOf(command === undefined ? alternatives(words) : [command]);
  const parsed = await parseWords(parser, bare ? [...words, "--help"] : words, {
    program: PROGRAM,
    called: [PROGRAM, command?.name ?? groupOf(words[0])?.name ?? []].flat().join(" "),
    version,
    ...(command === undefined ? { help: rootHelp() } : {}),
    // A bare command prints the help, but is not a valid command line.
    fd: bare ? STDERR : STDOUT,
    signals,
    commands: true,
  });
  const start = (
    { name, jsonLines, lendsStdout }: CommandText,
    { json, jsonFile, quiet, command }: CommonArgs,
  ): Context =>
    new Context({
      called: `${PROGRAM} ${name}`,
      schema: name.replaceAll(" ", "-"),
      json: json ?? false,
      jsonFile,
      jsonLines,
      resultFd: lendsStdout && command !== undefined ? STDERR : STDOUT,
      quiet,
      signals,
    });
  if (!("exitCode" in parsed)) return await parsed.value(start);
  const { exitCode, mistake } = parsed;
  const end = words.indexOf("--");
  const own = end === -1 ? words : words.slice(0, end);
  const jsonWord = own.find((word) => word === "--json" || word.startsWith(JSON_FILE));
  if (command === undefined || mistake === undefined || jsonWord === undefined) {
    return bare ? USAGE : exitCode;
  }
  const jsonFile = jsonWord.slice(JSON_FILE.length) || undefined;
  const program = end === -1 ? undefined : words.slice(end + 1);
  const context = start(command, { quiet: true, json: true, jsonFile, command: program });
  return await context.conclude(() => {
    context.failed("usage", mistake);
    return Promise.resolve(exitCode);
  });
}

/** The commands that the words may mean: those of a group, if they begin with its name. */
function alternatives(words: readonly string[]): readonly Command[] {
  const group = groupOf(words[0]);
  if (group === undefined) return COMMANDS;
  return COMMANDS.filter(({ name }) => groupOf(name) === group);
}

function wordsIn(name: string): number {
  return name.split(" ").length;
}

function groupOf(name: string | undefined): CommandGroup | undefined {
  return GROUPS.find((group) => group.name === name?.split(" ")[0]);
}

/** Parses any of these commands, in their order; those of a group stand behind its word. */
function parserOf(commands: readonly Command[]): CommandParser {
  const parsers = new Map<Command | CommandGroup, CommandParser>();
  for (const command of commands) {
    const group = groupOf(command.name);
    if (group === undefined) parsers.set(command, commandParser(command));
    else if (!parsers.has(group)) parsers.set(group, groupParser(group, commands));
  }
  return anyOf([...parsers.values()]);
}

function groupParser(group: CommandGroup, commands: readonly Command[]): CommandParser {
  const members = commands.filter(({ name }) => groupOf(name) === group);
  return word(group.name, anyOf(members.map(commandParser)), {
    brief: [text(group.brief)],
    usageLine: [{ type: "literal", value: "COMMAND ..." }],
  });
}

function anyOf([first, ...others]: readonly CommandParser[]): CommandParser {
  return others.reduce((choice, parser) => or(choice, parser), first as CommandParser);
}
