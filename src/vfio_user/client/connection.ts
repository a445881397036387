/**
 * A client's connection to a server: requests, one at a time, and the commands that the server
 * sends meanwhile.
 */

import { cleanedUp } from "../../base/cleanup.ts";
import { ERRNO } from "../../kernel/errno_names.ts";
import { POLLIN } from "../../kernel/kernel.ts";
import { type Awaited, UnixSocket } from "../../kernel/libc/unix_socket.ts";
import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import {
  type Capabilities,
  DEFAULT_CAPABILITIES,
  packVersion,
  unpackVersion,
  VERSION_MAX,
} from "../wire/capabilities.ts";
import {
  commandName,
  VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_MAJOR,
  VFIO_USER_MINOR,
  VFIO_USER_VERSION,
} from "../wire/commands.ts";
import { type Extension, EXTENSION_VERSION } from "../wire/extension.ts";
import { errnoOf, HEADER_SIZE, isReply, type MessageHeader, wantsReply } from "../wire/header.ts";
import { closeAll, MessageSocket, type ReceivedHeader } from "../wire/message_socket.ts";
import { malformed, WireError, type WireErrorCode } from "../wire/wire_error.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How long a server may take to answer a request, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** The pause before a server that has no room for another client is tried again, in milliseconds. */
const CONNECT_PAUSE_MS = 20;

/** The most fds that are taken with one message: a server has no more than a region's. */
const MAX_FDS = 8;

/** The most that a message has beside its data, in bytes. */
const MAX_BESIDE_DATA = 65536;

/**
 * The most data in a message to a server that may not be vfiokit's, in bytes. libvfio-user receives
 * what follows a header by one recv(2), which returns what is there. Linux keeps as much as this
 * together, so that all of it is.
 */
const MAX_WRITE = 32768;

/** What the errno of a broken connection is. */
const ERRNO_OF: Readonly<Record<WireErrorCode, number>> = {
  closed: ERRNO.ECONNRESET,
  timeout: ERRNO.ETIMEDOUT,
  malformed: ERRNO.EPROTO,
};

/** What a client offers. */
const OWN: Capabilities = {
  ...DEFAULT_CAPABILITIES,
  maxMsgFds: MAX_FDS,
  twinSocket: true,
  vfiokit: { version: EXTENSION_VERSION },
};

/** A command of the server's, and what it is replied. */
export type ServerCommands = (command: number, payload: Bytes) => readonly Uint8Array[];

/** A request. */
export interface ServerRequest<Answer> {
  /** `VFIO_USER_*`. */
  readonly command: number;
  /** The payload, in parts. */
  readonly payload: readonly Uint8Array[];
  /** The fds that go with it. */
  readonly fds?: readonly number[];
  /** Whether the reply may carry fds. Default false: the kernel closes them. */
  readonly wantsFds?: boolean;
  /**
   * Receives the reply's payload, `length` bytes of it; what it leaves is dropped. It owns the fds.
   *
   * @throws {WireError} For a reply that cannot be true.
   */
  readonly receive: (socket: MessageSocket, length: number, fds: readonly number[]) => Answer;
}

/** How to connect. */
export interface ConnectOptions {
  /** How long the server may take to answer a request, in milliseconds. */
  readonly timeoutMs: number;
  /** Answers the commands of the server's. */
  readonly commands: ServerCommands;
  /** Returns the fd of a connected socket; by default that of connect(2). */
  readonly connect?: ((path: string) => number) | undefined;
}

/** A connection, as another thread of the process can use it. Plain data. */
export interface SharedConnection {
  /** The path of the server's socket. */
  readonly path: string;
  /** The socket's fd. */
  readonly fd: number;
  /** The fd of the socket for the server's commands; null if there is none. */
  readonly twinFd: number | null;
  /** How long the server may take to answer a request, in milliseconds. */
  readonly timeoutMs: number;
  /** What the server can do. */
  readonly server: Capabilities;
  /** What the threads have in common: {@linkcode WORD}. */
  readonly memory: SharedArrayBuffer;
}

