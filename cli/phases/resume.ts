#!/usr/bin/env -S deno run --allow-ffi --allow-read
/**
 * `vfiokit phase resume` as a script.
 *
 * @module
 */

import { run } from "../commands/phase/resume.ts";
import { phaseResume } from "../specs/phase/phases.ts";
import { runScript } from "./_script.ts";

await runScript("resume.ts", phaseResume, run);
