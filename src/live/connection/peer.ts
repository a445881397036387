/**
 * The other side: messages and stream bytes from a connection, each waited for only so long.
 */

import { LiveError } from "../live_error.ts";
import type { Connection } from "./connection.ts";
import { type Message, packMessage, readMessage } from "./messages.ts";

const NOTHING: Uint8Array = new Uint8Array(0);

/** How long the other side may take, by default, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** The other side of a connection. */
export class Peer {
  readonly #connection: Connection;
  readonly #timeoutMs: number;
  /** What has come and was not taken. */
  #rest: Uint8Array = NOTHING;
  /** What is being sent: in order. */
  #sending: Promise<void> = Promise.resolve();

  /** `timeoutMs`: how long the other side may take for its next bytes, or to take ours. */
  constructor(connection: Connection, timeoutMs: number = TIMEOUT_MS) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
  }

  /** The connection's name. */
  get name(): string {
    return this.#connection.name;
  }

  /** Sends bytes after all that was sent before; resolves once they may be overwritten. */
  send(chunks: readonly Uint8Array[]): Promise<void> {
    const before = this.#sending;
    const sending = (async (): Promise<void> => {
      await before;
      for (const chunk of chunks) {
        await this.inTime(this.#connection.write(chunk), "take what is sent");
      }
    })();
    // Who sends next finds the failure, too.
    sending.catch(() => {});
    this.#sending = sending;
    return sending;
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
   * The next bytes of the stream, at most `most` of them.
   *
   * @throws {LiveError} `connection-lost` at the end.
   */
  async bytes(most: number, patient = false): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const reading = this.#connection.read();
      const chunk = await (patient ? reading : this.inTime(reading, "go on"));
      if (chunk === null) {
        throw new LiveError("connection-lost", `The connection to ${this.name} has ended`);
      }
      this.#rest = chunk;
    }
    const taken = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(taken.length);
    return taken;
  }

  async #exactly(length: number, patient: boolean): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(new ArrayBuffer(length));
    for (let at = 0; at < length;) {
      const part = await this.bytes(length - at, patient);
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /**
   * Waits for something that the other side does, such as to `answer`.
   *
   * @throws {LiveError} `peer-timeout` if it takes too long.
   */
  async inTime<Value>(work: Promise<Value>, what: string): Promise<Value> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const seconds = this.#timeoutMs / 1000;
      late.reject(
        new LiveError("peer-timeout", `${this.name} did not ${what} for ${seconds} seconds`),
      );
    }, this.#timeoutMs);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the connection. */
  close(): void {
    this.#connection.close();
  }
}
