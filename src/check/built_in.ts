/**
 * Every built-in check.
 *
 * @module
 */

import { type Check, GROUPS } from "./define.ts";
import { SAFETY_LEVELS } from "./safety.ts";
import { ARC_CHECKS } from "./groups/arcs.ts";
import { FEATURE_CHECKS } from "./groups/features.ts";
import { IDENTITY_CHECKS } from "./groups/identity.ts";
import { REGION_CHECKS } from "./groups/regions.ts";

const ALL: readonly Check[] = [
  ...IDENTITY_CHECKS,
  ...REGION_CHECKS,
  ...FEATURE_CHECKS,
  ...ARC_CHECKS,
];

/** Every built-in check, in the order in which they run: by safety level, then by group. */
export const CHECKS: readonly Check[] = SAFETY_LEVELS.flatMap((safety) =>
  GROUPS.flatMap((group) => ALL.filter((check) => check.safety === safety && check.group === group))
);
