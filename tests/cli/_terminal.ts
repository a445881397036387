/** Runs the command line in a terminal, by script(1) of util-linux. */

import { spawn } from "node:child_process";
import process from "node:process";
import { command, type RunOptions } from "./_cli.ts";

/** What came to the screen, and how the command ended. */
export interface Session {
  readonly code: number | null;
  readonly screen: string;
}

/** What is typed once something is on the screen; each once, in this order. */
export type Keys = readonly (readonly [seen: RegExp, keys: string])[];

/** Ctrl-C, as a keyboard sends it. */
export const CTRL_C = "\x03";

/** Runs a command line at a terminal of so many columns. */
export function atTerminal(
  words: readonly string[],
  columns: number,
  keys: Keys = [],
  options: RunOptions = {},
): Promise<Session> {
  const line = [...command(options), ...words].map(quoted).join(" ");
  return new Promise((resolve, reject) => {
    const child = spawn("script", [
      ...["--quiet", "--return", "--echo", "never"],
      ...["--command", `stty cols ${columns} rows 24; exec ${line}`, "/dev/null"],
    ], { env: { ...process.env, TERM: "xterm", ...options.env } });
    let screen = "";
    let next = 0;
    child.stdout.on("data", (chunk: Uint8Array) => {
      screen += new TextDecoder().decode(chunk);
      const [seen, typed] = keys[next] ?? [];
      if (seen?.test(screen)) {
        next++;
        child.stdin.write(typed!);
      }
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, screen }));
  });
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
