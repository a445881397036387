/**
 * The state that a simulated device is truly in, whatever it answers.
 */

import type { StateName } from "../../src/vfio/state/states.ts";
import type { SimDevice } from "../../src/sim/mod.ts";

const V1: readonly StateName[] = [
  ...["stop", "running", "stop-and-copy", "pre-copy", "resuming"] as const,
  ...["invalid", "error", "invalid"] as const,
];

const V2: readonly StateName[] = [
  ...["error", "stop", "running", "stop-copy", "resuming"] as const,
  ...["running-p2p", "pre-copy", "pre-copy-p2p"] as const,
];

/** Its name; ice runs from open on with a register that shows STOP. */
export function trueState({ deviceState, running }: SimDevice, protocol: "v1" | "v2"): StateName {
  if (protocol === "v2") return V2[deviceState!]!;
  const state = V1[deviceState! & 7]!;
  return state === "stop" && running ? "running" : state;
}
