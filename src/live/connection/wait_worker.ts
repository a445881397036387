/** The thread that waits for sockets. */

import { serveParent } from "../../base/thread.ts";
import { POLLIN } from "../../kernel/kernel.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import type { WaitAnswer, WaitRequest } from "./wait_thread.ts";

const BYTE = new Uint8Array(1);
const waits = new Map<number, { readonly fd: number; readonly events: number }>();
let wake: UnixSocket | null = null;

serveParent<WaitRequest, WaitAnswer>((request, parent) => {
  if (request === "end") {
    wake!.close();
    return parent.post("ended");
  }
  if ("wake" in request) wake = UnixSocket.adopt(request.wake);
  else if ("cancel" in request) waits.delete(request.cancel);
  else waits.set(request.id, request);
  // The byte that came before this request.
  wake!.receive(BYTE);
  while (waits.size > 0) {
    const ids = [...waits.keys()];
    const sockets = [...waits.values()].map(({ fd, events }) => ({ socket: { fd }, events }));
    const [woken, ...ready] = UnixSocket.wait([{ socket: wake!, events: POLLIN }, ...sockets], -1);
    const over = ids.filter((_, index) => ready[index] !== 0);
    for (const id of over) waits.delete(id);
    if (over.length > 0) parent.post(over);
    // The next request comes, or this thread ends.
    if (woken !== 0) return;
  }
});
