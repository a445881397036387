/**
 * Memory that is given back before the collector comes.
 */

/**
 * Gives the memory of bytes back at once, if all of their buffer is theirs. Deno's collector comes
 * only after tens to hundreds of MiB: it counts the objects, which are small.
 */
export function freeOwnBuffer({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
