#!/usr/bin/env -S deno run --allow-ffi --allow-read
/**
 * The pre-copy phase alone: a running device's state to stdout, as a checkpoint
 * that `stop_and_copy.ts` goes on with. The device is left in pre-copy.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { encodeCheckpoint, precopy } from "../../mod.ts";
import * as options from "../table/options.ts";
import { headerFor, phaseArgs, runPhase, toStdout } from "./_script.ts";

await runPhase({
  name: "precopy.ts",
  brief: "Copy a running device's state to stdout, and leave it in pre-copy.",
  example: "vfiokit with 3b:00.1 -- sh -c './precopy.ts fd:3 | ./stop_and_copy.ts fd:3 > f'",
  args: object({ ...phaseArgs, ...options.precopy }),
  async work(device, { threshold, downtime, maxRounds, maxTime }, { signal }): Promise<void> {
    const encoder = encodeCheckpoint(headerFor(device), { complete: false });
    const written = toStdout(encoder.readable);
    await precopy(device, { threshold, downtimeMs: downtime, maxRounds, maxTimeMs: maxTime })
      .pipeTo(encoder.writable, { signal });
    await written;
  },
});
