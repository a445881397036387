/**
 * The simulated kernel: VFIO and iommufd with simulated devices behind them, so that everything in
 * this library can be tried without hardware. It takes the same bytes that Linux takes and answers
 * with Linux's errno.
 *
 * A device is named by a {@linkcode SimSpec} as text, `sim:mapped?size=1MiB&fault=transition:2:EIO`:
 * a personality of {@linkcode PERSONALITIES}, and the {@linkcode OPTIONS} that {@linkcode simHelp}
 * lists. Whatever opens a device by name takes such names. With a {@linkcode SimKernel} of one's own
 * a test sees inside: each {@linkcode SimDevice}'s state, its memory, and what was done against the
 * rules.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { openDevice, stopAndCopy } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:mapped?size=1MiB");
 * await using device = await openDevice("sim:mapped?size=1MiB", { kernel });
 * for await (const _transaction of stopAndCopy(device));
 * assert.deepEqual(kernel.devices[0]?.violations, []);
 * ```
 *
 * @module
 */

export type { OutsideEventfd, OutsideMemory } from "./os/outside.ts";
export type { SimDma } from "./dma/sim_dma.ts";
export { simHelp } from "./help.ts";
export { type SimDevice, SimKernel } from "./kernel.ts";
export {
  type MdevType,
  PERSONALITIES,
  type Personality,
  type PersonalityName,
} from "./personalities.ts";
export {
  type BugName,
  type DmaPattern,
  type Fault,
  type FaultName,
  OPTIONS,
  parseSimSpec,
  type SimOption,
  type SimSpec,
  SimSpecError,
} from "./spec.ts";
