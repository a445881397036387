/** Saves that are held, so that something can be done in between. */

import process from "node:process";
import { type Outcome, vfiokit } from "./_cli.ts";

/** Where a save is held. */
export type HeldAt = "before the reading back" | "after the first chunk" | "before the commit";

/** A save that is held. */
export interface HeldSave {
  readonly pid: number;
  /** Lets it go on. */
  goOn(): void;
  /** Resolves once it has written something like that to stderr. */
  says(what: RegExp): Promise<void>;
}

/** Runs a save to its end; `meanwhile` is called when it is held. */
export async function heldSave(
  args: readonly string[],
  heldAt: HeldAt,
  meanwhile: (save: HeldSave) => void | Promise<void>,
): Promise<Outcome> {
  let failed: { readonly error: unknown } | null = null;
  const outcome = await vfiokit(["save", ...args], {
    script: "tests/cli/_held_save.ts",
    env: { HELD_AT: heldAt },
    started: (child) => {
      let err = "";
      let look: (() => void) | null = null;
      const says = (what: RegExp): Promise<void> =>
        new Promise((resolve) => {
          look = (): void => {
            if (what.test(err)) resolve();
          };
          look();
        });
      child.stderr?.on("data", (chunk: Uint8Array) => {
        err += new TextDecoder().decode(chunk);
        look?.();
      });
      const pid = child.pid!;
      // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
      const goOn = (): void => void process.kill(pid, "SIGUSR2");
      says(/^held /m).then(() => meanwhile({ pid, goOn, says })).catch((error) => {
        failed = { error };
        child.kill("SIGKILL");
      });
    },
  });
  if (failed !== null) throw (failed as { readonly error: unknown }).error;
  return outcome;
}
