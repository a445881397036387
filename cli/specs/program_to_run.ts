/**
 * The end of a command line: `-- COMMAND [ARGUMENT...]`, a program to run and
 * its own arguments, taken as they are.
 *
 * @module
 */

import {
  message,
  type Parser,
  type ParserResult,
  type Suggestion,
  text,
  type UsageTerm,
  type ValueParserResult,
} from "../optique.ts";

/** The words of the program to run; undefined if none was given. */
export type Tail = readonly string[] | undefined;

/** Above every option, so that `--` is seen here first (options have 10). */
const PRIORITY = 100;

/** Parses `-- COMMAND...`; if it is required, a command line without it is an error. */
export function tail(description: string, required = false): Parser<"sync", Tail, Tail> {
  const term: UsageTerm = {
    type: "sequence",
    terms: [
      { type: "literal", value: "--" },
      { type: "multiple", terms: [{ type: "argument", metavar: "COMMAND" }], min: 1 },
    ],
  };
  const missing = message`Expected ${text("-- COMMAND")} at the end: the program to run.`;
  return {
    mode: "sync",
    $valueType: [],
    $stateType: [],
    priority: PRIORITY,
    usage: required ? [term] : [{ type: "optional", terms: [term] }],
    leadingNames: new Set(["--"]),
    acceptingAnyToken: false,
    initialState: undefined,
    canSkip: () => !required,
    parse(context): ParserResult<Tail> {
      if (context.buffer[0] !== "--") return { success: false, consumed: 0, error: missing };
      if (context.buffer.length === 1) return { success: false, consumed: 1, error: missing };
      return {
        success: true,
        next: { ...context, buffer: [], state: context.buffer.slice(1) },
        consumed: context.buffer,
      };
    },
    complete(state): ValueParserResult<Tail> {
      return state === undefined && required
        ? { success: false, error: missing }
        : { success: true, value: state };
    },
    *suggest(_context, prefix): Generator<Suggestion> {
      if ("--".startsWith(prefix)) {
        yield { kind: "literal", text: "--", description: [text(description)] };
      }
    },
    getDocFragments: () => ({
      fragments: [{ type: "entry", term, description: [text(description)] }],
    }),
  };
}
