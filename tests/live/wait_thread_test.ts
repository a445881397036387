import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { POLLIN, POLLOUT } from "../../src/kernel/kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { WaitThread } from "../../src/live/connection/wait_thread.ts";

const NEVER = new AbortController().signal;

describe("the thread that waits for sockets", () => {
  it("says when each can be read from or written to, or has ended", async () => {
    using waits = WaitThread.use();
    const [one, other] = UnixSocket.pair();
    using _one = one;
    await waits.wait(one.fd, POLLOUT, NEVER);
    const order: string[] = [];
    const readable = waits.wait(one.fd, POLLIN, NEVER).then(() => order.push("readable"));
    const [third, fourth] = UnixSocket.pair();
    using _third = third;
    const ended = waits.wait(third.fd, POLLIN, NEVER).then(() => order.push("ended"));
    fourth.close();
    await ended;
    other.send(new Uint8Array(1));
    await readable;
    assert.deepEqual(order, ["ended", "readable"]);
    other.close();
  });

  it("waits no longer for what was cancelled", async () => {
    using waits = WaitThread.use();
    const [one, other] = UnixSocket.pair();
    using _one = one;
    using _other = other;
    const cancelling = new AbortController();
    const waiting = waits.wait(one.fd, POLLIN, cancelling.signal);
    cancelling.abort();
    await waiting;
    await waits.wait(one.fd, POLLIN, cancelling.signal);
    other.send(new Uint8Array(1));
    await waits.wait(one.fd, POLLIN, NEVER);
  });

  it("waits for as many as there are", async () => {
    using waits = WaitThread.use();
    using cancelling = new DisposableStack();
    const idle = new AbortController();
    cancelling.defer(() => idle.abort());
    const [one, other] = UnixSocket.pair();
    using _one = one;
    using _other = other;
    const waiting = Array.from({ length: 1000 }, () => waits.wait(one.fd, POLLIN, idle.signal));
    await waits.wait(one.fd, POLLOUT, NEVER);
    idle.abort();
    await Promise.all(waiting);
  });

  it("ends with its last user, and is there again for the next one", async () => {
    for (let turn = 0; turn < 3; turn++) {
      const [one, other] = UnixSocket.pair();
      const users = [WaitThread.use(), WaitThread.use()] as const;
      users[0][Symbol.dispose]();
      const waiting = users[1].wait(one.fd, POLLIN, NEVER);
      other.send(new Uint8Array(1));
      await waiting;
      users[1][Symbol.dispose]();
      one.close();
      other.close();
    }
  });
});
