/**
 * A vfio-user server in this process, on a separate thread.
 *
 * @module
 */

import { ThreadError } from "../base/thread_error.ts";
import { Worker } from "node:worker_threads";
import { cleanedUp, cleanlyThen } from "../base/cleanup.ts";
import { unpackError } from "../base/error_transfer.ts";
import { libcKernel } from "../kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../kernel/libc/unix_socket.ts";
import type { SharedTrace } from "../trace/mod.ts";
import type { ServerEvent } from "./acceptor.ts";
import type { ThreadMessage, ThreadRequest } from "./server_thread.ts";
import { SocketFile } from "../kernel/libc/socket_file.ts";

export type { ServerEvent };

/** How to serve. */
export interface ServeOptions {
  /** Called for each event, on the caller's thread. */
  readonly onEvent?: ((event: ServerEvent) => void) | undefined;
  /** Where to report each call to the device's kernel; each opening counts as a thread of it. */
  readonly trace?: SharedTrace | undefined;
}

/** A server that runs. */
export class Server implements AsyncDisposable {
  /** Resolves once it has ended; rejects if it failed. */
  readonly ended: Promise<void>;
  readonly #stop: UnixSocket;

  private constructor(ended: Promise<void>, stop: UnixSocket) {
    this.ended = ended;
    this.#stop = stop;
  }

  /**
   * Serves a device at a socket file, which is made for this user alone and removed at the end. One
   * client is served at a time; the device is opened for each.
   *
   * @param name `sim:…` or `replay:FILE`.
   * @throws {SocketFileError} If the file cannot be made.
   * @throws {Error} What `openVfioDevice` throws, if the device cannot be opened.
   */
  static async listen(
    name: string,
    path: string,
    options: ServeOptions = {},
  ): Promise<Server> {
    const file = new SocketFile(path);
    const acceptor = { kind: "listen", fd: file.socket.fd } as const;
    return await Server.#start(name, acceptor, () => file[Symbol.dispose](), options);
  }

  /**
   * Serves a device to the holders of a channel: a socket (SOCK_SEQPACKET) through which a client
   * sends its end of a connection. The device stays open until the server is stopped, and with it
   * its state.
   *
   * @param name `sim:…`.
   * @returns The server, and the fd of the channel, which the caller closes.
   * @throws {Error} As {@linkcode Server.listen}.
   */
  static async lend(
    name: string,
    options: ServeOptions = {},
  ): Promise<{ readonly server: Server; readonly channel: number }> {
    const kernel = libcKernel();
    const [ours, channel] = kernel.socketPair();
    const acceptor = { kind: "channel", fd: ours } as const;
    try {
      const server = await Server.#start(name, acceptor, () => kernel.close(ours), options);
      return { server, channel };
    } catch (error) {
      throw cleanedUp(error, () => kernel.close(channel));
    }
  }

  /** Starts the thread; `cleanUp` is called once it has ended. */
  static async #start(
    name: string,
    acceptor: ThreadRequest["acceptor"],
    cleanUp: () => void,
    { onEvent, trace }: ServeOptions,
  ): Promise<Server> {
    const [stop, theirs] = UnixSocket.pair();
    const request: ThreadRequest = { name, acceptor, stop: theirs.fd, trace };
    const ready = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    ended.promise.catch(() => {});
    const worker = new Worker(new URL("./server_worker.ts", import.meta.url), {
      workerData: request,
    });
    const fail = (error: unknown): void => {
      ready.reject(error);
      ended.reject(error);
    };
    let result: Error | null | undefined;
    worker.on("message", (message: ThreadMessage) => {
      if (message.type === "ready") ready.resolve();
      else if (message.type === "event") onEvent?.(message.event);
      else result = message.error === null ? null : unpackError(message.error);
    });
    worker.on("error", fail);
    worker.on("exit", () => {
      if (result === undefined) fail(new ThreadError("The thread of the server has ended"));
      else if (result !== null) fail(result);
      else ended.resolve();
    });
    const finished = (async (): Promise<void> => {
      try {
        await ended.promise;
      } finally {
        // Only now: the thread used their numbers.
        cleanlyThen(() => stop.close(), () => cleanlyThen(() => theirs.close(), cleanUp));
      }
    })();
    finished.catch(() => {});
    try {
      await ready.promise;
    } catch (error) {
      await finished.catch(() => {});
      throw error;
    }
    return new Server(finished, stop);
  }

  /** Ends it: clients are dropped, and the device is closed. */
  async stop(): Promise<void> {
    this.#stop.close();
    await this.ended;
  }

  /** Ends it, at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
