/** The thread that waits for sockets. */

import { serveParent } from "../../base/thread.ts";
import { POLLIN } from "../../kernel/kernel.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import type { WaitAnswer, WaitRequest } from "./wait_thread.ts";

const waits = new Map<number, { readonly fd: number; readonly events: number }>();
const bytes = new Uint8Array(256);
let wake: UnixSocket | null = null;
let posted: Int32Array = new Int32Array(1);
let handled = 0;

serveParent<WaitRequest, WaitAnswer>((request, parent) => {
  handled += 1;
  if (request === "end") {
    waits.clear();
    return parent.post("ended");
  }
  if ("wake" in request) {
    wake = UnixSocket.adopt(request.wake);
    posted = request.posted;
  } else if ("cancel" in request) waits.delete(request.cancel);
  else waits.set(request.id, request);
  // Others come before anything is waited for.
  while (waits.size > 0 && Atomics.load(posted, 0) === handled) {
    const ids = [...waits.keys()];
    const sockets = [...waits.values()].map(({ fd, events }) => ({ socket: { fd }, events }));
    const [woken, ...ready] = UnixSocket.wait([{ socket: wake!, events: POLLIN }, ...sockets], -1);
    if (woken !== 0) wake!.receive(bytes);
    const over = ids.filter((_, index) => ready[index] !== 0);
    for (const id of over) waits.delete(id);
    if (over.length > 0) parent.post(over);
  }
});
