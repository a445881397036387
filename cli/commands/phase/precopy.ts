/**
 * `vfiokit phase precopy`: the pre-copy phase alone. Writes a running device's state to stdout, as a
 * checkpoint that `phase stop-and-copy` continues, and leaves the device in pre-copy.
 *
 * @module
 */

import { precopy } from "../../../mod.ts";
import { encodeCheckpoint } from "../../../src/checkpoint/mod.ts";
import type { Context } from "../../context.ts";
import { refuseTerminal } from "../../output/transfer_report.ts";
import type { PhasePrecopyArgs } from "../../specs/phase/phases.ts";
import { headerFor, runPhase, toStdout } from "./_phase.ts";

/** Runs `phase precopy`. */
export function run(args: PhasePrecopyArgs, context: Context): Promise<number> {
  const { threshold, downtime, maxRounds, maxTime } = args;
  const limits = { threshold, downtimeMs: downtime, maxRounds, maxTimeMs: maxTime };
  refuseTerminal();
  return runPhase(args, context, {
    verb: "Copying",
    async work(device): Promise<void> {
      // The process that opened the device keeps it in pre-copy, and the next phase needs v2's data
      // fd. If there is no socket for it, refuse now and not after pre-copy.
      const handOver = device.description.borrowed
        ? (): Promise<void> => device.handOver()
        : (): void => {};
      await handOver();
      const encoder = encodeCheckpoint(headerFor(device), { complete: false });
      const written = toStdout(encoder.readable);
      await precopy(device, limits)
        .pipeTo(encoder.writable, { preventClose: true, signal: context.signal });
      // Before the trailer: a checkpoint with a trailer can be continued.
      await handOver();
      await encoder.writable.close();
      await written;
    },
  });
}