/** The words of the memory that threads share. */
const WORD = {
  /** 1 while a thread has a request under way. */
  busy: 0,
  /** The next message's id. */
  nextId: 1,
  /** Why the connection cannot be used any more: its place in {@linkcode REASONS}, from 1 on; or 0. */
  broken: 2,
} as const;

const REASONS: readonly WireErrorCode[] = ["closed", "timeout", "malformed"];

/** A connection. */
export class ServerConnection {
  /** The path of the server's socket. */
  readonly path: string;
  readonly #timeoutMs: number;
  readonly #commands: ServerCommands;
  readonly #socket: MessageSocket;
  #twin: MessageSocket | null = null;
  #server: Capabilities = DEFAULT_CAPABILITIES;
  #deadline = 0;
  readonly #memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Why it cannot be used any more, if this thread saw it. */
  #broken: WireError | null = null;
  readonly #mainInput: Awaited;

  private constructor(
    path: string,
    socket: UnixSocket,
    { timeoutMs, commands }: ConnectOptions,
    memory: SharedArrayBuffer = new SharedArrayBuffer(12),
  ) {
    this.path = path;
    this.#memory = memory;
    this.#words = new Int32Array(memory);
    this.#timeoutMs = timeoutMs;
    this.#commands = commands;
    this.#socket = new MessageSocket(socket, (awaited) => this.#waitFor(awaited));
    this.#mainInput = { socket, events: POLLIN };
  }

  /**
   * Connects, and agrees on a version and on capabilities.
   *
   * @throws {SysError} What connect(2) answers; EAGAIN if the server has no room for another
   * client; ECONNRESET, ETIMEDOUT or EPROTO if it does not answer as a vfio-user server.
   */
  static connect(path: string, options: ConnectOptions): ServerConnection {
    const until = performance.now() + options.timeoutMs;
    const { connect } = options;
    const socket = connect === undefined
      ? connectUntil(path, until)
      : UnixSocket.adopt(connect(path));
    const connection = new ServerConnection(path, socket, options);
    try {
      connection.#negotiate();
      return connection;
    } catch (error) {
      throw cleanedUp(error, () => connection.close());
    }
  }

  /**
   * Uses a connection of another thread's, which stays its owner. It answers no commands of the
   * server's with memory: only the thread that mapped it has that.
   */
  static join(shared: SharedConnection): ServerConnection {
    const { path, fd, twinFd, timeoutMs, server, memory } = shared;
    const commands: ServerCommands = () => {
      throw new SysError("answer", ERRNO.EFAULT, path);
    };
    const joined = new ServerConnection(
      path,
      UnixSocket.adopt(fd),
      { timeoutMs, commands },
      memory,
    );
    joined.#server = server;
    if (twinFd !== null) joined.#useTwin(twinFd);
    return joined;
  }

  /** What another thread needs to use it. */
  share(): SharedConnection {
    return {
      path: this.path,
      fd: this.fd,
      twinFd: this.#twin?.socket.fd ?? null,
      timeoutMs: this.#timeoutMs,
      server: this.#server,
      memory: this.#memory,
    };
  }

