/**
 * The version of this toolkit.
 *
 * @module
 */

/** The version, as deno.json and package.json have it too. */
export const VERSION = "0.1.0";
