/**
 * Accepts clients, of one's own user or root.
 */

import { libcKernel } from "../kernel/libc/libc_kernel.ts";
import { ownUid, UnixSocket } from "../kernel/libc/unix_socket.ts";

/** What happens to a server. */
export type ServerEvent =
  /** A client is connected; its process id is 0 if it is in another namespace, or was not asked. */
  | { readonly type: "client"; readonly pid: number }
  /** A client is gone; `why` is null if it closed the connection between two messages. */
  | { readonly type: "gone"; readonly why: string | null }
  /** A client was refused. */
  | { readonly type: "refused"; readonly why: string };

/** A client that came. */
export interface Arrival {
  /** Its connection. */
  readonly socket: UnixSocket;
  /** Its process id; 0 if that is not known. */
  readonly pid: number;
}

/** Accepts clients. */
export interface Acceptor {
  /** The socket to wait for. */
  readonly socket: UnixSocket;
  /** The next client; null if none waits, `ended` if none can come any more. */
  accept(): Arrival | null | "ended";
}

/** Clients that connect to a socket file, of one's own user or root. */
export function listeningAcceptor(
  socket: UnixSocket,
  report: (event: ServerEvent) => void,
): Acceptor {
  const uid = ownUid();
  return {
    socket,
    accept(): Arrival | null | "ended" {
      const client = socket.accept();
      if (client === null) return null;
      const stranger = client.stranger(uid);
      if (stranger === null) return { socket: client, pid: client.peer().pid };
      client.close();
      report({
        type: "refused",
        why: `process ${stranger.pid} runs as user ${stranger.uid}, and the server as user ${uid}`,
      });
      return null;
    },
  };
}

/**
 * Clients whose sockets come as fds through a channel (SOCK_SEQPACKET), which any process that
 * inherited its other end may send. It ends once no process has that end.
 */
export function channelAcceptor(fd: number): Acceptor {
  const socket = UnixSocket.adopt(fd);
  return {
    socket,
    accept(): Arrival | null | "ended" {
      const { length, fds } = libcKernel().receiveFds(fd, new Uint8Array(16), 1);
      if (fds[0] !== undefined) return { socket: UnixSocket.adopt(fds[0]), pid: 0 };
      return length === 0 ? "ended" : null;
    },
  };
}
