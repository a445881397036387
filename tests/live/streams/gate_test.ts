// Which further connections a destination lets in.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Message } from "../../../src/live/connection/messages.ts";
import { Peer } from "../../../src/live/connection/peer.ts";
import { Silence } from "../../../src/live/connection/silence.ts";
import type { Connection } from "../../../src/live/mod.ts";
import { StreamGate } from "../../../src/live/streams/stream_gate.ts";
import { Switchboard } from "../_switchboard.ts";
import { socketPair, withFolder } from "../_pair.ts";

/** Who connects first. */
const FIRST = "AA:BB";

/** A gate for two further streams, and what connects to it. */
async function withGate(
  use: (
    gate: StreamGate,
    board: Switchboard,
    connects: (as?: string) => Promise<Peer>,
  ) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    let identity = FIRST;
    const board = new Switchboard(async () => {
      const [ours, theirs] = await socketPair(folder);
      return [ours, identified(theirs, identity)];
    });
    const connects = async (as = FIRST): Promise<Peer> => {
      identity = as;
      return new Peer(await board.connect());
    };
    const first: Connection = {
      name: "the first",
      identity: FIRST,
      read: () => Promise.reject(new Error("unused")),
      write: () => Promise.reject(new Error("unused")),
      close: () => {},
    };
    using gate = new StreamGate(first, { count: 3, connections: board, timeoutMs: 60_000 });
    gate.open();
    await use(gate, board, connects);
  });
}

/** A connection whose other side has shown who it is. */
function identified(connection: Connection, identity: string): Connection {
  return {
    name: connection.name,
    identity,
    read: (into) => connection.read(into),
    write: (bytes) => connection.write(bytes),
    close: () => connection.close(),
  };
}

/** What a connection is answered; null if it is dropped without a word. */
async function answerTo(peer: Peer, message: Message): Promise<Message | null> {
  try {
    await peer.say(message);
    return await peer.hear();
  } catch {
    return null;
  }
}

describe("the gate for further streams", () => {
  it("lets each stream in once, if it knows the token, whatever comes in between", async () => {
    await withGate(async (gate, board, connects) => {
      const { token } = gate;
      const own = (index: number): Message => ({ type: "stream", token, index });
      const other = token.replace(/./, (digit) => digit === "0" ? "1" : "0");
      const wrong: readonly [Message, RegExp][] = [
        [{ type: "stream", token: other, index: 1 }, /does not know the token/],
        [own(0), /stream 0, which is there already, or not one of 3/],
        [own(3), /stream 3/],
        [{ type: "commit" }, /"commit" out of turn/],
      ];
      for (const [message, why] of wrong) {
        assert.equal(await answerTo(await connects(), message), null);
        assert.match(board.dropped.at(-1)!, why);
      }
      assert.deepEqual(await answerTo(await connects(), own(2)), { type: "joined" });
      assert.equal(await answerTo(await connects(), own(2)), null);
      assert.match(board.dropped.at(-1)!, /stream 2, which is there already/);
      assert.equal(await answerTo(await connects("CC:DD"), own(1)), null);
      assert.match(board.dropped.at(-1)!, /not the peer whose migration is under way/);
      const garbage = await connects();
      await garbage.send([new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")]);
      await assert.rejects(garbage.hear());
      assert.match(board.dropped.at(-1)!, /does not speak this protocol/);
      assert.deepEqual(await answerTo(await connects(), own(1)), { type: "joined" });
      assert.equal((await gate.all).length, 2);
      assert.equal(await answerTo(await connects(), own(1)), null);
      assert.equal(board.dropped.length, wrong.length + 4);
    });
  });

  it("tells who begins another migration that one is under way", async () => {
    await withGate(async (_, board, connects) => {
      const id = "0123456789abcdef".repeat(2);
      const memory = [[{ iova: 0n, size: 4096n }]];
      const hello: Message = { type: "hello", id, memory, compress: null, streams: 1 };
      const answer = await answerTo(await connects(), hello);
      assert.deepEqual(answer, {
        type: "refused",
        reason: "another migration is under way here",
      });
      assert.match(board.dropped.join(), /It begins a migration/);
    });
  });

  it("waits for who says nothing, and lets others in meanwhile", async () => {
    await withGate(async (gate, board, connects) => {
      for (let mute = 0; mute < 12; mute++) await connects();
      for (const index of [1, 2]) {
        const { token } = gate;
        const answer = await answerTo(await connects(), { type: "stream", token, index });
        assert.deepEqual(answer, { type: "joined" });
      }
      await gate.all;
      assert.deepEqual(board.dropped, []);
    });
  });
});

describe("the silence of several connections", () => {
  const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

  it("lasts while all of them are waited for, and begins anew with what comes by any", async () => {
    const silence = new Silence(2);
    const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const waits = [silence.during(one.promise)];
    await later();
    assert.equal(silence.ms, 0);
    waits.push(silence.during(other.promise));
    await later();
    assert.ok(silence.ms > 0);
    one.resolve();
    await waits[0];
    assert.equal(silence.ms, 0);
    // Nothing more comes by the first.
    silence.remove();
    await later();
    assert.ok(silence.ms > 0);
    other.resolve();
    await waits[1];
    assert.equal(silence.ms, 0);
  });
});
