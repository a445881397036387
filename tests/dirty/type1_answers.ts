/**
 * Asks a kernel every type1 call of which the answer is known, with a device of
 * its own that nobody else uses; prints a line of JSON for each, with what was
 * expected and what came.
 *
 *     type1_answers.ts DEVICE [--hardware] [--dma FILE]
 *
 * `--hardware`: IOMMU hardware stands before the device. `--dma`: a file that
 * tells its driver what to write and pin, see `dmaThroughFile`; without it what
 * needs that is left out.
 *
 * Exit code 0: all as expected; 1: not.
 *
 * @module
 */

import { askedDevice, printRows } from "./_answers.ts";
import { askGroup, TYPE1_CASES } from "./type1_cases/mod.ts";

const { sysfs, ...host } = askedDevice("6.1");
for (const group of TYPE1_CASES) printRows(askGroup(group, { ...host, device: sysfs.name }));
