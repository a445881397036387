#!/usr/bin/env -S deno run --allow-ffi --allow-read
/**
 * The resuming phase alone: restores a device from a checkpoint on stdin. The device then runs.
 *
 * @module
 */

import { object } from "../optique.ts";
import { openCheckpointFile, restore } from "../../mod.ts";
import { toggle } from "../specs/options.ts";
import { phaseArgs, phaseObject, runPhase } from "./_script.ts";

await runPhase({
  name: "resume.ts",
  brief: "Restore a checkpoint from stdin into a device, and let it run.",
  example: "vfiokit with 3b:00.1 -- ./resume.ts fd:3 < f",
  writes: false,
  args: object({
    ...phaseArgs,
    force: toggle(["-f", "--force"], "Restore a checkpoint of another kind of device."),
  }, phaseObject),
  async work(device, { force }, { signal }): Promise<void> {
    await restore(device, await openCheckpointFile("-"), { force, signal });
  },
});
