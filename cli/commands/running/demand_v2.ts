/**
 * What a save from, or a restore into, a device of a running VMM needs of it.
 *
 * @module
 */

import { probe } from "../../../mod.ts";
import type { ProcessDevice } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";

/** Whether the device speaks v2; says why not if it does not. */
export function speaksV2(taken: ProcessDevice, context: Context): boolean {
  const { protocol } = probe(`fd:${taken.own}`, { trace: context.trace });
  context.set({ protocol });
  if (protocol === "v2") return true;
  const message = protocol === null
    ? `${taken.name} cannot be migrated: vfiokit probe ${taken.name} says why`
    : `${taken.name} speaks v1, whose registers cannot be used beside another program`;
  context.say(message);
  context.failed(protocol === null ? "no-migration" : "v1", message);
  return false;
}
