/**
 * Unix sockets of Deno's own: several times as fast as those of its node:net, as they read to where
 * the bytes belong, and send from where they are.
 */

import { Socket } from "node:net";
import { type Connection, lost, streamConnection } from "./connection.ts";
import type { UnixSockets } from "./_unix_sockets.ts";

function connectionOf(name: string, socket: Deno.UnixConn): Connection {
  let closed = false;
  const attempt = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    try {
      return await work();
    } catch (error) {
      throw lost(name, closed ? undefined : error);
    }
  };
  return {
    name,
    read: (into) => attempt(async () => await socket.read(into as Uint8Array<ArrayBuffer>) ?? 0),
    write: (bytes) =>
      attempt(async () => {
        for (let at = 0; at < bytes.length;) {
          at += await socket.write(bytes.subarray(at) as Uint8Array<ArrayBuffer>);
        }
      }),
    close(): void {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
}

/** Deno's unix sockets. */
export const denoSockets: UnixSockets = {
  // deno-lint-ignore require-await -- what listening throws must reject
  async listen(path, name, { accepted, failed }): Promise<{ close(): void }> {
    const listener = Deno.listen({ transport: "unix", path });
    let closed = false;
    void (async () => {
      // It ends when it is closed.
      for await (const socket of listener) accepted(connectionOf(name, socket));
    })().catch((error) => {
      if (!closed) failed(error);
    });
    return {
      close(): void {
        closed = true;
        listener.close();
      },
    };
  },
  async connect(path, name): Promise<Connection> {
    return connectionOf(name, await Deno.connect({ transport: "unix", path }));
  },
  // deno-lint-ignore require-await -- what taking it over throws must reject
  async adopt(fd, name): Promise<Connection> {
    // Only node:net takes an fd.
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    return streamConnection(name, socket, socket);
  },
};
