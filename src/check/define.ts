/**
 * What a check is: data, and a function that judges a device.
 *
 * @module
 */

import type { CheckContext } from "./context.ts";
import type { Rule } from "./rules.ts";
import type { Safety } from "./safety.ts";

/** The groups of the built-in checks, in the order in which they run. */
export const GROUPS = [
  // First: a driver whose device does no more DMA once it was stopped is found by nothing else.
  "dma",
  "identity",
  "regions",
  "features",
  "arcs",
  "stop-copy",
  "data-size",
  "precopy",
  "p2p",
  "nonblocking",
  "signals",
  "dma-log",
  "type1",
  "v1",
  "concurrency",
  "limits",
  "resume",
  "round-trip",
  "error",
  "close",
] as const;

/** What a check needs of the device. Without it the check is skipped, and the verdict says why. */
export interface Needs {
  /** The migration protocol. */
  readonly protocol?: "v1" | "v2";
  /** VFIO_MIGRATION_* that it has. */
  readonly flags?: number;
  /** VFIO_MIGRATION_* that it does not have. */
  readonly without?: number;
  /** VFIO_DEVICE_FEATURE_* that answer a PROBE. */
  readonly features?: readonly number[];
  /** VFIO_DEVICE_FLAGS_RESET. */
  readonly resettable?: boolean;
  /** That it was opened here, so that closing it is its last close. */
  readonly closable?: boolean;
  /** An address space that memory can be mapped into. */
  readonly dma?: boolean;
  /** A type1 container. */
  readonly type1?: boolean;
  /** Something that keeps the device busy: a simulated device's own DMA, or a load. */
  readonly load?: boolean;
  /** A kernel that serves two threads: a real one. */
  readonly threads?: boolean;
  /** A second thread that interrupts this one, on a kernel that serves two. */
  readonly signals?: boolean;
}

/** A check. */
export interface Check {
  /** A stable name, such as `v2.arc.stop_copy-to-running`. */
  readonly id: string;
  /** Its group; for a vendor's own checks any word. */
  readonly group: string;
  /** What it may do to the device. */
  readonly safety: Safety;
  /** The rules it judges by; a verdict names the one that was broken, else the first. */
  readonly rules: readonly [Rule, ...Rule[]];
  /** What it needs. */
  readonly needs: Needs;
  /**
   * Judges a device that is in RUNNING. Returning is a pass; the context's methods fail, warn and
   * skip. The runner brings the device back to RUNNING afterwards, and closes what was opened.
   */
  readonly run: (context: CheckContext) => void;
}

const ID = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

/**
 * Defines a check. A vendor's own checks are the default export of a module that `check` is given.
 *
 * @param spec The check; `safety` is `default` and `needs` is empty if they are left out.
 * @throws {TypeError} If the id is not in lower case, with dots, dashes and underscores between words.
 *
 * @example
 * ```ts
 * import { defineCheck } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * const check = defineCheck({
 *   id: "acme.size",
 *   group: "acme",
 *   rules: [{ number: null, text: "A state has 64 KiB.", source: "manual", judges: "driver" }],
 *   needs: { protocol: "v2" },
 *   run: (context) => {
 *     const { bytes } = context.v2.save();
 *     context.expect(bytes === 65536, "65536 bytes", `${bytes} bytes`);
 *   },
 * });
 * assert.equal(check.safety, "default");
 * ```
 */
export function defineCheck(
  spec: Omit<Check, "safety" | "needs"> & Partial<Pick<Check, "safety" | "needs">>,
): Check {
  if (!ID.test(spec.id)) {
    throw new TypeError(`Cannot use ${JSON.stringify(spec.id)} as the id of a check`);
  }
  return { safety: "default", needs: {}, ...spec };
}
