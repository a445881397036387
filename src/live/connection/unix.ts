/**
 * Connections over a unix socket of this machine, for one user.
 *
 * @module
 */

import * as fs from "node:fs";
import * as net from "node:net";
import { join } from "node:path";
import { ownUid } from "../../kernel/libc/unix_socket.ts";
import { LiveError } from "../live_error.ts";
import { type Connection, streamConnection } from "./connection.ts";

/** Most connections that wait. */
const MAX_QUEUE = 8;

/** A unix socket that the other side of a migration connects to. */
export class UnixListener implements Disposable {
  /** Where it is. */
  readonly path: string;
  readonly #server: net.Server;
  /** Connections that nobody waits for yet. */
  readonly #queue: net.Socket[] = [];
  #closed = false;
  #waiting: PromiseWithResolvers<Connection> | null = null;

  private constructor(path: string, server: net.Server) {
    this.path = path;
    this.#server = server;
    server.on("connection", (socket) => {
      const waiting = this.#waiting;
      this.#waiting = null;
      if (waiting !== null) waiting.resolve(streamConnection(`unix:${path}`, socket, socket));
      else if (this.#queue.length < MAX_QUEUE) this.#queue.push(socket);
      else socket.destroy();
    });
  }

  /**
   * Makes the socket, with mode 0600: the kernel lets only its owner and root connect.
   *
   * @throws {LiveError} `connection-lost` if it cannot be made.
   */
  static async listen(path: string): Promise<UnixListener> {
    const server = net.createServer({ allowHalfOpen: true });
    const fail = (error: unknown): LiveError => {
      const { code, message } = error as NodeJS.ErrnoException;
      const hint = code === "EEXIST" ? "If nobody listens there any more, remove it" : "";
      const cause = { cause: error };
      return new LiveError("connection-lost", `Cannot listen on ${path}: ${message}`, hint, cause);
    };
    let folder: string | null = null;
    try {
      // It gets its name once it has its mode: no other user can connect in between.
      folder = fs.mkdtempSync(`${path}.`);
      const at = join(folder, "s");
      const listening = Promise.withResolvers<void>();
      server.once("error", (error) => listening.reject(error));
      server.listen(at, () => listening.resolve());
      await listening.promise;
      fs.chmodSync(at, 0o600);
      fs.linkSync(at, path);
      return new UnixListener(path, server);
    } catch (error) {
      server.close();
      throw fail(error);
    } finally {
      if (folder !== null) fs.rmSync(folder, { recursive: true, force: true });
    }
  }

  /** The next connection. While none is waited for, connections wait. */
  next(): Promise<Connection> {
    const socket = this.#queue.shift();
    if (socket !== undefined) {
      return Promise.resolve(streamConnection(`unix:${this.path}`, socket, socket));
    }
    this.#waiting ??= Promise.withResolvers<Connection>();
    return this.#waiting.promise;
  }

  /** Listens no longer, and removes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#server.close();
    for (const socket of this.#queue.splice(0)) socket.destroy();
    fs.rmSync(this.path, { force: true });
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Connects to a unix socket.
 *
 * @throws {LiveError} `connection-lost` if nobody listens there, or it is another user's.
 */
export async function connectUnix(path: string): Promise<Connection> {
  const fail = (why: string, cause?: unknown): LiveError =>
    new LiveError("connection-lost", `Cannot connect to ${path}: ${why}`, "", { cause });
  let [own, uid] = [0, 0];
  try {
    own = ownUid();
    uid = fs.lstatSync(path).uid;
  } catch (error) {
    throw fail((error as Error).message, error);
  }
  if (uid !== own && uid !== 0) throw fail(`it is the socket of user ${uid}`);
  const socket = net.connect({ path, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", (error) => reject(fail(error.message, error)));
  });
  return streamConnection(`unix:${path}`, socket, socket);
}
