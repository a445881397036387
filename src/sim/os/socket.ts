/**
 * A pair of sockets that messages with fds are sent through, as socketpair(2)
 * makes it.
 */

import { OpenFile } from "./open_file.ts";
import { refuse } from "./refusal.ts";
import type { Bytes } from "./bytes.ts";

/** A message that was not received yet; it holds the files it carries. */
interface Message {
  readonly bytes: Bytes;
  readonly files: readonly OpenFile[];
}

/** The most messages that wait at one end. */
const MAX_WAITING = 100;

/** One end of the pair. */
export class SocketFile extends OpenFile {
  readonly label = "socket";
  readonly #waiting: Message[] = [];
  /** The other end; null once that is closed. */
  #other: SocketFile | null = null;

  /** Creates both ends. */
  static pair(): [SocketFile, SocketFile] {
    const [one, other] = [new SocketFile(), new SocketFile()];
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  protected release(): void {
    for (const { files } of this.#waiting.splice(0)) files.forEach((file) => file.drop());
    if (this.#other !== null) this.#other.#other = null;
  }

  ioctl(): number {
    return refuse("ENOTTY");
  }

  /** Sends a message to the other end. */
  send(bytes: Bytes, files: readonly OpenFile[]): void {
    if (this.#other === null) return refuse("EPIPE");
    const there = this.#other.#waiting;
    if (there.length === MAX_WAITING) refuse("EAGAIN");
    for (const file of files) file.hold();
    there.push({ bytes: bytes.slice(), files });
  }

  /** Receives a message; its files stay held for the caller. */
  receive(): Message {
    const message = this.#waiting.shift();
    if (message !== undefined) return message;
    return this.#other === null ? { bytes: new Uint8Array(0), files: [] } : refuse("EAGAIN");
  }
}
