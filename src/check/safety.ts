/**
 * What a check may do to the device.
 *
 * @module
 */

/**
 * What a check may do to the device. `default`: nothing that enters RESUMING, may end in ERROR, or
 * closes the device. `reset`: restores the device's own state into it, closes it, resets it.
 * `destructive`: gives it foreign, cut and damaged data as well.
 */
export type Safety = "default" | "reset" | "destructive";

/** The levels of safety, each with what the one before it may do. */
export const SAFETY_LEVELS: readonly Safety[] = ["default", "reset", "destructive"];
