/**
 * Two sockets that messages with fds in them go through: what socketpair(2)
 * gives.
 */

import { OpenFile } from "./_open_file.ts";
import { refuse } from "./_refusal.ts";
import type { Bytes } from "./_region.ts";

/** A message that nobody took yet; it holds the files that are in it. */
interface Message {
  readonly bytes: Bytes;
  readonly files: readonly OpenFile[];
}

/** More messages than this do not wait at one end. */
const MAX_WAITING = 100;

/** One end. */
export class SocketFile extends OpenFile {
  readonly label = "socket";
  readonly #waiting: Message[] = [];
  /** Null once it is closed. */
  #other: SocketFile | null = null;

  /** Both ends. */
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

  /** Takes a message: its files are held for the caller. */
  receive(): Message {
    const message = this.#waiting.shift();
    if (message !== undefined) return message;
    return this.#other === null ? { bytes: new Uint8Array(0), files: [] } : refuse("EAGAIN");
  }
}
