/**
 * A channel: a socket (SOCK_SEQPACKET) to a server, through which a client sends one end of a
 * connection. Whoever inherits it can connect, as often as it likes and beside others.
 */

import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";

/** Whether an fd is such a socket; no other file that a device's fd may be is one. */
export function isChannel(fd: number): boolean {
  return UnixSocket.isSeqPacket(fd);
}

/**
 * Connects to the server at the other end of a channel.
 *
 * @returns The fd of the connection.
 * @throws {SysError} EPIPE if the server has ended; EAGAIN if it is behind with its clients.
 */
export function connectThrough(channel: number): number {
  const [ours, theirs] = UnixSocket.pair();
  try {
    libcKernel().sendFds(channel, new Uint8Array(1), [theirs.fd]);
  } catch (error) {
    ours.close();
    throw error;
  } finally {
    theirs.close();
  }
  return ours.fd;
}
