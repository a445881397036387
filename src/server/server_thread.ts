/**
 * What the thread of a server does, and what it says to the thread that started it.
 */

import { packError, type TransferredError } from "../base/error_transfer.ts";
import { UnixSocket } from "../kernel/libc/unix_socket.ts";
import { blockSignals } from "../kernel/process/signal_mask.ts";
import type { SharedTrace } from "../trace/mod.ts";
import { DeviceSource } from "./requests/open_device.ts";
import { channelAcceptor, listeningAcceptor, type ServerEvent } from "./acceptor.ts";
import { serveClients } from "./serve_clients.ts";

/** What the thread is to serve. */
export interface ThreadRequest {
  /** The device's name. */
  readonly name: string;
  /** The fd of a socket that listens; or of a channel that sockets come through. */
  readonly acceptor: { readonly kind: "listen" | "channel"; readonly fd: number };
  /** The fd of a socket that ends it. */
  readonly stop: number;
  /** Where to report each call to the device's kernel. */
  readonly trace: SharedTrace | undefined;
}

/** What the thread says. */
export type ThreadMessage =
  /** The device is open, and clients are served. */
  | { readonly type: "ready" }
  /** Something happened. */
  | { readonly type: "event"; readonly event: ServerEvent }
  /** It ended, as it was asked to; or for this error. */
  | { readonly type: "ended"; readonly error: TransferredError | null };

/** How many clients of a channel there can be at a time. */
const MOST_OF_CHANNEL = 16;

/** Serves until it is to stop; blocks the thread. The fds stay open: the caller's thread closes them. */
export function runServer(request: ThreadRequest, say: (message: ThreadMessage) => void): void {
  try {
    blockSignals();
    serve(request, say);
    say({ type: "ended", error: null });
  } catch (error) {
    say({ type: "ended", error: packError(error) });
  }
}

function serve(
  { name, acceptor, stop, trace }: ThreadRequest,
  say: (message: ThreadMessage) => void,
): void {
  const lent = acceptor.kind === "channel";
  using source = new DeviceSource(name, lent, trace);
  say({ type: "ready" });
  const report = (event: ServerEvent): void => say({ type: "event", event });
  const { fd } = acceptor;
  serveClients({
    source,
    acceptor: lent ? channelAcceptor(fd) : listeningAcceptor(UnixSocket.adopt(fd), report),
    most: lent ? MOST_OF_CHANNEL : 1,
    stop: UnixSocket.adopt(stop),
    report,
  });
}
