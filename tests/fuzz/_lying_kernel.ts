/**
 * A kernel that lies: it does what it is asked, and changes one of its answers
 * on the way back. What it changes is what a driver, the kernel or sysfs could
 * say: bytes of a struct or a register, the count that a call returns, a text,
 * a name, a failure that looks like a success.
 *
 * It ends what would not end by itself: after so many calls each one fails with
 * EIO, and after as many again with {@linkcode LoopError}.
 */

import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  type Mapping,
  type MmapOptions,
  type ReceivedMessage,
} from "../../src/kernel/kernel.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What becomes of one answer; which part of it applies depends on the answer. */
export interface Change {
  /**
   * What is changed of a call that has both bytes and a result: the bytes, or
   * the result; or its failure, which then looks like a success.
   */
  readonly what: "bytes" | "result" | "failure";
  /** Where in the bytes the change begins; counted from the end where it is negative. */
  readonly offset: number;
  /** How many bytes are changed. */
  readonly width: 1 | 2 | 4 | 8;
  /** What they become, little-endian. */
  readonly value: bigint;
  /** What a result becomes. */
  readonly result: number;
  /** What a text or a path becomes, and a name that is put into a folder. */
  readonly text: string;
}

/** One lie. */
export interface Lie extends Change {
  /** Which answer, from 0 on. */
  readonly at: number;
  /** Whether the same question is answered so for good. */
  readonly forGood: boolean;
}

/** A caller that does not end: no error that the toolkit may let through. */
export class LoopError extends Error {
  override readonly name = "LoopError";
}

/** More than any caller has a use for at once, in bytes. */
const ROOM_MAX = 256 * 2 ** 20;
const CALLS_MAX = 20_000;

/** A kernel in front of another one. */
export class LyingKernel implements Kernel {
  readonly name: string;
  /** The questions that were answered so far, in order: `ioctl 0x3b71`, `pread`, `readText /sys/…`. */
  readonly asked: string[] = [];
  readonly #inner: Kernel;
  readonly #lie: Lie | null;
  readonly #callsMax: number;
  #question: string | null = null;
  #calls = 0;

  /** With no lie it is honest: `asked` then says what could be lied about. */
  constructor(inner: Kernel, lie: Lie | null, callsMax: number = CALLS_MAX) {
    this.#inner = inner;
    this.#lie = lie;
    this.#callsMax = callsMax;
    this.name = inner.name;
  }

  /** What was lied about; null where it has not come to that. */
  get lied(): string | null {
    return this.#question;
  }

  #count(): void {
    this.#calls += 1;
    if (this.#calls > 2 * this.#callsMax) {
      throw new LoopError(`${this.#calls} calls, the last ${this.#callsMax} of which all failed`);
    }
    if (this.#calls > this.#callsMax) throw new SysError("a kernel at its end", ERRNO.EIO);
  }

