/**
 * A command as a line of the command table, from which parsing, help,
 * completion, the man page and the list of permissions are made.
 *
 * @module
 */

import { lineBreak, type Message, text } from "@optique/core/message";
import { map } from "@optique/core/modifiers";
import type { Parser } from "@optique/core/parser";
import { command } from "@optique/core/primitives";
import type { Context } from "../context.ts";

/** The Deno permission flags that commands ask for. */
export type Permission =
  | "--allow-ffi"
  | "--allow-read"
  | "--allow-write"
  | "--allow-run"
  | "--allow-env";

/** An example of a command line. */
export interface Example {
  /** What it does, as a phrase. */
  readonly what: string;
  /** The command line. */
  readonly line: string;
}

/** The arguments that every command takes. */
export interface CommonArgs {
  /** Say nothing but results and errors. */
  readonly quiet: boolean;
  /** Print the result as JSON. */
  readonly json?: boolean;
}

/** Runs a parsed command line; resolves to the exit code. */
export type Invocation = (start: StartContext) => Promise<number>;

/** Makes the context that a command runs in. */
export type StartContext = (spec: Command, args: CommonArgs) => Context;

/** The exports of a command's file. */
export interface CommandModule<T> {
  /** Runs the command; resolves to its exit code. */
  run(args: T, context: Context): Promise<number>;
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
  /** The Deno permissions it needs, without optional arguments. */
  readonly permissions: readonly Permission[];
}

/** A line of the command table. */
export interface Command extends CommandText {
  /** The parser of its arguments alone, for the man page. */
  readonly args: Parser<"sync", unknown, unknown>;
  /** The parser of its name's last word and its arguments; yields what to run. */
  readonly parser: Parser<"sync", Invocation, unknown>;
}

/** Makes a line of the command table; `load` imports the command's file when it runs. */
export function defineCommand<T extends CommonArgs>(
  spec: CommandText & {
    readonly args: Parser<"sync", T, unknown>;
    readonly load: () => Promise<CommandModule<T>>;
  },
): Command {
  const self: Command = {
    ...spec,
    parser: command(
      spec.name.split(" ").at(-1) as string,
      map(spec.args, (args): Invocation => async (start) => {
        const context = start(self, args);
        return await context.conclude(async () => await (await spec.load()).run(args, context));
      }),
      {
        brief: [text(spec.brief)],
        description: description(spec),
        usageLine: [{ type: "literal", value: spec.usage }],
      },
    ),
  };
  return self;
}

/** Several commands whose names begin with the same word. */
export interface CommandGroup {
  /** That word. */
  readonly name: string;
  /** Their subject, in one line. */
  readonly brief: string;
}

/** The first example, then paragraphs, the other examples and permissions; the options follow. */
function description(spec: CommandText): Message {
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
