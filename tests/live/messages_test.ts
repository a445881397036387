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
  compress: null,
  streams: 1,
});

it("a hello tells the memory of each device", async () => {
  const last = { iova: (1n << 64n) - MIB, size: MIB };
  const message = hello([{ iova: 0n, size: 4096n }, { iova: 4096n, size: MIB }, last], []);
  assert.deepEqual(await sent(message), message);
});

it("a hello says how memory is compressed, in the version that has that", async () => {
  const plain = hello([{ iova: 0n, size: 4096n }]);
  const compressed: Hello = { ...plain, compress: "zstd" };
  assert.deepEqual(await sent(compressed), compressed);
  const fields = (message: Hello): Record<string, unknown> =>
    JSON.parse(new TextDecoder().decode(packMessage(message).subarray(8)));
  assert.deepEqual([fields(plain)["version"], fields(compressed)["version"]], [1, 2]);
  for (
    const [changed, what] of [
      [{ version: 4 }, /it speaks version 4, and 1, 2, 3 are spoken here/],
      [{ version: 2, compress: "lz4" }, /compress/],
      [{ version: 2, compress: undefined }, /compress/],
    ] as const
  ) {
    const json = new TextEncoder().encode(JSON.stringify({ ...fields(compressed), ...changed }));
    const bytes = packMessage(plain).slice(0, 8);
    new DataView(bytes.buffer).setUint32(4, json.length, true);
    let rest = new Uint8Array([...bytes, ...json]);
    const reading = readMessage((length) => {
      const taken = rest.slice(0, length);
      rest = rest.slice(length);
      return Promise.resolve(taken);
    });
    await assert.rejects(reading, (error: LiveError) => {
      assert.equal(error.code, "peer-protocol");
      assert.match(error.message, what);
      return true;
    });
  }
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

it("a reason is made printable on both sides, and its decision counts whatever is in it", async () => {
  const reason = "no\x1b[31mred\nnewline";
  const bytes = packMessage({ type: "refused", reason });
  const head = new TextDecoder().decode(bytes.subarray(8));
  assert.ok(head.includes("no\\\\u001b[31mred\\\\nnewline"), head);
  const raw = new TextEncoder().encode(JSON.stringify({ type: "refused", reason }));
  const message = new Uint8Array(8 + raw.length);
  message.set(bytes.subarray(0, 4));
  new DataView(message.buffer).setUint32(4, raw.length, true);
  message.set(raw, 8);
  let at = 0;
  const heard = await readMessage((length) => Promise.resolve(message.slice(at, at += length)));
  assert.deepEqual(heard, { type: "refused", reason: "no\\u001b[31mred\\nnewline" });
});
