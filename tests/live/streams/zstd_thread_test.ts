// A thread that compresses memory: what it makes, and what becomes of it where it cannot.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { ZstdThread } from "../../../src/live/streams/zstd_thread.ts";

const AT = 64;
const LENGTH = 8192;

/** A slot with this content. */
function slotOf(content: Uint8Array): ArrayBuffer {
  const slot = new ArrayBuffer(AT + LENGTH);
  new Uint8Array(slot, AT).set(content);
  return slot;
}

it("a thread compresses what gets smaller, and decompresses nothing but that", async () => {
  using thread = new ZstdThread();
  const text = new Uint8Array(LENGTH).map((_, at) => at % 7);
  const empty = new Uint8Array(LENGTH);
  const part = { at: AT, length: LENGTH };
  const { slot, packed } = await thread.compress({ slot: slotOf(text), ...part });
  assert.deepEqual(new Uint8Array(slot, AT), text);
  assert.ok(packed !== null && packed.byteLength < LENGTH / 2);
  const frame = new Uint8Array(packed);
  // What is behind the frame in its buffer does not count.
  const room = new Uint8Array(LENGTH).fill(9);
  room.set(frame);
  const [random, unpacked, longer, garbage] = await Promise.all([
    thread.compress({ slot: slotOf(randomBytes(LENGTH)), ...part }),
    thread.decompress(room.subarray(0, frame.length), { slot: slotOf(empty), ...part }),
    thread.decompress(frame.slice(), { slot: slotOf(empty), at: AT, length: LENGTH - 4096 }),
    thread.decompress(text.slice(), { slot: slotOf(empty), ...part }),
  ]);
  assert.equal(random.packed, null);
  assert.deepEqual([unpacked.done, longer.done, garbage.done], [true, false, false]);
  assert.deepEqual(new Uint8Array(unpacked.slot, AT), text);
  assert.equal(unpacked.packed.byteLength, LENGTH);
  const late = thread.compress({ slot: slotOf(text), ...part });
  thread[Symbol.dispose]();
  await assert.rejects(late, { name: "ThreadError" });
  await assert.rejects(thread.compress({ slot: slotOf(text), ...part }), { name: "ThreadError" });
});
