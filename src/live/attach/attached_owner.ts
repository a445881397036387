/**
 * The owner of a device in another process: the attach protocol. See docs/attach.md.
 *
 * @module
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Fields, parseFields } from "../../checkpoint/metadata/json_fields.ts";
import { FIONBIO } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import type { ProtectedMemory } from "../../dirty/mod.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";
import { LiveError } from "../live_error.ts";
import type { Owner } from "./owner.ts";
import { type Attachment, readAttachment, readRanges } from "./attachment.ts";

/** The version of the protocol that is spoken here. */
export const ATTACH_VERSION = 1;
/** Most bytes of a message. */
const MAX_LINE = 64 * 1024;
/** Most fds that come with one. */
const MAX_FDS = 64;
/** How long the owner may take to answer, by default, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** How often it is looked for an answer that is waited for, in milliseconds. */
const LOOK_MS = 1;

/** What the owner is attached for. */
export type AttachPurpose = "migrate" | "receive" | "checkpoint";

/** How to attach. */
export interface AttachOptions {
  /** What is going to happen to the device. */
  readonly purpose: AttachPurpose;
  /** How long the owner may take to answer, in milliseconds. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait for the owner's first message. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The owner of a device, at the other end of a socket: the `owner` of `migrate` and
 * `CheckpointChain`. Closing it closes the fds that the owner sent.
 *
 * @example
 * ```ts
 * import { AttachedOwner } from "vfiokit/live";
 * import { libcKernel } from "vfiokit/kernel";
 *
 * const { owner, fd } = AttachedOwner.lend({ purpose: "checkpoint" });
 * // A program that inherits the fd, and says nothing there, is asked nothing.
 * await owner.quiesce();
 * owner[Symbol.dispose]();
 * libcKernel().close(fd);
 * ```
 */
export class AttachedOwner implements Owner, Disposable {
  /** The owner's name, for messages. */
  readonly name: string;
  readonly #socket: UnixSocket;
  readonly #timeoutMs: number;
  /** What is received to: it is looked often, while an answer is waited for. */
  readonly #room = new Uint8Array(new ArrayBuffer(MAX_LINE));
  /** What has come of the next lines. */
  #text = new Uint8Array(new ArrayBuffer(0));
  readonly #fds: number[] = [];
  #attachment: Attachment | null = null;
  /** What went wrong: nothing is asked after that. */
  #failure: LiveError | null = null;
  /** Whether it was told how it ended. */
  #over = false;
  #closed = false;

  private constructor(name: string, socket: UnixSocket, { purpose, timeoutMs }: AttachOptions) {
    this.name = name;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs ?? TIMEOUT_MS;
    this.#say({ type: "hello", version: ATTACH_VERSION, for: purpose });
  }

  /**
   * Connects to the socket at which the owner listens, and takes what it hands over.
   *
   * @throws {LiveError} `owner-lost` if nobody listens there, or another user does; `owner-timeout`;
   * `owner-protocol`.
   */
  static async connect(path: string, options: AttachOptions): Promise<AttachedOwner> {
    const name = `the owner at ${path}`;
    let socket: UnixSocket;
    try {
      socket = UnixSocket.connect(path);
    } catch (error) {
      const why = (error as Error).message;
      throw new LiveError("owner-lost", `Cannot connect to ${name}: ${why}`, "", { cause: error });
    }
    return await AttachedOwner.#attach(name, socket, options);
  }

  /**
   * Takes a connected socket that was inherited, and what the owner hands over.
   *
   * @throws {LiveError} As {@linkcode AttachedOwner.connect}.
   */
  static async over(fd: number, options: AttachOptions): Promise<AttachedOwner> {
    return await AttachedOwner.#attach(`the owner at fd ${fd}`, UnixSocket.adopt(fd), options);
  }

