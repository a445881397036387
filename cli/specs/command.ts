/**
 * A command as a line of the command table, from which parsing, help,
 * completion, the man page and the list of permissions are made.
 *
 * @module
 */

import { lineBreak, type Message, type Parser, text } from "../optique.ts";
import type { TraceArgs } from "../trace_option.ts";

/** The Deno permission flags that commands ask for. */
export type Permission =
  | "--allow-ffi"
  | "--allow-read"
  | "--allow-write"
  | "--allow-run"
  | "--allow-env"
  | "--allow-net";

/** An example of a command line. */
export interface Example {
  /** What it does, as a phrase. */
  readonly what: string;
  /** The command line. */
  readonly line: string;
}

/** The arguments that every command takes. */
export interface CommonArgs extends TraceArgs {
  /** Say nothing but results and errors. */
  readonly quiet: boolean;
  /** Print the result as JSON. */
  readonly json?: boolean;
  /** The file that the JSON goes to. */
  readonly jsonFile?: string | undefined;
  /** A program to run. */
  readonly command?: readonly string[] | undefined;
}

/** How help, man page and completion describe a command. */
export interface CommandText {
  /** Its name; with a space in it, it is one of a group: `dirty get`. */
  readonly name: string;
  /** The command line after the name. */
  readonly usage: string;
  /** What it does, in one line. */
  readonly brief: string;
  /** More about it, in paragraphs. */
  readonly details: readonly string[];
  /** How to use it; at least one. */
  readonly examples: readonly [Example, ...Example[]];
  /** Whether `--json` gives JSON Lines; otherwise it gives one document. */
  readonly jsonLines?: true;
  /** Whether stdout is the program's, if one is run: results go to stderr then. */
  readonly lendsStdout?: true;
  /** The Deno permissions it needs, without optional arguments. */
  readonly permissions: readonly Permission[];
}

/** A line of the command table: what a command is called, what it takes, and what help says. */
export interface Command<Args extends CommonArgs = CommonArgs> extends CommandText {
  /** The parser of its arguments. */
  readonly args: Parser<"sync", Args, unknown>;
}

/** Several commands whose names begin with the same word. */
export interface CommandGroup {
  /** That word. */
  readonly name: string;
  /** Their subject, in one line. */
  readonly brief: string;
}

/** The first example, then paragraphs, the other examples and permissions; the options follow. */
export function description(spec: CommandText): Message {
  const [first, ...others] = spec.examples;
  const permissions = spec.permissions.length === 0 ? "none" : spec.permissions.join(" ");
  return [
    ...exampleLines("Example:", [first]),
    text("\n\n"),
    ...spec.details.map((paragraph) => text(`${paragraph}\n\n`)),
    ...(others.length === 0 ? [] : [...exampleLines("More examples:", others), text("\n\n")]),
    text(`Deno permissions: ${permissions}`),
  ];
}

function exampleLines(heading: string, examples: readonly Example[]): Message {
  const lines = examples.flatMap(({ what, line }) => [`  # ${what}`, `  $ ${line}`]);
  return [text(heading), ...lines.flatMap((line) => [lineBreak(), text(line)])];
}
