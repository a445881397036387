/**
 * Connections over a unix socket of this machine, for one user, and over an inherited socket.
 *
 * @module
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { POLLIN } from "../../kernel/kernel.ts";
import { SocketFile, type SocketFileError } from "../../kernel/libc/socket_file.ts";
import { ownUid, UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import { LiveError } from "../live_error.ts";
import { Arrivals } from "./arrivals.ts";
import type { Connection } from "./connection.ts";
import { SocketConnection } from "./socket_connection.ts";
import { WaitThread } from "./wait_thread.ts";

/** Most connections that wait. */
const MAX_QUEUE = 8;

/** What a listener tells. */
export interface UnixListenOptions {
  /** Is called with who was refused: a process that is neither this user's nor root's. */
  readonly onRefused?: ((why: string) => void) | undefined;
}

/** A unix socket that the other side of a migration connects to. */
export class UnixListener implements Disposable {
  /** Where it is. */
  readonly path: string;
  readonly #file: SocketFile;
  readonly #uid: number = ownUid();
  readonly #onRefused: UnixListenOptions["onRefused"];
  readonly #waits: WaitThread = WaitThread.use();
  readonly #closing = new AbortController();
  readonly #connections = new Arrivals<Connection>();

  private constructor(file: SocketFile, { onRefused }: UnixListenOptions) {
    const { path } = file;
    this.path = path;
    this.#file = file;
    this.#onRefused = onRefused;
    this.#acceptAll().catch((error) => {
      const why = `Cannot accept a connection at ${path}: ${(error as Error).message}`;
      this.#connections.fail(new LiveError("connection-lost", why, "", { cause: error }));
    });
  }

  /**
   * Makes the socket, with mode 0600. A socket that is left from a process that ended is replaced.
   * The kernel says of each who connects which user it is.
   *
   * @throws {LiveError} `connection-lost` if it cannot be made.
   */
  // deno-lint-ignore require-await -- what listening throws must reject
  static async listen(path: string, options: UnixListenOptions = {}): Promise<UnixListener> {
    let file: SocketFile | null = null;
    try {
      file = new SocketFile(path);
      return new UnixListener(file, options);
    } catch (error) {
      file?.[Symbol.dispose]();
      const { message, hint } = error as SocketFileError;
      throw new LiveError("connection-lost", message, hint ?? "", { cause: error });
    }
  }

  async #acceptAll(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      await this.#waits.wait(this.#file.socket.fd, POLLIN, signal);
      if (signal.aborted) return;
      const socket = this.#accept();
      if (socket === null) continue;
      try {
        if (this.#connections.count < MAX_QUEUE && this.#isOwn(socket)) {
          this.#connections.add(new SocketConnection(`unix:${this.path}`, socket));
        } else socket.close();
      } catch (error) {
        throw cleanedUp(error, () => socket.close());
      }
    }
  }

  #accept(): UnixSocket | null {
    try {
      return this.#file.socket.accept();
    } catch (error) {
      // It has gone again.
      if (isErrno(error, "ECONNABORTED")) return null;
      throw error;
    }
  }

  #isOwn(socket: UnixSocket): boolean {
    const stranger = socket.stranger(this.#uid);
    if (stranger === null) return true;
    const { pid, uid } = stranger;
    const why = `process ${pid} runs as user ${uid}, and this one as user ${this.#uid}`;
    // What the caller does about it must not keep others out.
    queueMicrotask(() => this.#onRefused?.(why));
    return false;
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
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#file[Symbol.dispose]();
    this.#waits[Symbol.dispose]();
    for (const connection of this.#connections.drain()) connection.close();
  }

  /** Closes, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Connects to a unix socket.
 *
 * @throws {LiveError} `connection-lost` if nobody listens there, or a process that is neither this
 * user's nor root's does.
 */
// deno-lint-ignore require-await -- what connecting throws must reject
export async function connectUnix(path: string): Promise<Connection> {
  const fail = (why: string, cause?: unknown): LiveError =>
    new LiveError("connection-lost", `Cannot connect to ${path}: ${why}`, "", { cause });
  let socket: UnixSocket | null = null;
  try {
    const own = ownUid();
    socket = UnixSocket.connect(path);
    const stranger = socket.stranger(own);
    if (stranger === null) return new SocketConnection(`unix:${path}`, socket);
    throw fail(`user ${stranger.uid} listens there`);
  } catch (error) {
    socket?.close();
    throw error instanceof LiveError ? error : fail((error as Error).message, error);
  }
}

/**
 * Takes over a connected socket that this process has inherited: of AF_UNIX, TCP or another family.
 * Who is at its other end is up to the program that made it.
 *
 * @throws {LiveError} `connection-lost` if the fd is not open, or no stream socket (SOCK_STREAM).
 */
// deno-lint-ignore require-await -- what taking it over throws must reject
export async function connectFd(fd: number): Promise<Connection> {
  if (UnixSocket.isStream(fd)) return new SocketConnection(`fd:${fd}`, UnixSocket.adopt(fd));
  const why = `Cannot connect by fd ${fd}: it is no stream socket, or not open`;
  throw new LiveError("connection-lost", why);
}
