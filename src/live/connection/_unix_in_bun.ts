/**
 * Unix sockets of Bun's own: faster than those of its node:net, which copy what does not fit into the
 * socket at once.
 */

import { type Connection, lost } from "./connection.ts";
import type { UnixSockets } from "./_unix_sockets.ts";
import { WaitingBytes } from "./_waiting_bytes.ts";

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
  connect(
    options: { unix: string; socket: BunHandlers } | { fd: number; socket: BunHandlers },
  ): Promise<BunSocket>;
}

class BunConnection implements Connection {
  readonly name: string;
  readonly #socket: BunSocket;
  readonly #waiting: WaitingBytes;
  /** Whether nothing more comes. */
  #ended = false;
  #failure: Error | null = null;
  /** Wakes who waits to send more. */
  #wake: (() => void)[] = [];

  constructor(name: string, socket: BunSocket) {
    this.name = name;
    this.#socket = socket;
    this.#waiting = new WaitingBytes(socket);
  }

  read(into: Uint8Array): Promise<number> {
    return this.#waiting.read(into);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      if (this.#ended || this.#failure !== null) throw lost(this.name, this.#failure);
      const sent = this.#socket.write(bytes.subarray(at));
      if (sent > 0) at += sent;
      else if (sent < 0) throw lost(this.name, this.#failure);
      if (at < bytes.length) await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  close(): void {
    this.#socket.end();
  }

  /** Wakes what waits. */
  wake(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Takes what has come. */
  take(bytes: Uint8Array): void {
    this.#waiting.take(bytes);
  }

  /** Nothing more comes. */
  end(error?: Error): void {
    if (error === undefined) this.#ended = true;
    else this.#failure ??= error;
    this.#waiting.end(error === undefined ? null : lost(this.name, error));
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
  async adopt(fd, name): Promise<Connection> {
    return (await bun().connect({ fd, socket: handlers(name, () => {}) })).data;
  },
};
