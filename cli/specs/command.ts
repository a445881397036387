/**
 * What a command is: a line of the command table. Parsing, help, completion,
 * the man page and the list of permissions are all made from it.
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

/** A command line, and what it does. */
export interface Example {
  /** What it does, as a phrase. */
  readonly what: string;
  /** The command line. */
  readonly line: string;
}

/** What every command's arguments have. */
export interface CommonArgs {
  /** Say nothing but results and errors. */
  readonly quiet: boolean;
  /** Print the result as JSON. */
  readonly json?: boolean;
}

/** What runs when a command line was parsed; resolves to the exit code. */
export type Invocation = (start: StartContext) => Promise<number>;

/** Makes the context that a command runs in. */
export type StartContext = (spec: Command, args: CommonArgs) => Context;

/** What the file of a command exports. */
export interface CommandModule<T> {
  /** Runs the command; resolves to its exit code. */
  run(args: T, context: Context): Promise<number>;
}

/** What describes a command to a person. */
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
  /** The Deno permissions it needs, in its plainest form. */
  readonly permissions: readonly Permission[];
}

/** A line of the command table. */
export interface Command extends CommandText {
  /** Its arguments alone, for the man page. */
  readonly args: Parser<"sync", unknown, unknown>;
  /** The last word of its name, and its arguments; yields what to run. */
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
  /** What they are about, in one line. */
  readonly brief: string;
}

/** Paragraphs, examples, permissions: what stands above the options in the help. */
function description(spec: CommandText): Message {
  const examples = spec.examples.flatMap(({ what, line }) => [`  # ${what}`, `  $ ${line}`]);
  const permissions = spec.permissions.length === 0 ? "none" : spec.permissions.join(" ");
  return [
    ...spec.details.map((paragraph) => text(`${paragraph}\n\n`)),
    text(spec.examples.length === 1 ? "Example:" : "Examples:"),
    ...examples.flatMap((line) => [lineBreak(), text(line)]),
    text(`\n\nDeno permissions: ${permissions}`),
  ];
}
