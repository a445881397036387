import assert from "node:assert/strict";
import { it } from "node:test";
import { Peer } from "../../src/live/connection/peer.ts";
import { socketPair, withFolder } from "./_pair.ts";

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

it("what was sent by a socket has left once the other side has taken it, and not before", async () => {
  await withFolder(async (folder) => {
    const [ours, theirs] = await socketPair(folder);
    const peer = new Peer(ours, 60_000);
    await peer.drained();
    await peer.send([new Uint8Array(100_000)]);
    let left = false;
    const draining = peer.drained().then(() => left = true);
    const into = new Uint8Array(30_000);
    for (let at = 0; at < 100_000;) {
      assert.equal(left, false);
      at += await theirs.read(into);
    }
    await draining;
    const impatient = new Peer(ours, 50);
    await impatient.send([new Uint8Array(1000)]);
    await assert.rejects(impatient.drained(), { code: "peer-timeout" });
    ours.close();
    theirs.close();
  });
});
