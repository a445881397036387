/**
 * Gives a simulated device the bugs of its spec.
 */

import type { DeviceModel } from "../device/device_model.ts";
import type { BugName } from "../faults/bug_table.ts";
import { DEVICE_BUGS } from "./_device_bugs.ts";
import type { Plant } from "./_points.ts";
import { V1_DATA_BUGS } from "./_v1_data_bugs.ts";
import { V1_REGION_BUGS } from "./_v1_region_bugs.ts";
import { V1_STATE_BUGS } from "./_v1_state_bugs.ts";
import { V2_FEATURE_BUGS } from "./_v2_feature_bugs.ts";
import { V2_LOG_BUGS } from "./_v2_log_bugs.ts";
import { V2_PRECOPY_BUGS } from "./_v2_precopy_bugs.ts";
import { V2_RESET_BUGS } from "./_v2_reset_bugs.ts";
import { V2_RESTORE_BUGS } from "./_v2_restore_bugs.ts";
import { V2_SAVE_BUGS } from "./_v2_save_bugs.ts";
import { V2_STATE_BUGS } from "./_v2_state_bugs.ts";

const PLANTS: Readonly<Record<BugName, Plant>> = {
  ...DEVICE_BUGS,
  ...V1_DATA_BUGS,
  ...V1_REGION_BUGS,
  ...V1_STATE_BUGS,
  ...V2_FEATURE_BUGS,
  ...V2_LOG_BUGS,
  ...V2_PRECOPY_BUGS,
  ...V2_RESET_BUGS,
  ...V2_RESTORE_BUGS,
  ...V2_SAVE_BUGS,
  ...V2_STATE_BUGS,
};

/** Gives a device bugs; the device has not been opened yet. */
export function plantBugs(device: DeviceModel, bugs: readonly BugName[]): void {
  for (const name of bugs) PLANTS[name](device);
}
