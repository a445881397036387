/**
 * One client's connection: its messages in, the replies out, and our own commands in between.
 */

import { cleanlyThen } from "../base/cleanup.ts";
import { libcKernel } from "../kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../kernel/libc/unix_socket.ts";
import {
  commandName,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_VERSION,
} from "../vfio_user/wire/commands.ts";
import { HEADER_SIZE, isReply, type MessageHeader, wantsReply } from "../vfio_user/wire/header.ts";
import { closeAll, MessageSocket, type Wait } from "../vfio_user/wire/message_socket.ts";
import { malformed, WireError } from "../vfio_user/wire/wire_error.ts";
import { ClientCommands } from "./dma_messages.ts";
import { MOST_DATA, MOST_FDS, negotiate } from "./negotiate.ts";
import type { OpenDevice } from "./requests/open_device.ts";
import { errnoOfRefusal } from "./requests/refuse.ts";
import { type Request, Session } from "./requests/session.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The largest message that is taken: the most data, and what goes before it. */
const MOST_BYTES = HEADER_SIZE + MOST_DATA + 4096;
/** The most requests that are kept while the client owes us a reply. */
const MOST_WAITING = 64;

/** A request with its header. */
interface Received {
  readonly header: MessageHeader;
  readonly request: Request;
}

/** A connection. */
export class ClientConnection implements Disposable {
  readonly #device: OpenDevice;
  readonly #wait: Wait;
  readonly #main: MessageSocket;
  #twin: MessageSocket | null = null;
  #session: Session | null = null;
  /** What came while a reply was awaited. */
  readonly #waiting: Received[] = [];
  #buffer: Bytes = new Uint8Array(4096);

  /** @param wait Waits while a message comes or goes, and throws to give up. */
  constructor(socket: UnixSocket, device: OpenDevice, wait: Wait) {
    this.#device = device;
    this.#wait = wait;
    // A reply has up to 1 MiB, and each part that has no room costs a turn of both processes.
    socket.enlargeBuffer();
    this.#main = new MessageSocket(socket, wait);
  }

  /** The socket to wait for. */
  get socket(): UnixSocket {
    return this.#main.socket;
  }

  /** The client's eventfds to wait for. */
  get eventfds(): readonly number[] {
    return this.#session?.awaited ?? [];
  }

  /** One of them can be read. */
  signalled(eventfd: number): void {
    this.#session?.signalled(eventfd);
  }

  /**
   * Takes a message and answers it, and those that arrived during it.
   *
   * @returns Whether the client is still there.
   * @throws {WireError} If the connection cannot go on.
   */
  turn(): boolean {
    const received = this.#receive((size) => this.#room(size));
    if (received === null) return false;
    if (isHeader(received)) throw malformed("the client sent a reply that nothing asked for");
    this.#answer(received);
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#answer(next);
    }
    this.#session?.readAhead();
    return true;
  }

  /** Room for a payload that is done with when the next message comes. */
  #room(size: number): Bytes {
    if (this.#buffer.length < size) this.#buffer = new Uint8Array(size);
    return this.#buffer.subarray(0, size);
  }

  /**
   * The next request; or the header of a reply, whose payload is still to come; null at the end.
   *
   * @param room Makes room for the request's payload, or throws to refuse it.
   */
  #receive(room: (size: number) => Bytes): Received | MessageHeader | null {
    const message = this.#main.receiveHeader({ maxSize: MOST_BYTES, maxFds: MOST_FDS });
    if (message === null) return null;
    const { header } = message;
    const fds = [...message.fds];
    if (isReply(header)) {
      closeAll(fds);
      return header;
    }
    try {
      const payload = room(header.size - HEADER_SIZE);
      this.#main.receive(payload);
      return { header, request: { command: header.command, payload, fds } };
    } catch (error) {
      closeAll(fds);
      throw error;
    }
  }

  #answer({ header, request }: Received): void {
    try {
      if (this.#session === null) return this.#begin(header, request);
      if (request.command === VFIO_USER_VERSION) throw malformed("VFIO_USER_VERSION came again");
      let payload: readonly Bytes[];
      try {
        payload = this.#session.handle(request);
      } catch (error) {
        const errno = errnoOfRefusal(error);
        if (errno === null) throw error;
        return this.#reply(header, { flags: VFIO_USER_F_ERROR, errno });
      }
      this.#reply(header, { payload });
    } finally {
      closeAll(request.fds);
    }
  }

  /** The first message: what both sides can. */
  #begin(header: MessageHeader, { command, payload }: Request): void {
    if (command !== VFIO_USER_VERSION) {
      throw malformed(`${commandName(command)} came before VFIO_USER_VERSION`);
    }
    const { mostData, twinSocket, extended, reply } = negotiate(payload, this.#device);
    const theirs = twinSocket ? this.#openTwin() : null;
    try {
      const fds = theirs === null ? [] : [theirs.fd];
      this.#reply(header, { payload: [reply], fds });
    } finally {
      theirs?.close();
    }
    this.#session = new Session({
      device: this.#device,
      own: libcKernel(),
      messages: this.#commands(mostData),
      extended,
      mostData,
    });
  }

  /** Makes the socket for our own commands; returns the client's end. */
  #openTwin(): UnixSocket {
    const [ours, theirs] = UnixSocket.pair();
    this.#twin = new MessageSocket(ours, this.#wait);
    return theirs;
  }

  #commands(mostData: number): ClientCommands {
    const twin = this.#twin;
    if (twin === null) {
      return new ClientCommands(this.#main, () => this.#replyOnMain(), mostData);
    }
    return new ClientCommands(twin, (maxSize) => {
      const message = twin.receiveHeader({ maxSize, maxFds: 0 });
      if (message === null) throw new WireError("closed", "the client closed the twin socket");
      return message.header;
    }, mostData);
  }

  /** The next reply on the client's own socket; requests that come before it wait. */
  #replyOnMain(): MessageHeader {
    for (;;) {
      const received = this.#receive((size) => this.#roomToWait(size));
      if (received === null) throw new WireError("closed", "the client owes a reply, and is gone");
      if (isHeader(received)) return received;
      this.#waiting.push(received);
    }
  }

  /** Room for the payload of a request that waits. */
  #roomToWait(size: number): Bytes {
    if (this.#waiting.length === MOST_WAITING) {
      throw malformed(`the client sent ${MOST_WAITING} requests instead of a reply`);
    }
    return new Uint8Array(size);
  }

  #reply(
    header: MessageHeader,
    { flags = 0, errno = 0, payload = [], fds = [] }: {
      readonly flags?: number;
      readonly errno?: number;
      readonly payload?: readonly Bytes[];
      readonly fds?: readonly number[];
    },
  ): void {
    if (!wantsReply(header)) return;
    const { id, command } = header;
    this.#main.send({ id, command, flags: VFIO_USER_F_TYPE_REPLY | flags, errno }, payload, fds);
  }

  /** Closes the connection: nothing of the client is reached any more. */
  [Symbol.dispose](): void {
    cleanlyThen(() => this.#session?.close(), () => {
      for (const { request } of this.#waiting.splice(0)) closeAll(request.fds);
      this.#twin?.close();
      this.#main.close();
    });
  }
}

function isHeader(received: Received | MessageHeader): received is MessageHeader {
  return !("request" in received);
}
