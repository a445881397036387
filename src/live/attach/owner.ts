/**
 * What the owner of devices does for a migration or a checkpoint: the program whose memory it is.
 *
 * @module
 */

import type { ProtectedMemory } from "../../dirty/mod.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";

/**
 * What is known of the owner's own writes to memory, which no tracker sees: `compare` compares all
 * pages once the devices stand still; `reported` takes what {@linkcode Owner.dirty} says; `protect`
 * has the kernel find them in {@linkcode Owner.protectedMemory} (Linux 6.7); `none` is a promise
 * that there are none.
 */
export type OwnerWrites = "compare" | "reported" | "protect" | "none";

/** The owner of the devices, and what it writes. */
export interface OwnerOptions {
  /** What is known of the owner's own writes to memory. Default `compare`. */
  readonly ownerWrites?: OwnerWrites | undefined;
  /** The owner: it is asked to stop its own writes before the devices stop. */
  readonly owner?: Owner | undefined;
}

/**
 * Refuses what the owner does not offer.
 *
 * @throws {TypeError} If it is to report what it writes, to protect its memory, or to throttle, and
 * cannot.
 */
export function demandOwner(
  { ownerWrites, owner, onNoConverge }: OwnerOptions & {
    readonly onNoConverge?: string | undefined;
  },
): void {
  if (ownerWrites === "reported" && owner?.dirty === undefined) {
    throw new TypeError("Cannot use what the owner reports of its writes: it reports nothing");
  }
  if (ownerWrites === "protect" && owner?.protectedMemory === undefined) {
    throw new TypeError("Cannot find the owner's writes by write-protection: it protects nothing");
  }
  if (onNoConverge === "throttle" && owner?.throttle === undefined) {
    throw new TypeError("Cannot throttle the devices: their owner does not offer that");
  }
}

/**
 * The owner of devices that are moved or saved while it uses them.
 *
 * @example
 * ```ts
 * import type { Owner } from "vfiokit/live";
 * import assert from "node:assert/strict";
 *
 * let writing = true;
 * const written = [{ iova: 0x100000n, size: 4096n }];
 * const owner: Owner = {
 *   quiesce: async () => void (writing = false),
 *   resume: async () => void (writing = true),
 *   dirty: async () => written.splice(0),
 * };
 * await owner.quiesce();
 * assert.equal(writing, false);
 * assert.equal((await owner.dirty!(0)).length, 1);
 * assert.deepEqual(await owner.dirty!(0), []);
 * ```
 */
export interface Owner {
  /** Stops writing to memory, and giving work to the devices; is called before they stop. */
  quiesce(): Promise<void>;
  /**
   * Goes on: devices run here again, those of these numbers. Is called only after `quiesce`, and if
   * one of them runs.
   */
  resume(devices: readonly number[]): Promise<void>;
  /** Ranges of a device's memory that it has written to since this was last asked. */
  dirty?(device: number): Promise<readonly IovaMapping[]>;
  /**
   * Where it has mapped a device's memory, of which all must be write-protected until it is over; a
   * `WriteProtection` of `vfiokit/dirty` if that is in this process.
   */
  protectedMemory?(device: number): ProtectedMemory;
  /** Gives less work to the devices, each time less; false if it cannot be less. */
  throttle?(): Promise<boolean>;
}
