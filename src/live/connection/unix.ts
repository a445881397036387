/**
 * Connections over a unix socket of this machine, for one user, and over an inherited socket.
 *
 * @module
 */

import * as fs from "node:fs";
import { join } from "node:path";
import { ownUid, UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { LiveError } from "../live_error.ts";
import { Arrivals } from "./arrivals.ts";
import { bunSockets } from "./_unix_in_bun.ts";
import { denoSockets } from "./_unix_in_deno.ts";
import type { UnixSockets } from "./_unix_sockets.ts";
import type { Connection } from "./connection.ts";

/** Most connections that wait. */
const MAX_QUEUE = 8;

const SOCKETS: UnixSockets = "Deno" in globalThis ? denoSockets : bunSockets;

/** A unix socket that the other side of a migration connects to. */
export class UnixListener implements Disposable {
  /** Where it is. */
  readonly path: string;
  #server: { close(): void } | null = null;
  readonly #connections = new Arrivals<Connection>();

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes the socket, with mode 0600: the kernel lets only its owner and root connect.
   *
   * @throws {LiveError} `connection-lost` if it cannot be made.
   */
  static async listen(path: string): Promise<UnixListener> {
    const listener = new UnixListener(path);
    const fail = (error: unknown): LiveError => {
      const { code, message } = error as NodeJS.ErrnoException;
      const hint = code === "EEXIST" ? "If nobody listens there any more, remove it" : "";
      const cause = { cause: error };
      return new LiveError("connection-lost", `Cannot listen on ${path}: ${message}`, hint, cause);
    };
    let folder: string | null = null;
    let server: { close(): void } | null = null;
    try {
      // It gets its name once it has its mode: no other user can connect in between.
      folder = fs.mkdtempSync(`${path}.`);
      const at = join(folder, "s");
      server = await SOCKETS.listen(at, `unix:${path}`, {
        accepted: (connection) => listener.#accepted(connection),
        failed: (error) => listener.#failed(error),
      });
      fs.chmodSync(at, 0o600);
      fs.linkSync(at, path);
      listener.#server = server;
      return listener;
    } catch (error) {
      server?.close();
      throw fail(error);
    } finally {
      if (folder !== null) fs.rmSync(folder, { recursive: true, force: true });
    }
  }

  #accepted(connection: Connection): void {
    if (this.#connections.count < MAX_QUEUE) this.#connections.add(connection);
    else connection.close();
  }

  #failed(error: unknown): void {
    const why = `Cannot accept a connection at ${this.path}: ${(error as Error).message}`;
    this.#connections.fail(new LiveError("connection-lost", why, "", { cause: error }));
  }

  /**
   * The next connection. While none is waited for, connections wait.
   *
   * @param signal Waits no longer.
   * @throws {LiveError} `connection-lost` if no more can be accepted, as with too many open files.
   */
  next(signal?: AbortSignal): Promise<Connection> {
    return this.#connections.next(signal);
  }

  /** Listens no longer, and removes the socket. */
  close(): void {
    if (this.#server === null) return;
    this.#server.close();
    this.#server = null;
    for (const connection of this.#connections.drain()) connection.close();
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
  try {
    return await SOCKETS.connect(path, `unix:${path}`);
  } catch (error) {
    throw fail((error as Error).message, error);
  }
}

/**
 * Takes over a connected socket that this process has inherited: of AF_UNIX, TCP or another family.
 * Who is at its other end is up to the program that made it.
 *
 * @throws {LiveError} `connection-lost` if the fd is not open, or no stream socket (SOCK_STREAM).
 */
export async function connectFd(fd: number): Promise<Connection> {
  const fail = (why: string, cause?: unknown): LiveError =>
    new LiveError("connection-lost", `Cannot connect by fd ${fd}: ${why}`, "", { cause });
  if (!UnixSocket.isStream(fd)) throw fail("it is no stream socket, or not open");
  try {
    return await SOCKETS.adopt(fd, `fd:${fd}`);
  } catch (error) {
    throw fail((error as Error).message, error);
  }
}
