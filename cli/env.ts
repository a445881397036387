/**
 * Environment variables, if they may be read.
 *
 * @module
 */

/**
 * An environment variable; undefined if it is not set, or if Deno has no `--allow-env` (asking
 * would prompt the user).
 */
export function env(name: string): string | undefined {
  if (typeof Deno !== "undefined") {
    const { state } = Deno.permissions.querySync({ name: "env", variable: name });
    if (state !== "granted") return undefined;
  }
  return process.env[name];
}

/** Whether a stream is a terminal that can move its cursor. */
export function canDraw(stream: { readonly isTTY?: boolean }): boolean {
  return stream.isTTY === true && env("TERM") !== "dumb";
}

/**
 * Whether colour may be written to a stream: it is a terminal, and colours are not switched off.
 */
export function mayColour(stream: { readonly isTTY?: boolean }): boolean {
  // Deno gives this one without a permission.
  const unwanted = typeof Deno === "undefined" ? Boolean(env("NO_COLOR")) : Deno.noColor;
  return canDraw(stream) && !unwanted;
}
