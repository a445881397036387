/**
 * What a campaign's process tells the one that watches it, a line of JSON each.
 */

/** A find, as it is told. */
export interface Told {
  readonly kind: string;
  readonly seed: number;
  readonly promise: string;
  readonly message: string;
  /** The smallest plan that finds the same, as JSON. */
  readonly plan: string;
  readonly stack: string;
}

/** A line. */
export type Line =
  | { readonly begin: { readonly kind: string; readonly seed: number } }
  | { readonly end: { readonly kind: string; readonly seed: number; readonly ms: number } }
  | { readonly shrinking: true }
  | { readonly find: Told };

/** What a campaign's process is to try. */
export interface Orders {
  /** The kinds, each with the seed of its next try, and of the one that is none any more. */
  readonly kinds: readonly {
    readonly name: string;
    readonly next: number;
    readonly end: number;
    /** Milliseconds that it has had: the one that had least is next. */
    readonly ms: number;
  }[];
  /** When to begin no more tries, in milliseconds since the epoch. */
  readonly until: number;
  /** So many tries at most: memory that the runtime keeps is given back by a new process. */
  readonly most: number;
  /** The plan of every try; null where its seed makes it. */
  readonly plan: unknown;
}

/** What finds that are alike have in common. */
export function keyOf(
  kind: string,
  { promise, message }: { readonly promise: string; readonly message: string },
): string {
  return `${kind} ${promise}: ${message.replace(/\d+/g, "N").slice(0, 80)}`;
}
