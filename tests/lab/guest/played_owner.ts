/**
 * The owner of a device, which a case plays: docs/attach.md.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { UnixSocket } from "../../../src/kernel/libc/unix_socket.ts";

/** Waits until there is something. */
async function there<Value>(look: () => Value | null, what: string): Promise<Value> {
  for (let tries = 0; tries < 6000; tries++) {
    const found = look();
    if (found !== null) return found;
    await sleep(10);
  }
  throw new Error(`Cannot wait any longer for ${what}`);
}

/** What an owner says and hears: lines of JSON. */
export class PlayedOwner implements Disposable {
  readonly #socket: UnixSocket;
  #text = "";

  private constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  /** Waits for vfiokit at a path. */
  static async at(path: string): Promise<PlayedOwner> {
    using listener = UnixSocket.listen(path, 1);
    return new PlayedOwner(await there(() => listener.accept(), "vfiokit"));
  }

  /** Says something, with fds. */
  say(message: object, fds: readonly number[] = []): void {
    const line = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
    const sent = fds.length === 0 ? this.#socket.send(line) : this.#socket.sendWithFds(line, fds);
    assert.equal(sent, line.length);
  }

  /** The next message. */
  async hear(): Promise<{ readonly type: string; readonly reason?: string }> {
    const into = new Uint8Array(4096);
    const line = await there(() => {
      const length = this.#socket.receive(into);
      assert.notEqual(length, 0, "the connection has ended");
      this.#text += new TextDecoder().decode(into.subarray(0, length ?? 0));
      return this.#text.includes("\n") ? this.#text.split("\n", 1)[0]! : null;
    }, "a message");
    this.#text = this.#text.slice(line.length + 1);
    return JSON.parse(line);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
