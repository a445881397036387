/**
 * The layout of help: an example, then arguments, then options.
 *
 * @module
 */

import {
  type DocEntry,
  type DocPage,
  type DocPageFormatOptions,
  formatDocPage,
  lineBreak,
  type Message,
  text,
  type Usage,
} from "./optique.ts";
import process from "node:process";
import { mayColour } from "./env.ts";
import { EXIT_CODES } from "./exit_codes.ts";
import { BRIEF, COMMANDS, GROUPS, PROGRAM } from "./specs/commands.ts";

/** Maximum width of the help, in columns. */
const WIDEST = 100;

/** The parts of the help besides arguments and options. */
export interface HelpText {
  /** One line above the usage. */
  readonly brief: Message;
  /** The text below the usage. */
  readonly description: Message;
  /** The text at the end. */
  readonly footer?: Message;
  /** The usage after the name. */
  readonly usageLine: Usage;
}

/** The program's own help, around the list of commands. */
export function rootHelp(): HelpText {
  return {
    brief: [text(BRIEF)],
    usageLine: [{ type: "literal", value: "COMMAND ..." }],
    description: lines(
      "Examples:",
      "  $ vfiokit demo",
      "  $ vfiokit probe 0000:3b:00.1",
      "  $ vfiokit save 0000:3b:00.1 --precopy -o device.vfk",
      "  $ vfiokit restore 0000:3b:00.1 device.vfk -- ./use-it.sh",
      `Each command has its own help: ${PROGRAM} COMMAND --help`,
    ),
    footer: lines(
      "Exit codes:",
      ...EXIT_CODES.map(([code, meaning]) => `  ${code.padEnd(7)} ${meaning}`),
    ),
  };
}

/** A page of help as text. */
export function formatHelp(program: string, page: DocPage): string {
  const columns = process.stdout.columns;
  const options: DocPageFormatOptions = {
    colors: mayColour(process.stdout),
    maxWidth: columns > 0 ? Math.min(columns, WIDEST) : WIDEST,
    termWidth: "auto",
  };
  const sections = page.sections.map((section) => ({
    ...section,
    entries: argumentsFirst(section.entries.flatMap(membersOf)),
  }));
  return formatDocPage(program, { ...page, sections }, options).trimEnd() + "\n";
}

/** In the list of all commands, replaces a group by its commands. */
function membersOf(entry: DocEntry): DocEntry[] {
  const { term } = entry;
  const group = GROUPS.find(({ name }) => term.type === "command" && term.name === name);
  if (group === undefined) return [entry];
  return COMMANDS.filter(({ name }) => name.startsWith(`${group.name} `)).map((
    { name, brief },
  ) => ({
    term: { type: "command", name },
    description: [text(brief)],
  }));
}

/** Arguments in their order, then the program to run, then options. */
export function argumentsFirst(entries: readonly DocEntry[]): readonly DocEntry[] {
  return [...entries].sort((a, b) => rank(a) - rank(b));
}

function rank({ term }: DocEntry): number {
  return term.type === "argument"
    ? 0
    : term.type === "sequence"
    ? 1
    : term.type === "option"
    ? 3
    : 2;
}

function lines(...words: readonly string[]): Message {
  return words.flatMap((line, i) => i === 0 ? [text(line)] : [lineBreak(), text(line)]);
}
