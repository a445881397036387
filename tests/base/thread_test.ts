import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startWorker, threadOf, type ThreadUse } from "../../src/base/thread.ts";

/** What a thread answers, or why it has ended. */
function asked(size: number, use: ThreadUse): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const worker = startWorker(new URL("./_greedy_worker.ts", import.meta.url), use);
  const thread = threadOf<number, string>(worker, {
    message: resolve,
    ended: (why) => resolve(`it has ended: ${why}`),
  });
  thread.post(size);
  return promise.finally(() => thread.terminate());
}

describe("a thread that cannot have a buffer", () => {
  const TOO_LARGE = 2 ** 45;

  it("answers so, if it is for large ones", async () => {
    assert.equal(await asked(4096, { largeBuffers: true }), "4096 bytes");
    assert.equal(await asked(TOO_LARGE, { largeBuffers: true }), "no memory");
  });

  it("answers so, or ends, if it is not: nobody waits for it", async () => {
    assert.equal(await asked(4096, {}), "4096 bytes");
    assert.match(await asked(TOO_LARGE, {}), /^no memory$|^it has ended: .*memory/);
  });
});