  static async #attach(
    name: string,
    socket: UnixSocket,
    options: AttachOptions,
  ): Promise<AttachedOwner> {
    let owner: AttachedOwner | null = null;
    try {
      const stranger = socket.stranger();
      if (stranger !== null) {
        throw new LiveError(
          "owner-lost",
          `Cannot attach to ${name}: it is of user ${stranger.uid}`,
        );
      }
      owner = new AttachedOwner(name, socket, options);
      const { device } = await owner.attached(options.signal);
      if (device === null) throw owner.#fail("owner-protocol", "hands over no device");
      return owner;
    } catch (error) {
      owner?.tell("failed", (error as Error).message);
      if (owner === null) socket.close();
      else owner[Symbol.dispose]();
      if (error instanceof LiveError || options.signal?.aborted) throw error;
      const why = (error as Error).message;
      throw new LiveError("owner-lost", `Cannot attach to ${name}: ${why}`, "", { cause: error });
    }
  }

  /**
   * Makes a socket for a program that is going to be lent the device. If it says nothing, it is
   * asked nothing.
   *
   * @returns The fd for the program to inherit; the caller closes it.
   */
  static lend(options: AttachOptions): { readonly owner: AttachedOwner; readonly fd: number } {
    const [ours, theirs] = UnixSocket.pair();
    // A program's reads wait.
    libcKernel().ioctl(theirs.fd, FIONBIO, new Uint8Array(new ArrayBuffer(4)));
    return { owner: new AttachedOwner("the program", ours, options), fd: theirs.fd };
  }

  /**
   * Waits for the owner's first message: what it hands over, and offers.
   *
   * @throws {LiveError} `owner-timeout`, `owner-lost` or `owner-protocol`.
   */
  async attached(signal?: AbortSignal): Promise<Attachment> {
    while (this.#attachment === null) {
      this.#takeAttachment(await this.#hear(signal));
    }
    return this.#attachment;
  }

