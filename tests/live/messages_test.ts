import assert from "node:assert/strict";
import { it } from "node:test";
import {
  type Hello,
  type Message,
  packMessage,
  readMessage,
} from "../../src/live/connection/messages.ts";
import type { LiveError } from "../../src/live/mod.ts";
import { MIB } from "./_pair.ts";

function sent(message: Message): Promise<Message> {
  let rest = packMessage(message);
  return readMessage((length) => {
    const taken = rest.slice(0, length);
    rest = rest.slice(length);
    return Promise.resolve(taken);
  });
}

const hello = (...memory: Hello["memory"]): Hello => ({
  type: "hello",
  id: "0123456789abcdef".repeat(2),
  memory,
});

it("a hello tells the memory of each device", async () => {
  const last = { iova: (1n << 64n) - MIB, size: MIB };
  const message = hello([{ iova: 0n, size: 4096n }, { iova: 4096n, size: MIB }, last], []);
  assert.deepEqual(await sent(message), message);
});

it("a hello is refused if its memory is not in whole pages that ascend", async () => {
  for (
    const ranges of [
      [{ iova: 1n, size: 4096n }],
      [{ iova: 0n, size: 4097n }],
      [{ iova: 0n, size: 0n }],
      [{ iova: (1n << 64n) - 4096n, size: 8192n }],
      [{ iova: 0n, size: 8192n }, { iova: 4096n, size: 4096n }],
      [{ iova: 8192n, size: 4096n }, { iova: 0n, size: 4096n }],
      [{ iova: 1n << 64n, size: 4096n }],
      Array.from({ length: 513 }, (_, at) => ({ iova: BigInt(at) * 8192n, size: 4096n })),
    ]
  ) {
    await assert.rejects(sent(hello(ranges)), (error: LiveError) => {
      assert.equal(error.code, "peer-protocol");
      assert.match(error.message, /does not speak this protocol: memory\[0\]\.ranges/);
      return true;
    });
  }
});
