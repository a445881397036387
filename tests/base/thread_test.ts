import assert from "node:assert/strict";
import { it } from "node:test";
import { startWorker, threadOf } from "../../src/base/thread.ts";

/** What a thread answers, or why it has ended. */
function asked(size: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const thread = threadOf<number, string>(
    startWorker(new URL("./_greedy_worker.ts", import.meta.url)),
    { message: resolve, ended: (why) => resolve(`it has ended: ${why}`) },
  );
  thread.post(size);
  return promise.finally(() => thread.terminate());
}

it("a thread that cannot have a buffer answers so, or ends: nobody waits for it", async () => {
  assert.equal(await asked(4096), "4096 bytes");
  assert.match(await asked(2 ** 45), /^no memory$|^it has ended: .*memory/);
});
