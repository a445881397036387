/**
 * Every built-in check.
 *
 * @module
 */

import { type Check, GROUPS } from "./define.ts";
import { SAFETY_LEVELS } from "./safety.ts";
import { ARC_CHECKS } from "./groups/arcs.ts";
import { CONCURRENCY_CHECKS } from "./groups/concurrency.ts";
import { DMA_CHECKS } from "./groups/dma.ts";
import { DMA_LOG_CHECKS } from "./groups/dma_log.ts";
import { ERROR_CHECKS } from "./groups/error.ts";
import { FEATURE_CHECKS } from "./groups/features.ts";
import { IDENTITY_CHECKS } from "./groups/identity.ts";
import { LIMIT_CHECKS } from "./groups/limits.ts";
import { NONBLOCKING_CHECKS } from "./groups/nonblocking.ts";
import { PRECOPY_CHECKS } from "./groups/precopy.ts";
import { REGION_CHECKS } from "./groups/regions.ts";
import { RESUME_CHECKS } from "./groups/resume.ts";
import { STOP_COPY_CHECKS } from "./groups/stop_copy.ts";
import { TYPE1_CHECKS } from "./groups/type1.ts";
import { V1_CHECKS } from "./groups/v1.ts";
import { V1_RESTORE_CHECKS } from "./groups/v1_restore.ts";

const ALL: readonly Check[] = [
  ...IDENTITY_CHECKS,
  ...REGION_CHECKS,
  ...FEATURE_CHECKS,
  ...ARC_CHECKS,
  ...STOP_COPY_CHECKS,
  ...PRECOPY_CHECKS,
  ...NONBLOCKING_CHECKS,
  ...RESUME_CHECKS,
  ...ERROR_CHECKS,
  ...LIMIT_CHECKS,
  ...DMA_CHECKS,
  ...DMA_LOG_CHECKS,
  ...TYPE1_CHECKS,
  ...CONCURRENCY_CHECKS,
  ...V1_CHECKS,
  ...V1_RESTORE_CHECKS,
];

/** Every built-in check, in the order in which they run: by safety level, then by group. */
export const CHECKS: readonly Check[] = SAFETY_LEVELS.flatMap((safety) =>
  GROUPS.flatMap((group) => ALL.filter((check) => check.safety === safety && check.group === group))
);
