/**
 * The unit that both protocols move, and the phase that yields it.
 *
 * @module
 */

/** The phases that yield data. */
export type Phase = "pre-copy" | "stop-and-copy";

/**
 * What one iteration of the protocol yielded, or a part of it.
 *
 * The data is a view into a batch; consecutive transactions of a batch lie one
 * behind the other in the same buffer. An iteration larger than a batch comes
 * as several chunks, all but the last with `more` set: boundaries are part of
 * the data, and a restore replays them alike.
 */
export interface Transaction {
  /** The number of the device in the checkpoint; 0 where there is one. */
  readonly device: number;
  /** The phase that yielded it. */
  readonly phase: Phase;
  /** The bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Whether the same iteration goes on in the next chunk. */
  readonly more: boolean;
}
