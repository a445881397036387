/**
 * What a kind of attack is, and what it finds.
 */

import type { Random } from "./_random.ts";

/** A promise of the product that did not hold. */
export class Find extends Error {
  override readonly name = "Find";
  /** Which promise: a stable word, such as `leak`. */
  readonly promise: string;

  constructor(promise: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.promise = promise;
  }
}

/** A kind of attack. A plan is plain data: a seed makes it, and a test can hold it as it is. */
export interface Kind<Plan> {
  /** Its name, for `--only`. */
  readonly name: string;
  /** Makes a plan. */
  make(random: Random): Plan;
  /**
   * Carries a plan out.
   *
   * @param folder An empty folder; what is in it afterwards is removed.
   * @throws {Find} If a promise did not hold.
   */
  run(plan: Plan, folder: string): Promise<void>;
  /** Plans with less in them, the smallest first. */
  smaller(plan: Plan): Iterable<Plan>;
  /** Ends what runs on from one try to the next. */
  end?(): Promise<void>;
}

/** A kind, whatever its plans are like. */
// deno-lint-ignore no-explicit-any -- a kind is given no plans but those that it made
export type AnyKind = Kind<any>;

/** Everything that can be left out of a list, one thing at a time; the halves first. */
export function* without<T>(list: readonly T[]): Generator<T[]> {
  if (list.length > 3) {
    const half = list.length >> 1;
    yield list.slice(0, half);
    yield list.slice(half);
  }
  for (let index = 0; index < list.length; index++) yield list.toSpliced(index, 1);
}
