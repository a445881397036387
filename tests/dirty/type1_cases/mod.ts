/**
 * Every type1 call of which a kernel's answer is known. Asked of the simulated
 * kernel in type1_cases_test.ts, of a real one by type1_answers.ts.
 *
 * @module
 */

import { ARGUMENTS, FLAGS, TOO_LARGE } from "./arguments.ts";
import { BITS, HARDWARE_WORD, PHANTOMS, SHIFTED } from "./bits.ts";
import type { CaseGroup } from "./case.ts";
import { LIMITS, MAPPING } from "./mapping.ts";
import { OPENING, TYPE1 } from "./opening.ts";
import { UNMAPPING } from "./unmapping.ts";

export * from "./asker.ts";
export * from "./case.ts";
export * from "./device_dma.ts";

/** All groups of cases. */
export const TYPE1_CASES: readonly CaseGroup[] = [
  OPENING,
  TYPE1,
  MAPPING,
  LIMITS,
  FLAGS,
  ARGUMENTS,
  TOO_LARGE,
  BITS,
  PHANTOMS,
  HARDWARE_WORD,
  SHIFTED,
  UNMAPPING,
];