  #negotiate(): void {
    this.#socket.socket.enlargeBuffer();
    const own = { major: VFIO_USER_MAJOR, minor: VFIO_USER_MINOR, capabilities: OWN };
    this.request({
      command: VFIO_USER_VERSION,
      payload: [packVersion(own)],
      wantsFds: true,
      receive: (socket, length, fds) => {
        try {
          if (length > VERSION_MAX) throw malformed(`VFIO_USER_VERSION has ${length} bytes`);
          const payload = new Uint8Array(length);
          socket.receive(payload);
          const { major, minor, capabilities } = unpackVersion(payload);
          if (major !== VFIO_USER_MAJOR || minor > VFIO_USER_MINOR) {
            throw malformed(`the server speaks version ${major}.${minor}, offered was 0.1`);
          }
          this.#server = capabilities;
          const twin = this.#twinFd(capabilities, fds);
          if (twin !== null) this.#useTwin(twin);
        } catch (error) {
          closeAll(fds);
          throw error;
        }
      },
    });
  }

  /** The fd of the socket for the server's commands, among those of its reply; closes the others. */
  #twinFd(
    { twinSocket, twinSocketFdIndex }: Capabilities,
    fds: readonly number[],
  ): number | null {
    const fd = twinSocketFdIndex === null ? undefined : fds[twinSocketFdIndex];
    if (twinSocket && fd === undefined) {
      throw malformed("the server has a twin socket, and did not send its fd");
    }
    const twin = twinSocket ? fd ?? null : null;
    closeAll(fds.filter((each) => each !== twin));
    return twin;
  }

  #useTwin(fd: number): void {
    this.#twin = new MessageSocket(UnixSocket.adopt(fd), (awaited) => this.#waitFor(awaited));
  }

  /** The socket's fd. */
  get fd(): number {
    return this.#socket.socket.fd;
  }

  /** Uses another fd of the same socket, as the present one ends. */
  moveTo(fd: number): void {
    this.#socket.socket.moveTo(fd);
  }

  /** vfiokit's extension, and what the server says of the device; null if it is not in force. */
  get extension(): Extension | null {
    return this.#server.vfiokit;
  }

  /** What the server can do. */
  get server(): Capabilities {
    return this.#server;
  }

  /** The most data that a reply may have, in bytes. */
  get maxRead(): number {
    return Math.min(VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE, this.#server.maxDataXferSize);
  }

  /** The most data that a request may have, in bytes. */
  get maxWrite(): number {
    return this.extension === null ? Math.min(MAX_WRITE, this.maxRead) : this.maxRead;
  }

  /**
   * Sends a request, and receives its reply.
   *
   * @throws {SysError} The errno of the reply; ECONNRESET, ETIMEDOUT or EPROTO if the connection
   * is, or was, lost, with what the server did as its detail.
   */
  request<Answer>(request: ServerRequest<Answer>): Answer {
    const { command } = request;
    try {
      this.#begin();
      try {
        this.#demandWhole();
        return this.#exchange(request);
      } catch (error) {
        if (error instanceof WireError && this.#broken === null) this.#break(error);
        throw error;
      } finally {
        Atomics.store(this.#words, WORD.busy, 0);
        Atomics.notify(this.#words, WORD.busy, 1);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const detail = `${error.message}, while it was asked for ${commandName(command)}`;
      throw new SysError(commandName(command), ERRNO_OF[error.code], this.path, detail);
    }
  }

  /** Waits until no other thread has a request under way. */
  #begin(): void {
    this.#deadline = performance.now() + this.#timeoutMs;
    if (Atomics.compareExchange(this.#words, WORD.busy, 0, 1) === 0) return;
    while (Atomics.compareExchange(this.#words, WORD.busy, 0, 1) !== 0) {
      const left = this.#deadline - performance.now();
      if (left <= 0) throw new WireError("timeout", "another thread waits for the server");
      Atomics.wait(this.#words, WORD.busy, 1, left);
    }
    this.#deadline = performance.now() + this.#timeoutMs;
  }

  #demandWhole(): void {
    if (this.#broken !== null) throw this.#broken;
    const reason = REASONS[this.#words[WORD.broken]! - 1];
    if (reason === undefined) return;
    this.#broken = new WireError(reason, "another thread lost the connection");
    throw this.#broken;
  }

  /** Nothing that comes later can be told apart from the rest of what failed. */
  #break(error: WireError): void {
    this.#broken = error;
    this.#words[WORD.broken] = 1 + REASONS.indexOf(error.code);
    this.#socket.socket.shutdown();
    this.#twin?.socket.shutdown();
  }

  #exchange<Answer>(request: ServerRequest<Answer>): Answer {
    const { command, payload, fds, wantsFds } = request;
    const id = this.#words[WORD.nextId]!++ & 0xffff;
    this.#socket.send({ id, command, flags: VFIO_USER_F_TYPE_COMMAND, errno: 0 }, payload, fds);
    const limits = {
      maxSize: HEADER_SIZE + MAX_BESIDE_DATA + VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
      maxFds: wantsFds ? MAX_FDS : 0,
    };
    for (;;) {
      this.#waitFor(this.#mainInput);
      const received = this.#socket.receiveHeader(limits);
      if (received === null) throw new WireError("closed", "the server closed the connection");
      const { header } = received;
      if (isReply(header)) return this.#reply(id, request, received);
      // A server without a twin socket sends its commands in between.
      closeAll(received.fds);
      this.#serve(this.#socket, header);
    }
  }

  #reply<Answer>(
    id: number,
    { command, receive }: ServerRequest<Answer>,
    { header, fds }: ReceivedHeader,
  ): Answer {
    const length = header.size - HEADER_SIZE;
    if (header.id !== id || header.command !== command) {
      closeAll(fds);
      throw malformed(
        `the server replied to ${commandName(header.command)} with id ${header.id}, ` +
          `and the request had id ${id}`,
      );
    }
    const errno = errnoOf(header);
    if (errno !== 0) {
      closeAll(fds);
      // An error has no payload in the protocol; libvfio-user's may have that of the request.
      this.#socket.skip(length);
      throw new SysError(commandName(command), errno, this.path);
    }
    return receive(this.#socket, length, fds);
  }

  /** Waits for a socket, and answers commands on the twin socket until then. */
  #waitFor(awaited: Awaited): void {
    for (;;) {
      const left = this.#deadline - performance.now();
      if (left <= 0) {
        const verb = awaited.events === POLLIN ? "answer" : "take a message";
        throw new WireError(
          "timeout",
          `the server did not ${verb} within ${this.#timeoutMs / 1000} s`,
        );
      }
      const twin = this.#twin;
      const serves = twin !== null && awaited.socket !== twin.socket;
      const all = serves ? [awaited, { socket: twin.socket, events: POLLIN }] : [awaited];
      const [ready, commands = 0] = UnixSocket.wait(all, Math.ceil(left));
      // The server may need an answer there before it can go on here.
      if (serves && commands !== 0) this.#serveTwin(twin);
      else if (ready !== 0) return;
    }
  }

  #serveTwin(twin: MessageSocket): void {
    const received = twin.receiveHeader({
      maxSize: HEADER_SIZE + MAX_BESIDE_DATA + VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
      maxFds: 0,
    });
    if (received === null) {
      twin.close();
      this.#twin = null;
      return;
    }
    if (isReply(received.header)) throw malformed("the server sent a reply on its twin socket");
    this.#serve(twin, received.header);
  }

  /** Answers a command of the server's. */
  #serve(socket: MessageSocket, header: MessageHeader): void {
    const payload = new Uint8Array(header.size - HEADER_SIZE);
    socket.receive(payload);
    const { id, command } = header;
    const flags = VFIO_USER_F_TYPE_REPLY;
    let reply: readonly Uint8Array[] = [];
    let errno = 0;
    try {
      reply = this.#commands(command, payload);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      errno = error.errno;
    }
    if (!wantsReply(header)) return;
    if (errno === 0) socket.send({ id, command, flags, errno }, reply);
    else socket.send({ id, command, flags: flags | VFIO_USER_F_ERROR, errno }, []);
  }

  /** Closes the connection, but for a socket whose fd is another file's by now. */
  close(socket: "with its socket" | "without its socket" = "with its socket"): void {
    this.#broken ??= new WireError("closed", "the connection was closed here");
    this.#twin?.close();
    this.#twin = null;
    if (socket === "with its socket") this.#socket.close();
    else this.#socket.socket.forget();
  }
}

/** Connects; waits for a server that has no room for another client. */
function connectUntil(path: string, until: number): UnixSocket {
  for (;;) {
    try {
      return UnixSocket.connect(path);
    } catch (error) {
      if (!isErrno(error, "EAGAIN") || performance.now() >= until) throw error;
      sleepSync(CONNECT_PAUSE_MS);
    }
  }
}
