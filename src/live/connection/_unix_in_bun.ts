/**
 * Unix sockets of Bun's own: faster than those of its node:net, which copy what does not fit into the
 * socket at once.
 */

import { type Connection, lost } from "./connection.ts";
import type { UnixSockets } from "./_unix_sockets.ts";

/** What waits to be read, in bytes, before the socket is read no further. */
const MAX_WAITING = 1 << 20;

/** A socket of Bun's, as far as it is used. */
interface BunSocket {
  data: BunConnection;
  /** Sends what there is room for; -1 once it is closed. */
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  end(): void;
}

/** What a socket of Bun's calls. */
interface BunHandlers {
  open(socket: BunSocket): void;
  data(socket: BunSocket, bytes: Uint8Array): void;
  drain(socket: BunSocket): void;
  end(socket: BunSocket): void;
  close(socket: BunSocket, error?: Error): void;
  error(socket: BunSocket, error: Error): void;
}

/** The part of Bun's API that is used here. */
interface BunApi {
  listen(options: { unix: string; socket: BunHandlers }): { stop(): void };
  connect(options: { unix: string; socket: BunHandlers }): Promise<BunSocket>;
}

class BunConnection implements Connection {
  readonly name: string;
  readonly #socket: BunSocket;
  /** What has come and was not read. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** Whether nothing more comes. */
  #ended = false;
  #failure: Error | null = null;
  /** Is called at whatever happens. */
  #wake: (() => void)[] = [];

  constructor(name: string, socket: BunSocket) {
    this.name = name;
    this.#socket = socket;
  }

  async read(into: Uint8Array): Promise<number> {
    while (this.#waiting.length === 0) {
      if (this.#ended) return 0;
      if (this.#failure !== null) throw lost(this.name, this.#failure);
      await this.#happens();
    }
    const first = this.#waiting[0]!;
    const count = Math.min(into.length, first.length);
    into.set(first.subarray(0, count));
    if (count < first.length) this.#waiting[0] = first.subarray(count);
    else this.#waiting.shift();
    if (this.#waitingBytes > MAX_WAITING && this.#waitingBytes - count <= MAX_WAITING) {
      this.#socket.resume();
    }
    this.#waitingBytes -= count;
    return count;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      if (this.#ended || this.#failure !== null) throw lost(this.name, this.#failure);
      const sent = this.#socket.write(bytes.subarray(at));
      if (sent > 0) at += sent;
      else if (sent < 0) throw lost(this.name, this.#failure);
      if (at < bytes.length) await this.#happens();
    }
  }

  close(): void {
    this.#socket.end();
  }

  #happens(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** Wakes what waits. */
  wake(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Takes what has come. */
  take(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    if (this.#waitingBytes <= MAX_WAITING && this.#waitingBytes + bytes.length > MAX_WAITING) {
      this.#socket.pause();
    }
    this.#waitingBytes += bytes.length;
    this.wake();
  }

  /** Nothing more comes. */
  end(error?: Error): void {
    if (error === undefined) this.#ended = true;
    else this.#failure ??= error;
    this.wake();
  }
}

function handlers(name: string, opened: (connection: Connection) => void): BunHandlers {
  return {
    open(socket): void {
      socket.data = new BunConnection(name, socket);
      opened(socket.data);
    },
    data: ({ data }, bytes) => data.take(bytes),
    drain: ({ data }) => data.wake(),
    end: ({ data }) => data.end(),
    close: ({ data }, error) => data.end(error),
    error: ({ data }, error) => data.end(error),
  };
}

function bun(): BunApi {
  return (globalThis as unknown as { readonly Bun: BunApi }).Bun;
}

/** Bun's unix sockets. */
export const bunSockets: UnixSockets = {
  // deno-lint-ignore require-await -- what listening throws must reject
  async listen(path, name, { accepted }): Promise<{ close(): void }> {
    const server = bun().listen({ unix: path, socket: handlers(name, accepted) });
    return { close: () => server.stop() };
  },
  async connect(path, name): Promise<Connection> {
    return (await bun().connect({ unix: path, socket: handlers(name, () => {}) })).data;
  },
};
