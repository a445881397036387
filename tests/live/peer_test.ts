import assert from "node:assert/strict";
import { it } from "node:test";
import { Peer } from "../../src/live/connection/peer.ts";

it("a peer has its time for each part of 256 KiB, and not for a whole chunk", async () => {
  const writes: Uint8Array[] = [];
  const peer = new Peer({
    name: "a slow one",
    read: () => new Promise(() => {}),
    write: (bytes) => {
      writes.push(bytes);
      return Promise.resolve();
    },
    close: () => {},
  });
  const chunk = new Uint8Array(600_000);
  for (let at = 0; at < chunk.length; at++) chunk[at] = at >> 8;
  await peer.send([chunk.subarray(0, 10), chunk.subarray(10)]);
  assert.deepEqual(writes.map(({ length }) => length), [10, 262_144, 262_144, 75_702]);
  assert.deepEqual(new Uint8Array(await new Blob(writes as BlobPart[]).arrayBuffer()), chunk);
});
