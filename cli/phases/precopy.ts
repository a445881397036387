#!/usr/bin/env -S deno run --allow-ffi --allow-read --allow-env=VFIOKIT_DEVICES
/**
 * `vfiokit phase precopy` as a script.
 *
 * @module
 */

import { run } from "../commands/phase/precopy.ts";
import { phasePrecopy } from "../specs/phase/phases.ts";
import { runScript } from "./_script.ts";

await runScript("precopy.ts", phasePrecopy, run);
