/**
 * Where the further streams of a migration come in, at the destination: each has to know the token of
 * the running migration, and which one it is. Everything else is dropped, and touches nothing.
 */

import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Connection } from "../connection/connection.ts";
import { type Message, unexpected } from "../connection/messages.ts";
import { Peer } from "../connection/peer.ts";
import { LiveError } from "../live_error.ts";

/** Connections that come after the first. */
export interface FurtherConnections {
  /** The next connection; rejects once the signal is aborted. */
  readonly next: (signal: AbortSignal) => Promise<Connection>;
  /** Is called with why a connection was dropped. */
  readonly onDropped?: ((error: Error) => void) | undefined;
}

/** Most connections that are listened to, and have not said yet which one they are. */
const MAX_UNKNOWN = 16;

const TOKEN_BYTES = 16;

/** Lets further streams in. */
export class StreamGate implements Disposable {
  /** How many streams there are, the first included. */
  readonly count: number;
  /** What a further stream has to know: 32 hex digits. */
  readonly token: string = randomBytes(TOKEN_BYTES).toString("hex");
  readonly #first: Connection;
  readonly #connections: FurtherConnections;
  readonly #timeoutMs: number | undefined;
  /** Those that were let in; the first stream has no place here. */
  readonly #peers: Peer[] = [];
  #joined = 1;
  readonly #all = Promise.withResolvers<readonly Peer[]>();
  /** Connections that have not said yet which one they are. */
  readonly #unknown = new Map<Peer, Promise<void>>();
  readonly #ending = new AbortController();

  /** `first` is the migration's first connection; `timeoutMs` what each may take to say who it is. */
  constructor(
    first: Connection,
    { count, connections, timeoutMs }: {
      readonly count: number;
      readonly connections: FurtherConnections;
      readonly timeoutMs: number | undefined;
    },
  ) {
    this.count = count;
    this.#first = first;
    this.#connections = connections;
    this.#timeoutMs = timeoutMs;
    this.#all.promise.catch(() => {});
  }

  /** The further streams, in the order of their numbers, once all of them are there. */
  get all(): Promise<readonly Peer[]> {
    return this.#all.promise;
  }

  /** Lets them in, and drops what else connects, until it is disposed. */
  open(): void {
    this.#accept().catch((error) => this.#all.reject(error));
  }

  async #accept(): Promise<void> {
    const { signal } = this.#ending;
    for (;;) {
      const connection = await this.#connections.next(signal);
      const peer = new Peer(connection, this.#timeoutMs);
      if (signal.aborted) return peer.close();
      const admitted = this.#admit(connection, peer)
        .catch((error) => {
          peer.close();
          if (!signal.aborted) this.#connections.onDropped?.(error);
        })
        .finally(() => this.#unknown.delete(peer));
      this.#unknown.set(peer, admitted);
      while (this.#unknown.size >= MAX_UNKNOWN) await Promise.race(this.#unknown.values());
    }
  }

  async #admit(connection: Connection, peer: Peer): Promise<void> {
    const refused = (what: string): LiveError => new LiveError("peer-protocol", what);
    if (connection.identity !== this.#first.identity) {
      throw refused("It is not the peer whose migration is under way");
    }
    const message = await peer.hear();
    if (message.type === "hello") {
      const reason = "another migration is under way here";
      await peer.say({ type: "refused", reason });
      throw refused(`It begins a migration, and ${reason}`);
    }
    if (message.type !== "stream") throw unexpected(message);
    if (!this.#knows(message)) throw refused("It does not know the token of this migration");
    const { index } = message;
    if (index < 1 || index >= this.count || this.#peers[index - 1] !== undefined) {
      throw refused(`It is stream ${index}, which is there already, or not one of ${this.count}`);
    }
    this.#peers[index - 1] = peer;
    await peer.say({ type: "joined" });
    this.#joined += 1;
    if (this.#joined === this.count) this.#all.resolve(this.#peers);
  }

  #knows({ token }: Extract<Message, { type: "stream" }>): boolean {
    return timingSafeEqual(new TextEncoder().encode(token), new TextEncoder().encode(this.token));
  }

  /** Lets nothing more in, and closes what came in. */
  [Symbol.dispose](): void {
    this.#ending.abort();
    for (const peer of [...this.#unknown.keys(), ...this.#peers]) peer?.close();
  }
}
