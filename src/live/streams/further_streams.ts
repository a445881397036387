/**
 * The source's further streams: connections to where the first one leads.
 */

import type { Connection } from "../connection/connection.ts";
import { type Ready, unexpected } from "../connection/messages.ts";
import { LiveError } from "../live_error.ts";
import { Peer } from "../connection/peer.ts";

/** Several streams, from the source's side. */
export interface StreamOptions {
  /** How many streams memory is sent by, that of the first connection included: 1 to 16. */
  readonly count: number;
  /** Connects once more to where the first connection leads. */
  readonly connect: () => Promise<Connection>;
}

/** The further streams of a migration. */
export class FurtherStreams implements Disposable {
  readonly #connect: StreamOptions["connect"];
  readonly #first: Connection;
  readonly #timeoutMs: number | undefined;
  readonly #peers: Peer[] = [];
  #closed = false;

  /**
   * @param first The first connection.
   * @param timeoutMs How long the other side may take for its next bytes, or to take ours.
   */
  constructor(connect: StreamOptions["connect"], first: Connection, timeoutMs: number | undefined) {
    this.#connect = connect;
    this.#first = first;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Connects them; the other side has taken each as the one that it is.
   *
   * @returns Them, in the order of their numbers.
   * @throws {LiveError} `peer-protocol` if one leads to another peer than the first.
   */
  async join({ streams, token }: Ready): Promise<readonly Peer[]> {
    const peers: Peer[] = [];
    await Promise.all(Array.from({ length: streams - 1 }, async (_, at) => {
      const connection = await this.#connect();
      const peer = new Peer(connection, this.#timeoutMs);
      this.#peers.push(peer);
      if (this.#closed) return peer.close();
      // Neither the token nor memory is for others.
      if (connection.identity !== this.#first.identity) {
        const what = "shows another certificate than the first connection did";
        throw new LiveError("peer-protocol", `${connection.name} ${what}`);
      }
      await peer.say({ type: "stream", token: token!, index: at + 1 });
      const answer = await peer.hear();
      if (answer.type !== "joined") throw unexpected(answer);
      peers[at] = peer;
      closeOnceHeard(peer);
    }));
    return peers;
  }

  /** Closes them, those too that are still being connected. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const peer of this.#peers) peer.close();
  }
}

/** The other side sends nothing more by it: what comes all the same must not fill the memory. */
function closeOnceHeard(peer: Peer): void {
  const close = (): void => peer.close();
  peer.hear(true).then(close, close);
}
