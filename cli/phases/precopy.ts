#!/usr/bin/env -S deno run --allow-ffi --allow-read --allow-env=VFIOKIT_DEVICES
/**
 * The pre-copy phase alone: writes a running device's state to stdout, as a checkpoint that
 * `stop_and_copy.ts` continues. Leaves the device in pre-copy.
 *
 * @module
 */

import { object } from "../optique.ts";
import { encodeCheckpoint } from "../../src/checkpoint/mod.ts";
import { precopy } from "../../mod.ts";
import * as options from "../specs/options.ts";
import { headerFor, phaseArgs, phaseObject, runPhase, toStdout } from "./_script.ts";

await runPhase({
  name: "precopy.ts",
  brief: "Copy a running device's state to stdout, and leave it in pre-copy.",
  example: "vfiokit with 3b:00.1 -- sh -c './precopy.ts fd:3 | ./stop_and_copy.ts fd:3 > f'",
  writes: true,
  args: object({ ...phaseArgs, ...options.precopy }, phaseObject),
  async work(device, { threshold, downtime, maxRounds, maxTime }, { signal }): Promise<void> {
    // The process that opened the device keeps it in pre-copy, and the next script needs v2's data
    // fd. If there is no socket for it, refuse now and not after pre-copy.
    const handOver = device.description.borrowed
      ? (): Promise<void> => device.handOver()
      : (): void => {};
    await handOver();
    const encoder = encodeCheckpoint(headerFor(device), { complete: false });
    const written = toStdout(encoder.readable);
    await precopy(device, { threshold, downtimeMs: downtime, maxRounds, maxTimeMs: maxTime })
      .pipeTo(encoder.writable, { preventClose: true, signal });
    // Before the trailer: a checkpoint with a trailer can be continued.
    await handOver();
    await encoder.writable.close();
    await written;
  },
});
