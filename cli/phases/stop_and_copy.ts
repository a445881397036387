#!/usr/bin/env -S deno run --allow-ffi --allow-read --allow-env=VFIOKIT_DEVICES
/**
 * `vfiokit phase stop-and-copy` as a script.
 *
 * @module
 */

import { run } from "../commands/phase/stop_and_copy.ts";
import { phaseStopAndCopy } from "../specs/phase/phases.ts";
import { runScript } from "./_script.ts";

await runScript("stop_and_copy.ts", phaseStopAndCopy, run);
