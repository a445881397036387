import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { it } from "node:test";
import { SecondThread } from "../../src/check/thread/second_thread.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { interruptibleThread } from "../../src/kernel/process/interrupt.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";

it("a thread that waits in a read is interrupted, as often as another thread likes", async () => {
  const kernel = libcKernel();
  const [here, there] = kernel.socketPair();
  // If no signal comes, the reads end with this word, and the test fails.
  const late = spawn("sh", ["-c", "sleep 60; echo late"], { stdio: ["ignore", there, "ignore"] });
  const second = await SecondThread.start(null);
  try {
    const thread = interruptibleThread();
    assert.ok(thread !== null && thread > 0);
    second.begin("interrupt", thread);
    for (let read = 0; read < 10; read += 1) {
      assert.throws(
        () => kernel.read(here, new Uint8Array(8), "once"),
        (error) => isErrno(error, "EINTR"),
      );
    }
    const sent = second.end(60_000)!;
    assert.ok(sent.calls >= 10);
  } finally {
    second.close();
    late.kill();
    for (const fd of [here, there]) kernel.close(fd);
  }
});
