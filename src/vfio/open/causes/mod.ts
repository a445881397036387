/**
 * The causes of the errnos of opening: what each is, how to detect it, and what to do.
 *
 * @module
 */

import { findHolders } from "../../reasons/holders.ts";
import type { Holder } from "../../reasons/unsupported_error.ts";
import { nodesOfGroup, type OpeningFailure } from "./_cause.ts";
import { DRIVER } from "./_driver.ts";
import { GROUP } from "./_group.ts";
import { IOMMU } from "./_iommu.ts";
import { NODES } from "./_nodes.ts";
import { PROCESS } from "./_process.ts";
import { SERVER } from "./_server.ts";

export {
  answered,
  type Cause,
  type CauseReason,
  type OpeningFailure,
  type Situation,
} from "./_cause.ts";

/** All causes, by name. */
export const CAUSES:
  & typeof PROCESS
  & typeof NODES
  & typeof GROUP
  & typeof IOMMU
  & typeof DRIVER
  & typeof SERVER = {
    ...PROCESS,
    ...NODES,
    ...GROUP,
    ...IOMMU,
    ...DRIVER,
    ...SERVER,
  };

/** A name in the table. */
export type CauseName = keyof typeof CAUSES;

/** The processes that hold it, for a cause of the kind `busy`. */
export function holdersOf(name: CauseName, failure: OpeningFailure): Holder[] {
  const { kernel, sysfs } = failure;
  return findHolders(kernel, name === "cdev-in-use" ? [sysfs?.cdev ?? ""] : nodesOfGroup(failure));
}
