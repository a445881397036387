/**
 * Every call on a device's own character device and on /dev/iommu of which a
 * kernel's answer is known. Asked of the simulated kernel in
 * cdev_cases_test.ts, of a real one by cdev_answers.ts.
 *
 * @module
 */

import type { CaseGroup } from "../../dirty/type1_cases/case.ts";
import type { CdevAsker } from "./asker.ts";
import { ATTACHING, BINDING } from "./binding.ts";
import { DMA, MAPPING } from "./mapping.ts";

export * from "./asker.ts";

/** All groups of cases. */
export const CDEV_CASES: readonly CaseGroup<CdevAsker>[] = [BINDING, ATTACHING, MAPPING, DMA];
