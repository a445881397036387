/**
 * TLS sockets that stop reading while they are paused.
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/** What Deno and Node reach a socket's connection by. */
interface Handle {
  readStop(): unknown;
  readStart(): unknown;
}

/**
 * Makes a server's TLS socket hold the other side back while it is paused. Deno's goes on reading
 * the connection below, and keeps all that comes in memory, however much that is.
 */
export function holdBack(socket: TLSSocket): void {
  // It has no public name. Without it, the socket works as the runtime lets it.
  const { _parent: below } = socket as unknown as { readonly _parent?: Socket };
  const { _handle: handle } = (below ?? {}) as { readonly _handle?: Partial<Handle> | null };
  if (handle?.readStop === undefined || handle.readStart === undefined) return;
  const { readStop, readStart } = handle;
  const { pause, resume } = socket;
  let stopped = false;
  socket.pause = (): typeof socket => {
    stopped = true;
    readStop.call(handle);
    return pause.call(socket) as typeof socket;
  };
  socket.resume = (): typeof socket => {
    if (stopped) readStart.call(handle);
    stopped = false;
    return resume.call(socket) as typeof socket;
  };
}