  /** The change to this answer; null where it is to be true. */
  #change(question: string): Change | null {
    const at = this.asked.push(question) - 1;
    const lie = this.#lie;
    if (lie === null) return null;
    if (at === lie.at) {
      this.#question = question;
      return lie;
    }
    return lie.forGood && question === this.#question ? lie : null;
  }

  /** An answer with bytes and a result. */
  #answer(question: string, call: () => number, bytes: Uint8Array | null): number {
    this.#count();
    let result: number;
    try {
      result = call();
    } catch (error) {
      const change = this.#change(question);
      if (change?.what !== "failure" || !(error instanceof SysError)) throw error;
      if (bytes !== null) distort(bytes, change);
      return 0;
    }
    const change = this.#change(question);
    if (change === null) return result;
    if (change.what !== "bytes" || bytes === null) return change.result;
    distort(bytes, change);
    return result;
  }

  #text(question: string, call: () => string): string {
    this.#count();
    let text: string;
    try {
      text = call();
    } catch (error) {
      const change = this.#change(question);
      if (change?.what !== "failure" || !(error instanceof SysError)) throw error;
      return change.text;
    }
    return this.#change(question)?.text ?? text;
  }

  open(path: string, flags: number): number {
    this.#count();
    return this.#inner.open(path, flags);
  }

  close(fd: number): void {
    this.#inner.close(fd);
  }

  ioctl(fd: number, request: number, arg?: Bytes | number): number {
    const bytes = typeof arg === "object" ? arg : null;
    const question = `ioctl 0x${request.toString(16)}${bytes === null ? "" : featureOf(bytes)}`;
    return this.#answer(question, () => this.#inner.ioctl(fd, request, arg), bytes);
  }

  read(fd: number, buffer: Uint8Array): number {
    checkRoom(buffer.length);
    return this.#answer("read", () => this.#inner.read(fd, buffer), buffer);
  }

  write(fd: number, buffer: Uint8Array): number {
    return this.#answer("write", () => this.#inner.write(fd, buffer), null);
  }

  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    checkRoom(buffer.length);
    const question = `pread ${buffer.length} at 0x${offset.toString(16)}`;
    return this.#answer(question, () => this.#inner.pread(fd, buffer, offset), buffer);
  }

  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    return this.#answer("pwrite", () => this.#inner.pwrite(fd, buffer, offset), null);
  }

  mmap(length: number, options: MmapOptions): Mapping {
    this.#count();
    const anonymous = (options.flags & MAP_ANONYMOUS) !== 0;
    if (anonymous) checkRoom(length);
    const inner = this.#inner.mmap(length, options);
    // What the kernel writes to such memory is an answer as well: bitmaps, IOVA ranges.
    return anonymous ? this.#lyingMapping(inner) : inner;
  }

  #lyingMapping(inner: Mapping): Mapping {
    return {
      address: inner.address,
      length: inner.length,
      read: (offset, into): void => {
        this.#answer("memory", () => {
          inner.read(offset, into);
          return 0;
        }, into);
      },
      write: (offset, from): void => inner.write(offset, from),
      close: (): void => inner.close(),
      [Symbol.dispose]: (): void => inner.close(),
    };
  }

  memfd(name: string, length: number, flags?: number): number {
    this.#count();
    checkRoom(length);
    return this.#inner.memfd(name, length, flags);
  }

  dup3(from: number, to: number): void {
    this.#inner.dup3(from, to);
  }

  socketPair(): [number, number] {
    this.#count();
    return this.#inner.socketPair();
  }

  sendFds(socket: number, message: Bytes, fds: readonly number[]): void {
    this.#count();
    this.#inner.sendFds(socket, message, fds);
  }

  receiveFds(socket: number, into: Bytes, maxFds: number): ReceivedMessage {
    this.#count();
    const message = this.#inner.receiveFds(socket, into, maxFds);
    const change = this.#change("receiveFds");
    if (change === null) return message;
    if (change.what !== "bytes") return { ...message, length: change.result };
    distort(into, change);
    return message;
  }

  poll(fd: number, events: number, timeoutMs: number): number {
    return this.#answer("poll", () => this.#inner.poll(fd, events, timeoutMs), null);
  }

  readText(path: string, maxBytes?: number): string {
    return this.#text(`readText ${path}`, () => this.#inner.readText(path, maxBytes));
  }

  readLink(path: string): string {
    return this.#text(`readLink ${path}`, () => this.#inner.readLink(path));
  }

  realPath(path: string): string {
    return this.#text(`realPath ${path}`, () => this.#inner.realPath(path));
  }

  readDir(path: string): string[] {
    this.#count();
    const names = this.#inner.readDir(path);
    const change = this.#change(`readDir ${path}`);
    if (change === null) return names;
    return change.what === "bytes" ? [...names, change.text] : [change.text];
  }
}

/** The feature that VFIO_DEVICE_FEATURE is about: each is a question of its own. */
function featureOf(bytes: Bytes): string {
  if (bytes.length < 8) return "";
  return ` 0x${new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true).toString(16)}`;
}

function distort(bytes: Uint8Array, { offset, width, value }: Change): void {
  const at = offset < 0 ? bytes.length + offset : offset;
  for (let index = 0; index < width; index++) {
    if (at + index < 0 || at + index >= bytes.length) continue;
    bytes[at + index] = Number(value >> BigInt(8 * index) & 0xffn);
  }
}

function checkRoom(bytes: number): void {
  if (bytes <= ROOM_MAX) return;
  throw new LoopError(`${bytes} bytes of room for one answer are more than anybody needs`);
}
