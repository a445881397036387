/**
 * A load for `check`: the guest driver's device writes to memory by itself, as long as it runs.
 *
 * @module
 */

import { spawn } from "node:child_process";
import type { GuestDevice } from "./device.ts";

/** The words of a program that has the device write to the memory that `check` maps. */
export function busyProgram({ dmaFile }: GuestDevice): readonly string[] {
  return ["sh", "-c", `while :; do echo busy 0x40000000 256 > ${dmaFile}; done 2>/dev/null`];
}

/** Starts it; disposing ends it. */
export function busy(device: GuestDevice): Promise<AsyncDisposable> {
  const [program, ...args] = busyProgram(device);
  const child = spawn(program!, args, { stdio: "ignore" });
  return Promise.resolve({
    [Symbol.asyncDispose]: async (): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
      await promise;
    },
  });
}
