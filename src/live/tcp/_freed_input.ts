/**
 * TLS sockets that give back what they have decrypted.
 */

import type { TLSSocket } from "node:tls";
import { freeOwnBuffer } from "../../base/own_buffer.ts";

/** What Deno decrypts by: it takes a copy of the bytes. */
interface Decrypter {
  receive(bytes: Uint8Array): unknown;
}

/**
 * Makes a server's TLS socket give the memory of what came back once it was decrypted: Deno makes a
 * buffer of 64 KiB for each read of the connection below.
 */
export function freeInput(socket: TLSSocket): void {
  // It has no public name. Without it, the memory waits for the collector.
  const { _handle: handle } = socket as unknown as { readonly _handle?: Partial<Decrypter> | null };
  if (handle?.receive === undefined) return;
  const { receive } = handle;
  handle.receive = (bytes): unknown => {
    const result = receive.call(handle, bytes);
    freeOwnBuffer(bytes);
    return result;
  };
}
