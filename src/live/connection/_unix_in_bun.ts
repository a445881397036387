/** Unix sockets of node:net, for Bun. */

import * as net from "node:net";
import { type Connection, streamConnection } from "./connection.ts";
import type { UnixSockets } from "./_unix_sockets.ts";

/** Bun's unix sockets. */
export const bunSockets: UnixSockets = {
  async listen(path, name, accepted): Promise<net.Server> {
    const server = net.createServer({ allowHalfOpen: true });
    server.on("connection", (socket) => accepted(streamConnection(name, socket, socket)));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
    return server;
  },
  async connect(path, name): Promise<Connection> {
    const socket = net.connect({ path, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return streamConnection(name, socket, socket);
  },
};
