/**
 * The simulated kernel.
 *
 * @module
 */

export type { SimDma } from "./dma/types.ts";
export * from "./help.ts";
export * from "./os/kernel.ts";
export * from "./personalities.ts";
export * from "./spec.ts";
