/** A client that speaks to the server message by message, and tolerates nothing. */

import assert from "node:assert/strict";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import {
  type Capabilities,
  DEFAULT_CAPABILITIES,
  packVersion,
  unpackVersion,
} from "../../src/vfio_user/wire/capabilities.ts";
import { VFIO_USER_VERSION } from "../../src/vfio_user/wire/commands.ts";
import { errnoOf, HEADER_SIZE, type MessageHeader } from "../../src/vfio_user/wire/header.ts";
import { MessageSocket, waitUntil } from "../../src/vfio_user/wire/message_socket.ts";
import { WireError } from "../../src/vfio_user/wire/wire_error.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How long the server is given for anything. */
const GIVE_UP_MS = 60_000;

/** What came back. */
export interface Reply {
  readonly errno: number;
  readonly payload: Bytes;
  readonly fds: readonly number[];
}

/** A message of the server's. */
export interface Incoming {
  readonly header: MessageHeader;
  readonly payload: Bytes;
  readonly fds: readonly number[];
}

/** A connection to a server. */
export class Client implements Disposable {
  readonly messages: MessageSocket;
  #id = 0;

  private constructor(socket: UnixSocket) {
    const deadline = performance.now() + GIVE_UP_MS;
    this.messages = new MessageSocket(socket, waitUntil(() => deadline));
  }

  /** Connects, and says nothing yet. */
  static connect(path: string): Client {
    return new Client(UnixSocket.connect(path));
  }

  /** Uses a connected socket. */
  static over(socket: UnixSocket): Client {
    return new Client(socket);
  }

  /** VFIO_USER_VERSION; returns what the server can. */
  version(capabilities: Partial<Capabilities> = {}): Capabilities & { fds: readonly number[] } {
    const own = { ...DEFAULT_CAPABILITIES, maxMsgFds: 8, ...capabilities };
    const payload = packVersion({ major: 0, minor: 1, capabilities: own });
    const reply = this.ask(VFIO_USER_VERSION, payload);
    assert.equal(reply.errno, 0);
    const { capabilities: theirs } = unpackVersion(reply.payload);
    return { ...theirs, fds: reply.fds };
  }

  /** Sends a command; returns its id. */
  send(command: number, payload: Bytes, fds: readonly number[] = []): number {
    this.#id += 1;
    this.messages.send({ id: this.#id, command, flags: 0, errno: 0 }, [payload], fds);
    return this.#id;
  }

  /** The next message; null once the server has closed the connection. */
  next(): Incoming | null {
    const message = this.messages.receiveHeader({ maxSize: 1 << 22, maxFds: 16 });
    if (message === null) return null;
    const payload = new Uint8Array(message.header.size - HEADER_SIZE);
    this.messages.receive(payload);
    return { ...message, payload };
  }

  /** Waits for the server to close the connection; whether it sent nothing before. */
  dropped(): boolean {
    try {
      return this.next() === null;
    } catch (error) {
      // It closed with something unread.
      if (error instanceof WireError && error.code === "closed") return true;
      throw error;
    }
  }

  /** Sends a command, and takes its reply. */
  ask(command: number, payload: Bytes, fds: readonly number[] = []): Reply {
    const id = this.send(command, payload, fds);
    const message = this.next();
    assert.ok(message !== null, "the server closed the connection");
    assert.equal(message.header.id, id);
    assert.equal(message.header.command, command);
    return { errno: errnoOf(message.header), payload: message.payload, fds: message.fds };
  }

  /** Asks, and expects success. */
  demand(command: number, payload: Bytes, fds: readonly number[] = []): Bytes {
    const reply = this.ask(command, payload, fds);
    assert.equal(reply.errno, 0, `command ${command}`);
    return reply.payload;
  }

  [Symbol.dispose](): void {
    this.messages.close();
  }
}

/** Closes fds. */
export function closeFds(fds: readonly number[]): void {
  for (const fd of fds) libcKernel().close(fd);
}
