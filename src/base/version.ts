/**
 * The version of vfiokit.
 *
 * @module
 */

/** The version, as in deno.json and package.json. */
export const VERSION = "0.1.0";
