/**
 * `--json=FILE`: the document in a file. `--json` alone takes no value, so that a word after it is
 * an argument.
 *
 * @module
 */

import { message, type Parser, type ParserResult, text } from "../optique.ts";

/** The name of the file; undefined if none was given. */
type JsonFile = string | undefined;

/** How the word begins; the file's name follows. */
export const JSON_FILE = "--json=";

/** Above every option (10): `--json` would refuse the word because of its value. */
const PRIORITY = 20;

/** Parses `--json=FILE`; help and usage describe it along with `--json`. */
export function jsonFile(): Parser<"sync", JsonFile, JsonFile> {
  const refused = (consumed: number, why: string): ParserResult<JsonFile> => ({
    success: false,
    consumed,
    error: message`${text(why)}`,
  });
  return {
    mode: "sync",
    $valueType: [],
    $stateType: [],
    priority: PRIORITY,
    usage: [],
    leadingNames: new Set(),
    acceptingAnyToken: false,
    initialState: undefined,
    canSkip: () => true,
    parse(context): ParserResult<JsonFile> {
      const [word, ...buffer] = context.buffer;
      if (word === undefined || context.optionsTerminated || !word.startsWith(JSON_FILE)) {
        return refused(0, "Expected --json=FILE.");
      }
      if (context.state !== undefined) return refused(1, "--json cannot be used multiple times.");
      const file = word.slice(JSON_FILE.length);
      if (file === "") return refused(1, "The name of the file after --json= is empty.");
      return { success: true, next: { ...context, buffer, state: file }, consumed: [word] };
    },
    complete: (state) => ({ success: true, value: state }),
    *suggest(): Generator<never> {},
    getDocFragments: () => ({ fragments: [] }),
  };
}
