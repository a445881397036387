/**
 * A connection over a socket that libc reads from and writes to: several times as fast as the
 * runtimes' own, as bytes go from and to where they belong, on any thread.
 */

import { POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import type { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { type Connection, lost, type SharedSocket } from "./connection.ts";
import { WaitThread } from "./wait_thread.ts";

/** What the kernel is asked to buffer of what is sent; it takes twice as much, with its own. */
const BUFFER_BYTES = 2 << 20;

/** A connection over a socket. */
export class SocketConnection implements Connection, SharedSocket {
  readonly name: string;
  readonly #socket: UnixSocket;
  readonly #waits: WaitThread = WaitThread.use();
  readonly #closing = new AbortController();
  /** How many use the fd on other threads now. */
  #lent = 0;

  /** Takes the socket over. */
  constructor(name: string, socket: UnixSocket) {
    this.name = name;
    this.#socket = socket;
    // Two frames of memory fit in: neither side waits for the other at each of them. For TCP, the
    // kernel knows better.
    if (socket.isLocal) socket.enlargeBuffer(BUFFER_BYTES);
  }

  get socket(): SharedSocket {
    return this;
  }

  get unsent(): number {
    return this.#closing.signal.aborted ? 0 : this.#attempt(() => this.#socket.unsent());
  }

  async read(into: Uint8Array): Promise<number> {
    for (;;) {
      const count = this.#attempt(() => this.#socket.receive(into));
      if (count !== null) return count;
      await this.readable();
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const sent = this.#attempt(() => this.#socket.send(bytes.subarray(at)));
      at += sent;
      if (sent === 0) await this.writable();
    }
  }

  async readable(): Promise<void> {
    await this.#wait(POLLIN);
  }

  async writable(): Promise<void> {
    await this.#wait(POLLOUT);
  }

  async #wait(events: number): Promise<void> {
    this.#demandOpen();
    await this.#waits.wait(this.#socket.fd, events, this.#closing.signal);
    this.#demandOpen();
  }

  async lend<Value>(use: (fd: number) => Promise<Value>): Promise<Value> {
    this.#demandOpen();
    this.#lent += 1;
    try {
      return await use(this.#socket.fd);
    } finally {
      this.#lent -= 1;
      if (this.#closing.signal.aborted) this.#end();
    }
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#socket.shutdown();
    this.#end();
  }

  /** Gives the fd up, once nobody uses it. */
  #end(): void {
    if (this.#lent > 0) return;
    this.#socket.close();
    this.#waits[Symbol.dispose]();
  }

  #demandOpen(): void {
    if (this.#closing.signal.aborted) throw lost(this.name);
  }

  #attempt<Value>(work: () => Value): Value {
    this.#demandOpen();
    try {
      return work();
    } catch (error) {
      throw lost(this.name, error);
    }
  }
}
