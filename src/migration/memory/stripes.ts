/**
 * Which of several streams a page of memory goes by: always the same one, so that a newer version of
 * it cannot overtake an older.
 */

import { PAGE_UNIT, type PageEntry } from "../../checkpoint/frames/page_frame.ts";

/** Memory goes by turns to each stream in stripes of so many pages: 1 MiB. */
const STRIPE_PAGES = (1 << 20) / PAGE_UNIT;

/** One of several streams. */
export interface StreamPart {
  /** Its number, from 0 on. */
  readonly index: number;
  /** How many there are. */
  readonly count: number;
}

/** The pages from one to before another, by their numbers in the address space. */
export interface PageSpan {
  readonly page: number;
  readonly end: number;
}

/**
 * The first pages in a row of a span that go by a stream; null if none do.
 *
 * @example
 * ```ts
 * import { ownPages } from "./stripes.ts";
 * import assert from "node:assert/strict";
 *
 * const second = { index: 1, count: 2 };
 * assert.deepEqual(ownPages({ page: 0, end: 1000 }, second), { page: 256, end: 512 });
 * assert.deepEqual(ownPages({ page: 512, end: 1000 }, second), { page: 768, end: 1000 });
 * assert.equal(ownPages({ page: 512, end: 768 }, second), null);
 * ```
 */
export function ownPages({ page, end }: PageSpan, { index, count }: StreamPart): PageSpan | null {
  if (page >= end) return null;
  if (count === 1) return { page, end };
  const stripe = Math.floor(page / STRIPE_PAGES);
  const own = stripe + (index - stripe % count + count) % count;
  const first = Math.max(page, own * STRIPE_PAGES);
  return first < end ? { page: first, end: Math.min(end, (own + 1) * STRIPE_PAGES) } : null;
}

/** Whether all of a range goes by a stream. */
export function ownsAll({ iova, length }: PageEntry, stream: StreamPart): boolean {
  if (stream.count === 1) return true;
  const page = Number(iova / BigInt(PAGE_UNIT));
  const end = page + length / PAGE_UNIT;
  const own = ownPages({ page, end }, stream);
  return own !== null && own.page === page && own.end === end;
}
