/**
 * The CRC-32 of bytes that were just read, so that it is computed once: what a trace computes of
 * the data that a call moved is part of the CRC of the frame that the data goes into.
 *
 * @module
 */

/** zlib's polynomial, reflected. */
const POLYNOMIAL = 0xedb88320;
/** x to the power of 0, reflected: the highest bit is the lowest power. */
const ONE = 1 << 31;

interface Known {
  readonly buffer: ArrayBufferLike;
  readonly begin: number;
  readonly end: number;
  readonly crc: number;
}

/** Of this thread. */
let known: Known | null = null;

/**
 * Remembers the CRC-32 of bytes, until they are asked for or others come. Bytes right behind those
 * that are remembered make them longer.
 */
export function rememberCrc(bytes: Uint8Array, crc: number): void {
  const { buffer, byteOffset: begin, length } = bytes;
  const end = begin + length;
  known = known !== null && known.buffer === buffer && known.end === begin
    ? { buffer, begin: known.begin, end, crc: combineCrc(known.crc, crc, length) }
    : { buffer, begin, end, crc };
}

/** The CRC-32 of bytes, if it is remembered; it is forgotten then. */
export function takeCrc({ buffer, byteOffset, length }: Uint8Array): number | null {
  const found = known;
  known = null;
  if (found === null || found.buffer !== buffer || found.begin !== byteOffset) return null;
  return found.end === byteOffset + length ? found.crc : null;
}

/** The CRC-32 of two pieces one after the other, of which only the CRCs are known. */
export function combineCrc(first: number, second: number, secondLength: number): number {
  return (multiply(powerOfX(8 * secondLength), first) ^ second) >>> 0;
}

/** The product of two polynomials modulo {@linkcode POLYNOMIAL}, bit by bit. */
function multiply(one: number, other: number): number {
  let product = 0;
  let factor = other;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((one & bit) !== 0) product ^= factor;
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return product;
}

/** The last power that was asked for: pieces mostly have one length. */
let last = { exponent: 0, power: ONE };

/** x to the power of `exponent`, modulo {@linkcode POLYNOMIAL}. */
function powerOfX(exponent: number): number {
  if (last.exponent === exponent) return last.power;
  let power = ONE;
  let square = ONE >>> 1;
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) power = multiply(square, power);
    square = multiply(square, square);
  }
  last = { exponent, power };
  return power;
}
