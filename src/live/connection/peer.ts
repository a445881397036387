/**
 * The other side: messages and stream bytes from a connection, each waited for only so long.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { InOrder } from "../../base/in_order.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { LiveError } from "../live_error.ts";
import { type Connection, lost, type SharedSocket } from "./connection.ts";
import { type Message, packMessage, readMessage } from "./messages.ts";
import { Silence } from "./silence.ts";

/** Less than this is read together with what comes behind it, in bytes. */
const READ_AHEAD = 4096;

/** How long the other side may take, by default, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** How often it is looked whether what was sent has left, in milliseconds. */
const LOOK_MS = 1;

/** What the other side has to take in that time, in bytes. */
const SEND_BYTES = 256 << 10;

/** The other side of a connection. */
export class Peer {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  readonly #ahead: Uint8Array = new Uint8Array(new ArrayBuffer(READ_AHEAD));
  /** What has come and was not taken: a part of what was read ahead. */
  #rest: Uint8Array = this.#ahead.subarray(0, 0);
  /** What is being sent. */
  readonly #sending = new InOrder();
  #silence = new Silence();

  /** `timeoutMs`: how long the other side may take for its next bytes, or to take ours. */
  constructor(connection: Connection, timeoutMs: number = TIMEOUT_MS) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
  }

  /** The connection's name. */
  get name(): string {
    return this.#connection.name;
  }

  /** Counts as one connection with others: the other side goes on if it does on any of them. */
  joins(silence: Silence): void {
    this.#silence = silence;
    silence.add();
  }

  /** Takes nothing more from this connection of several. */
  finished(): void {
    this.#silence.remove();
  }

  /** Waits for what depends on what comes by the other connections. */
  async meanwhile<Value>(work: Promise<Value>): Promise<Value> {
    return await this.#silence.during(work);
  }

  /** Sends bytes after all that was sent before; resolves once they may be overwritten. */
  send(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#sending.run(async () => {
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; at += SEND_BYTES) {
          const part = chunk.subarray(at, at + SEND_BYTES);
          await this.inTime(this.#connection.write(part), "take what is sent");
        }
      }
    });
  }

  /** Whether other threads may send and receive in place of this one. */
  get shared(): boolean {
    return this.#connection.socket !== undefined;
  }

  /**
   * Lets another thread send after all that was sent before; resolves once it has sent everything.
   *
   * @param send Sends what there is room for; resolves to whether that was everything.
   */
  sendBy(send: (fd: number) => Promise<boolean>): Promise<void> {
    const socket = this.#connection.socket!;
    return this.#sending.run(async () => {
      while (!await this.#lend(socket, send)) {
        await this.inTime(socket.writable(), "take what is sent");
      }
    });
  }

  /**
   * Lets another thread receive the next bytes of the stream.
   *
   * @param receive Receives what has come; resolves to whether somebody else has to go on.
   */
  async receiveBy(receive: (fd: number) => Promise<boolean>): Promise<void> {
    const socket = this.#connection.socket!;
    while (!await this.#lend(socket, receive)) {
      await this.#inTime(this.#silence.during(socket.readable()), "go on", this.#silence);
    }
  }

  /** Waits until what was sent has left this side, as long as it becomes less in time. */
  async drained(): Promise<void> {
    const { socket } = this.#connection;
    if (socket === undefined) return;
    await this.#sending.run(async () => {
      for (let left = socket.unsent; left > 0;) {
        const less = (async (): Promise<void> => {
          while (socket.unsent >= left && socket.unsent > 0) await sleep(LOOK_MS);
        })();
        await this.inTime(less, "take what is sent");
        left = socket.unsent;
      }
    });
  }

  async #lend<Value>(socket: SharedSocket, use: (fd: number) => Promise<Value>): Promise<Value> {
    try {
      return await socket.lend(use);
    } catch (error) {
      const ofSocket = error instanceof SysError && ["send", "recv"].includes(error.syscall);
      throw ofSocket ? lost(this.name, error) : error;
    }
  }

  /** Sends a message. */
  say(message: Message): Promise<void> {
    return this.send([packMessage(message)]);
  }

  /**
   * The next message.
   *
   * @param patient Waits for it as long as it takes.
   */
  hear(patient = false): Promise<Message> {
    return readMessage((length) => this.#exactly(length, patient));
  }

  /**
   * Reads the next bytes of the stream, at least one.
   *
   * @throws {LiveError} `connection-lost` at the end.
   */
  async read(into: Uint8Array): Promise<number> {
    return await this.#read(into, false);
  }

  async #read(into: Uint8Array, patient: boolean): Promise<number> {
    if (this.#rest.length === 0) {
      if (into.length >= READ_AHEAD || this.shared) return await this.#receive(into, patient);
      this.#rest = this.#ahead.subarray(0, await this.#receive(this.#ahead, patient));
    }
    const taken = this.#rest.subarray(0, into.length);
    into.set(taken);
    this.#rest = this.#rest.subarray(taken.length);
    return taken.length;
  }

  async #receive(into: Uint8Array, patient: boolean): Promise<number> {
    const reading = this.#silence.during(this.#connection.read(into));
    const count = await (patient ? reading : this.#inTime(reading, "go on", this.#silence));
    if (count > 0) return count;
    throw new LiveError("connection-lost", `The connection to ${this.name} has ended`);
  }

  async #exactly(length: number, patient: boolean): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(new ArrayBuffer(length));
    for (let at = 0; at < length;) at += await this.#read(bytes.subarray(at), patient);
    return bytes;
  }

  /**
   * Waits for something that the other side does, such as to `answer`.
   *
   * @throws {LiveError} `peer-timeout` if it takes too long.
   */
  async inTime<Value>(work: Promise<Value>, what: string): Promise<Value> {
    const silence = new Silence();
    return await this.#inTime(silence.during(work), what, silence);
  }

  /** The same, as long as there is no longer silence than that. */
  async #inTime<Value>(work: Promise<Value>, what: string, silence: Silence): Promise<Value> {
    const late = Promise.withResolvers<never>();
    let timer: ReturnType<typeof setTimeout>;
    const wait = (ms: number): void => {
      timer = setTimeout(() => {
        const left = this.#timeoutMs - silence.ms;
        if (left > 0) return wait(left);
        const seconds = this.#timeoutMs / 1000;
        late.reject(
          new LiveError("peer-timeout", `${this.name} did not ${what} for ${seconds} seconds`),
        );
      }, ms);
    };
    wait(this.#timeoutMs);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer!);
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
  }
}
