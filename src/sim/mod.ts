/**
 * The simulated kernel.
 *
 * @module
 */

export * from "./help.ts";
export * from "./kernel.ts";
export * from "./personalities.ts";
export * from "./spec.ts";
