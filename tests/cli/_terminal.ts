/** Runs the command line, or a shell, in a terminal, by script(1) of util-linux. */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import process from "node:process";
import { shellWord } from "../../src/vfio/mod.ts";
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
export async function atTerminal(
  words: readonly string[],
  columns: number,
  keys: Keys = [],
  options: RunOptions = {},
): Promise<Session> {
  const line = [...command(options), ...words].map(shellWord).join(" ");
  const env = { ...process.env, ...options.env };
  return await lineAtTerminal(`stty cols ${columns} rows 24; exec ${line}`, env, (child) => {
    let screen = "";
    let next = 0;
    child.stdout.on("data", (chunk: string) => {
      screen += chunk;
      const [seen, typed] = keys[next] ?? [];
      if (seen?.test(screen)) {
        next++;
        child.stdin.write(typed!);
      }
    });
  });
}

/** Runs a line of a shell at a terminal; `started` may type into it. */
export function lineAtTerminal(
  line: string,
  env: NodeJS.ProcessEnv,
  started: (child: ChildProcessWithoutNullStreams) => void,
): Promise<Session> {
  return new Promise((resolve, reject) => {
    const args = ["--quiet", "--return", "--echo", "never", "--command", line, "/dev/null"];
    const child = spawn("script", args, { env: { ...env, TERM: "xterm" } });
    let screen = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => screen += chunk);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, screen }));
    started(child);
  });
}
