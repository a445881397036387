/** Operations on bitmaps in memory of our own, in words of 32 bits. */

type Words = Uint32Array<ArrayBuffer>;

/** Sets the bits from `from` up to `to`, which may be 2^31. */
export function setBits(words: Words, from: number, to: number): void {
  if (from >= to) return;
  const first = from >>> 5;
  const last = (to - 1) >>> 5;
  const head = 0xffff_ffff << (from & 31);
  const tail = 0xffff_ffff >>> (31 - ((to - 1) & 31));
  if (first === last) {
    words[first]! |= head & tail;
    return;
  }
  words[first]! |= head;
  words.fill(0xffff_ffff, first + 1, last);
  words[last]! |= tail;
}

/** Clears the bits from `from` to the end. */
export function clearFrom(words: Words, from: number): void {
  const first = Math.floor(from / 32);
  if (first >= words.length) return;
  words[first]! &= ~(0xffff_ffff << (from & 31));
  words.fill(0, first + 1);
}

/** `into |= from`, from word `at` of `into` on. */
export function orWords(into: Words, at: number, from: Words, count: number): void {
  for (let index = 0; index < count; index++) into[at + index]! |= from[index]!;
}

/** `into &= ~from`, from word `at` of `into` on. */
export function andNotWords(into: Words, at: number, from: Words, count: number): void {
  for (let index = 0; index < count; index++) into[at + index]! &= ~from[index]!;
}

/** Moves all bits `shift` (1 to 31) places towards bit 0. */
export function shiftDown(words: Words, shift: number): void {
  const last = words.length - 1;
  for (let index = 0; index < last; index++) {
    words[index] = (words[index]! >>> shift) | (words[index + 1]! << (32 - shift));
  }
  words[last]! >>>= shift;
}
