/**
 * Further connections of a migration: what the source connects comes to the destination.
 */

import { Arrivals } from "../../src/live/connection/arrivals.ts";
import type { Connection, FurtherConnections } from "../../src/live/mod.ts";

/** Makes both ends of a connection, the source's first. */
export type Ends = () => Promise<[Connection, Connection]>;

/** Between the two sides. */
export class Switchboard implements FurtherConnections {
  readonly #ends: Ends;
  readonly #coming = new Arrivals<Connection>();
  /** Why connections were dropped. */
  readonly dropped: string[] = [];

  constructor(ends: Ends) {
    this.#ends = ends;
  }

  /** Connects once more; returns the source's end. */
  readonly connect = async (): Promise<Connection> => {
    const [ours, theirs] = await this.#ends();
    this.#coming.add(theirs);
    return ours;
  };

  readonly next = (signal: AbortSignal): Promise<Connection> => this.#coming.next(signal);

  readonly onDropped = ({ message }: Error): void => void this.dropped.push(message);
}
