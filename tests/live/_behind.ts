/** How far a connection lets its writer run ahead of its reader. */

import assert from "node:assert/strict";
import type { Connection } from "../../src/live/mod.ts";

const PART = 256 << 10;
const PARTS = 128;
/** What may be on the way, in bytes: in both sockets, in the kernel, and in what waits to be read. */
const MOST = 16 << 20;

/** Sends 32 MiB to a reader that stays behind, and holds that the writer is held back. */
export async function assertHeldBack(from: Connection, to: Connection): Promise<void> {
  let sent = 0;
  const writing = (async (): Promise<void> => {
    for (let part = 0; part < PARTS; part++) {
      await from.write(new Uint8Array(PART).fill(part));
      sent += PART;
    }
  })();
  const into = new Uint8Array(PART);
  let most = 0;
  for (let part = 0; part < PARTS; part++) {
    // The writer has its turns as long as it gets on.
    for (let before = -1, turns = 0; turns < 20; turns = sent === before ? turns + 1 : 0) {
      before = sent;
      await new Promise((resolve) => setImmediate(resolve));
    }
    most = Math.max(most, sent - part * PART);
    for (let at = 0; at < PART;) {
      const count = await to.read(into.subarray(at));
      assert.notEqual(count, 0);
      at += count;
    }
    assert.deepEqual([into[0], into[PART - 1]], [part, part]);
  }
  await writing;
  assert.ok(most < MOST, `${most} bytes were sent that nobody had read`);
}
