/**
 * Further connections of a migration: what the source connects comes to the destination.
 */

import type { Connection, FurtherConnections } from "../../src/live/mod.ts";

/** Makes both ends of a connection, the source's first. */
export type Ends = () => Promise<[Connection, Connection]>;

/** Between the two sides. */
export class Switchboard implements FurtherConnections {
  readonly #ends: Ends;
  readonly #coming: Connection[] = [];
  #waiting: PromiseWithResolvers<Connection> | null = null;
  /** Why connections were dropped. */
  readonly dropped: string[] = [];

  constructor(ends: Ends) {
    this.#ends = ends;
  }

  /** Connects once more; returns the source's end. */
  readonly connect = async (): Promise<Connection> => {
    const [ours, theirs] = await this.#ends();
    if (this.#waiting === null) this.#coming.push(theirs);
    else this.#waiting.resolve(theirs);
    this.#waiting = null;
    return ours;
  };

  readonly next = async (signal: AbortSignal): Promise<Connection> => {
    const came = this.#coming.shift();
    if (came !== undefined) return came;
    const waiting = this.#waiting = Promise.withResolvers<Connection>();
    signal.addEventListener("abort", () => waiting.reject(signal.reason));
    return await waiting.promise;
  };

  readonly onDropped = ({ message }: Error): void => void this.dropped.push(message);
}
