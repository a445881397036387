/**
 * Messages on a connection: sent as a whole, received header first.
 *
 * @module
 */

import { POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { bytesToCacheLine } from "../../kernel/libc/cache_line.ts";
import { type Awaited, UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { isErrno } from "../../kernel/sys_error.ts";
import { HEADER_SIZE, type MessageHeader, packHeader, unpackHeader } from "./header.ts";
import { malformed, WireError } from "./wire_error.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** Messages of up to this size are put together and sent by one call, in bytes. */
const TOGETHER = 65536;

/**
 * Waits until the socket may be ready for what is asked (`POLLIN` or `POLLOUT`); may return early.
 * Throws to give up.
 */
export type Wait = (awaited: Awaited) => void;

/** A header that was received, and the fds that came with it. */
export interface ReceivedHeader {
  /** The header. */
  readonly header: MessageHeader;
  /** The fds; the caller must close each of them. */
  readonly fds: readonly number[];
}

/**
 * A connection that carries vfio-user messages. The caller says how to wait, so one thread can wait
 * for several connections, and give up in time.
 *
 * @example
 * ```ts
 * import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
 * import { VFIO_USER_DEVICE_RESET } from "./commands.ts";
 * import { MessageSocket, waitUntil } from "./message_socket.ts";
 * import assert from "node:assert/strict";
 *
 * const wait = waitUntil(() => performance.now() + 1000);
 * const [client, server] = UnixSocket.pair().map((socket) => new MessageSocket(socket, wait));
 * client!.send({ id: 1, command: VFIO_USER_DEVICE_RESET, flags: 0, errno: 0 }, []);
 * assert.equal(server!.receiveHeader({ maxSize: 4096, maxFds: 1 })?.header.size, 16);
 * client!.close();
 * server!.close();
 * ```
 */
export class MessageSocket implements Disposable {
  /** The socket. */
  readonly socket: UnixSocket;
  readonly #wait: Wait;
  readonly #out: Buffer = new Uint8Array(new ArrayBuffer(TOGETHER));
  readonly #outView: DataView = new DataView(this.#out.buffer);
  readonly #head: Buffer = new Uint8Array(new ArrayBuffer(HEADER_SIZE));
  readonly #headView: DataView = new DataView(this.#head.buffer);
  readonly #input: Awaited;
  readonly #output: Awaited;

  /** Uses a connected socket, and closes it. */
  constructor(socket: UnixSocket, wait: Wait) {
    this.socket = socket;
    this.#wait = wait;
    this.#input = { socket, events: POLLIN };
    this.#output = { socket, events: POLLOUT };
  }

  /**
   * Sends a message: a header, whose size is made here, and a payload in parts. What has up to 64
   * KiB goes by one call; some servers take a header without its payload as a broken connection.
   * What a larger part has before its first cache line goes with the header.
   *
   * @param fds Go with the first byte; then the message may have at most 64 KiB.
   * @throws {WireError} `closed` if the other end is; and what waiting throws.
   */
  send(
    header: Omit<MessageHeader, "size">,
    payload: readonly Uint8Array[],
    fds: readonly number[] = [],
  ): void {
    let size = HEADER_SIZE;
    for (const part of payload) size += part.length;
    packHeader({ ...header, size }, this.#outView);
    let filled = HEADER_SIZE;
    const rest: Uint8Array[] = [];
    // The parts that fit are sent with the header, and the rest from where it is.
    for (const part of payload) {
      const room = rest.length > 0 ? 0 : TOGETHER - filled;
      const count = part.length <= room ? part.length : Math.min(bytesToCacheLine(part), room);
      this.#out.set(count === part.length ? part : part.subarray(0, count), filled);
      filled += count;
      if (count < part.length) rest.push(count === 0 ? part : part.subarray(count));
    }
    const first = this.#out.subarray(0, filled);
    this.#sendAll(first, fds.length === 0 ? 0 : this.#sendFds(first, fds));
    for (const part of rest) this.#sendAll(part, 0);
  }

  #sendFds(bytes: Buffer, fds: readonly number[]): number {
    for (;;) {
      const sent = this.#whileOpen(() => this.socket.sendWithFds(bytes, fds));
      if (sent > 0) return sent;
      this.#wait(this.#output);
    }
  }

  #sendAll(bytes: Uint8Array, from: number): void {
    for (let at = from; at < bytes.length;) {
      const left = at === 0 ? bytes : bytes.subarray(at);
      const sent = this.#whileOpen(() => this.socket.send(left));
      if (sent === 0) this.#wait(this.#output);
      at += sent;
    }
  }

  /**
   * Waits for a message and receives its header.
   *
   * @param limits The largest message that is taken, in bytes; the most fds with it, 0 to 253. With
   * 0, the kernel closes those that come.
   * @returns null if the other end closed the connection between two messages.
   * @throws {WireError} `malformed` for a header that cannot be true, one that is cut, or more fds
   * than wanted, all of which are closed; and what waiting throws.
   */
  receiveHeader(
    { maxSize, maxFds }: { readonly maxSize: number; readonly maxFds: number },
  ): ReceivedHeader | null {
    const fds: number[] = [];
    try {
      let got = 0;
      while (got < HEADER_SIZE) {
        // Fds come with the first byte.
        const length = got > 0 || maxFds === 0
          ? this.#receive(got === 0 ? this.#head : this.#head.subarray(got))
          : this.#receiveWithFds(maxFds, fds);
        if (length === 0 && got === 0) return null;
        if (length === 0) {
          throw new WireError("closed", `the connection ended ${got} bytes into a header`);
        }
        if (length === null) this.#wait(this.#input);
        else got += length;
      }
      return { header: unpackHeader(this.#headView, maxSize), fds };
    } catch (error) {
      closeAll(fds);
      throw error;
    }
  }

  #receiveWithFds(maxFds: number, fds: number[]): number | null {
    const received = this.#whileOpen(() => this.socket.receiveWithFds(this.#head, maxFds));
    if (received === null) return null;
    fds.push(...received.fds);
    if (received.truncated) {
      throw malformed(`a message came with more than the ${maxFds} fds that it may have`);
    }
    return received.length;
  }

  #receive(into: Uint8Array): number | null {
    return this.#whileOpen(() => this.socket.receive(into));
  }

  /**
   * Receives what follows of a message.
   *
   * @throws {WireError} `closed` if the connection ends before; and what waiting throws.
   */
  receive(into: Uint8Array): void {
    for (let got = 0; got < into.length;) {
      const length = this.#receive(got === 0 ? into : into.subarray(got));
      if (length === 0) {
        throw new WireError(
          "closed",
          `the connection ended ${got} bytes into the ${into.length} that were to come`,
        );
      }
      if (length === null) this.#wait(this.#input);
      else got += length;
    }
  }

  /**
   * Receives what follows of a message, and drops it.
   *
   * @throws {WireError} As {@linkcode MessageSocket.receive}.
   */
  skip(length: number): void {
    for (let left = length; left > 0;) {
      const part = new Uint8Array(new ArrayBuffer(Math.min(left, TOGETHER)));
      this.receive(part);
      left -= part.length;
    }
  }

  #whileOpen<Value>(call: () => Value): Value {
    try {
      return call();
    } catch (error) {
      if (!isErrno(error, "EPIPE", "ECONNRESET")) throw error;
      throw new WireError("closed", "the other end closed the connection", { cause: error });
    }
  }

  /** Closes the socket. */
  close(): void {
    this.socket.close();
  }

  /** Closes the socket at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes fds that came with a message and that nothing takes. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) libcKernel().close(fd);
}

/**
 * Waits for one socket, until a time.
 *
 * @param deadline When to give up, as performance.now() has it; asked at each wait.
 */
export function waitUntil(deadline: () => number): Wait {
  return (awaited) => {
    const left = deadline() - performance.now();
    if (left <= 0) {
      const what = awaited.events === POLLIN ? "send" : "take";
      throw new WireError("timeout", `the other end did not ${what} all of a message in time`);
    }
    UnixSocket.wait([awaited], Math.ceil(left));
  };
}
