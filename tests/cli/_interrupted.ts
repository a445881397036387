/** Command lines that a signal ends. */

import process from "node:process";
import { type Outcome, type RunOptions, vfiokit } from "./_cli.ts";

/** Runs a command and sends it a signal once it wrote `when` to stderr or stdout. */
export function interrupted(
  args: readonly string[],
  when: RegExp,
  signal: NodeJS.Signals,
  options: RunOptions = {},
): Promise<Outcome> {
  return vfiokit(args, {
    ...options,
    started: (child) => {
      let seen = "";
      const look = (chunk: Uint8Array): void => {
        const before = when.test(seen);
        seen += new TextDecoder().decode(chunk);
        // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
        if (!before && when.test(seen)) process.kill(child.pid!, signal);
      };
      child.stdout?.on("data", look);
      child.stderr?.on("data", look);
    },
  });
}
