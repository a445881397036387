/**
 * The simulated kernel.
 *
 * @module
 */

export type { SimDma } from "./dma/sim_dma.ts";
export * from "./help.ts";
export * from "./kernel.ts";
export * from "./personalities.ts";
export * from "./spec.ts";
