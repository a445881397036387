#!/usr/bin/env -S deno run --allow-ffi --allow-read --allow-env=VFIOKIT_DEVICES
/**
 * The pre-copy phase alone: a running device's state to stdout, as a checkpoint
 * that `stop_and_copy.ts` goes on with. The device is left in pre-copy.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
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
    // Whoever opened the device keeps it in pre-copy; what goes on from there needs v2's data fd.
    // Where there is no place for that, this refuses at once, and not after all of pre-copy.
    const handOver = device.description.borrowed
      ? (): Promise<void> => device.handOver()
      : (): void => {};
    await handOver();
    const encoder = encodeCheckpoint(headerFor(device), { complete: false });
    const written = toStdout(encoder.readable);
    await precopy(device, { threshold, downtimeMs: downtime, maxRounds, maxTimeMs: maxTime })
      .pipeTo(encoder.writable, { preventClose: true, signal });
    // Before the trailer: a checkpoint that ends can be gone on with.
    await handOver();
    await encoder.writable.close();
    await written;
  },
});
