/**
 * Connections that keep what is sent, until they are told to let it go.
 */

import type { Connection } from "../../../src/live/mod.ts";

/** Memory comes in writes of more than so many bytes. */
const SMALL = 4096;

/** A connection that keeps memory, and all that is behind it, in order until it is released. */
export class HeldConnection implements Connection {
  readonly name: string;
  readonly #connection: Connection;
  #held: Uint8Array[] = [];
  #holds = true;
  #released: Promise<void> = Promise.resolve();
  /** Bytes that are kept. */
  bytes = 0;

  /** Keeps what is sent over this connection. */
  constructor(connection: Connection) {
    this.name = connection.name;
    this.#connection = connection;
  }

  /** Reads. */
  read(into: Uint8Array): Promise<number> {
    return this.#connection.read(into);
  }

  /** Sends; or keeps it, as a network does that has room for it. */
  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#holds || this.bytes === 0 && bytes.length <= SMALL) {
      await this.#released;
      return await this.#connection.write(bytes);
    }
    this.#held.push(bytes.slice());
    this.bytes += bytes.length;
  }

  /** Sends what was kept, and all that comes. */
  release(): void {
    this.#holds = false;
    const held = this.#held.splice(0);
    this.#released = (async (): Promise<void> => {
      for (const bytes of held) await this.#connection.write(bytes);
    })();
    this.#released.catch(() => {});
  }

  /** Closes. */
  close(): void {
    this.#connection.close();
  }
}
