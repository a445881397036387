/** SHA-256 of a page. */

import type { Buffer } from "node:buffer";
import { createHash, hash } from "node:crypto";

/** All 32 bytes of it. */
export function sha256(page: Uint8Array): Buffer {
  // `hash` is the faster, and not in all versions of the runtimes.
  return typeof hash === "function"
    ? hash("sha256", page, "buffer")
    : createHash("sha256").update(page).digest();
}