  /** Stops the owner's writes to memory. A program that has said nothing is not asked. */
  async quiesce(): Promise<void> {
    if (this.#speaks()) await this.#ask("quiesce", "quiesced");
  }

  /** Lets the owner go on. */
  resume(): Promise<void> {
    if (this.#attachment !== null) this.tell("resume");
    return Promise.resolve();
  }

  /** What the owner has written to. */
  async dirty(): Promise<readonly IovaMapping[]> {
    const fields = await this.#ask("dirty", "dirty");
    return this.#read(() => readRanges(fields, "ranges"));
  }

  /**
   * Where the owner has mapped the device's memory, and write-protects it.
   *
   * @throws {TypeError} If it has not said that.
   */
  protectedMemory(): ProtectedMemory {
    const memory = this.#attachment?.protectedMemory ?? null;
    if (memory === null) throw new TypeError(`${this.name} does not write-protect its memory`);
    return memory;
  }

  /** Asks the owner to give the device less work. */
  async throttle(): Promise<boolean> {
    const fields = await this.#ask("throttle", "throttled");
    return this.#read(() => fields.flag("slower"));
  }

  /**
   * Tells how it ended: `committed`, the other side runs (or, to the owner of a destination, this
   * one); `failed`; `in-doubt`; or that the device runs here again, `resume`. Once it was told how it
   * ended, it is told nothing more.
   *
   * @returns Whether it was sent; if not, the owner is gone, reads nothing, or was told already.
   */
  tell(how: "resume" | "committed" | "failed" | "in-doubt", reason?: string): boolean {
    if (this.#over) return false;
    this.#over = how !== "resume";
    try {
      this.#say({ type: how, ...(reason === undefined ? {} : { reason: reason.slice(0, 2000) }) });
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Looks at the connection: an owner that has ended it is gone.
   *
   * @throws {LiveError} `owner-lost`, or what went wrong with the owner before.
   */
  demandConnected(): void {
    if (this.#failure !== null) throw this.#failure;
    while (this.#receive()) {
      if (this.#text.length > MAX_LINE) throw this.#tooLong();
    }
  }

  /** Whether the owner has said that it speaks this protocol, so far. */
  #speaks(): boolean {
    if (this.#attachment !== null) return true;
    let line: Fields | null;
    try {
      line = this.#look();
    } catch (error) {
      // A program that has ended, or closed the socket unused, writes or says nothing.
      if (error instanceof LiveError && error.code === "owner-lost") return false;
      throw error;
    }
    if (line === null) return false;
    this.#takeAttachment(line);
    return true;
  }

  #takeAttachment(line: Fields): void {
    const fds = [...this.#fds];
    this.#attachment = this.#read(() => {
      if (line.text("type") !== "attach") {
        throw new TypeError(`it begins with ${line.text("type")}`);
      }
      const version = line.count("version");
      if (version !== ATTACH_VERSION) throw new TypeError(`it speaks version ${version}`);
      return readAttachment(line, fds);
    });
  }

  async #ask(what: "quiesce" | "dirty" | "throttle", answer: string): Promise<Fields> {
    if (this.#failure !== null) throw this.#failure;
    this.#say({ type: what });
    const fields = await this.#hear();
    this.#read(() => {
      const type = fields.text("type");
      if (type !== answer) throw new TypeError(`it answers "${what}" with "${type}"`);
    });
    return fields;
  }

  #say(message: Readonly<Record<string, unknown>>): void {
    const bytes = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
    try {
      // Messages are short, and few wait at a time: if there is no room, nobody reads them.
      if (this.#socket.send(bytes) !== bytes.length) {
        throw this.#fail("owner-timeout", "reads nothing");
      }
    } catch (error) {
      throw error instanceof LiveError ? error : this.#fail("owner-lost", "is gone", error);
    }
  }

  /** The next message. */
  async #hear(signal?: AbortSignal): Promise<Fields> {
    const begun = performance.now();
    for (;;) {
      signal?.throwIfAborted();
      if (this.#closed) throw this.#fail("owner-lost", "was let go");
      const line = this.#look();
      if (line !== null) return line;
      if (performance.now() - begun > this.#timeoutMs) {
        throw this.#fail("owner-timeout", `did not answer for ${this.#timeoutMs / 1000} seconds`);
      }
      await sleep(LOOK_MS);
    }
  }

  /** The next message, if it is there. */
  #look(): Fields | null {
    for (;;) {
      const end = this.#text.indexOf(0x0a);
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return this.#read(() => parseFields(line));
      }
      if (this.#text.length > MAX_LINE) throw this.#tooLong();
      if (!this.#receive()) return null;
    }
  }

  /** Takes what has come; false for nothing. */
  #receive(): boolean {
    const into = this.#room;
    let length: number | null;
    try {
      // Fds come with the first message only; the kernel closes those of later ones.
      const received = this.#attachment === null
        ? this.#socket.receiveWithFds(into, MAX_FDS)
        : this.#socket.receive(into);
      if (typeof received === "object" && received !== null) {
        this.#fds.push(...received.fds);
        if (received.truncated || this.#fds.length > MAX_FDS) {
          throw this.#fail("owner-protocol", `sends more than ${MAX_FDS} fds`);
        }
        length = received.length;
      } else length = received;
    } catch (error) {
      throw error instanceof LiveError ? error : this.#fail("owner-lost", "is gone", error);
    }
    if (length === null) return false;
    if (length === 0) throw this.#fail("owner-lost", "has ended the connection");
    const text = new Uint8Array(new ArrayBuffer(this.#text.length + length));
    text.set(this.#text);
    text.set(into.subarray(0, length), this.#text.length);
    this.#text = text;
    return true;
  }

  /** Reads a message; what is wrong with it ends the connection. */
  #read<Value>(read: () => Value): Value {
    try {
      return read();
    } catch (error) {
      throw this.#fail(
        "owner-protocol",
        `does not speak this protocol: ${(error as Error).message}`,
      );
    }
  }

  #tooLong(): LiveError {
    return this.#fail("owner-protocol", `sends a message of more than ${MAX_LINE} bytes`);
  }

  #fail(
    code: "owner-lost" | "owner-timeout" | "owner-protocol",
    what: string,
    cause?: unknown,
  ): LiveError {
    return this.#failure ??= new LiveError(code, `${this.name} ${what}`, "", { cause });
  }

  /** Ends the connection, and closes the fds that came over it. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
    for (const fd of this.#fds.splice(0)) libcKernel().close(fd);
  }
}
