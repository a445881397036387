/**
 * The content of a page of simulated device state. Its bytes are computed from its
 * identity: the page's number, the seed it came from, and how often the device
 * changed it.
 *
 * Most of a page is a copy of a template, many pages at a time; six words of it
 * carry the identity. A page is therefore made at the speed of memory, and a
 * restored page is recognised, so that it needs no extra memory.
 */

import { Buffer } from "node:buffer";

/** Bytes of a page. */
export const PAGE = 4096;

/** The template repeats after this many pages. */
const TEMPLATE_PAGES = 64;

// The offsets of a page's identity.
const NUMBER_AT = 0;
const SEED_AT = 8;
const VERSION_AT = 12;
const CHECK_AT = PAGE - 8;

const TEMPLATE = makeTemplate();
const scratch = Buffer.from(new ArrayBuffer(PAGE));
const scratchView = new DataView(scratch.buffer, scratch.byteOffset, PAGE);

/** The identity that is read from a page's bytes. */
export interface PageIdentity {
  /** The seed of the device that made it. */
  readonly seed: number;
  /** How often the device had changed it. */
  readonly version: number;
}

/** One step of a xorshift generator: `x` must not be 0, and never becomes 0. */
export function nextRandom(x: number): number {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}

function makeTemplate(): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(TEMPLATE_PAGES * PAGE / 4);
  let x = 0x76666b74;
  for (let i = 0; i < words.length; i += 1) {
    x = nextRandom(x);
    words[i] = x;
  }
  return new Uint8Array(words.buffer);
}

/** Copies the template for `count` pages, number `first` and on, to `out` at `at`. */
export function copyTemplate(
  out: Uint8Array<ArrayBuffer>,
  at: number,
  first: number,
  count: number,
): void {
  while (count > 0) {
    const from = first % TEMPLATE_PAGES;
    const run = Math.min(TEMPLATE_PAGES - from, count);
    out.set(TEMPLATE.subarray(from * PAGE, (from + run) * PAGE), at);
    at += run * PAGE;
    first += run;
    count -= run;
  }
}

/** Writes a page's identity over the template's copy at `at`. */
export function stampPage(
  out: DataView,
  at: number,
  number: number,
  seed: number,
  version: number,
): void {
  out.setUint32(at + NUMBER_AT, number, true);
  out.setUint32(at + NUMBER_AT + 4, 0, true);
  out.setUint32(at + SEED_AT, seed, true);
  out.setUint32(at + VERSION_AT, version, true);
  // A mix of all three near the end, which detects a page that was cut or put together from two.
  const check = Math.imul(number ^ 0x9e3779b9, 0x85ebca6b) ^
    Math.imul(seed + 0x7f4a7c15, 0xc2b2ae35) ^ Math.imul(version + 1, 0x27d4eb2f);
  out.setUint32(at + CHECK_AT, check, true);
  out.setUint32(at + CHECK_AT + 4, ~check, true);
}

/** The identity of the page at `at`; null unless every byte is as generated. */
export function recognisePage(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  at: number,
  number: number,
): PageIdentity | null {
  const seed = view.getUint32(at + SEED_AT, true);
  const version = view.getUint32(at + VERSION_AT, true);
  copyTemplate(scratch, 0, number, 1);
  stampPage(scratchView, 0, number, seed, version);
  return scratch.compare(bytes, at, at + PAGE) === 0 ? { seed, version } : null;
}
