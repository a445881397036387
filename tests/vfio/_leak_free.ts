/**
 * A test that also fails where it leaves an fd open.
 *
 * Not an `afterEach`: Deno's node:test drops what such a hook throws.
 */

import assert from "node:assert/strict";
import { it } from "node:test";
import { openFds } from "../../src/kernel/fd.ts";

/** As `it`; then no fd may be open that was not before. */
export function leakFreeTest(name: string, run: () => void): void {
  it(name, () => {
    const before = openFds();
    run();
    assert.deepEqual(openFds(), before, "fds were left open");
  });
}
