/**
 * A kernel that answers from a trace.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { ERRNO } from "../../kernel/errno_names.ts";
import type { Kernel, Mapping, MmapOptions, ReceivedMessage } from "../../kernel/kernel.ts";
import { SysError } from "../../kernel/sys_error.ts";
import type { TracedCall, TraceEvent } from "../event.ts";
import { TraceKernel } from "../trace_kernel.ts";
import { RecordedCalls } from "./recorded_calls.ts";

/** The longest text that the kernel is asked for. */
const MAX_TEXT = 1 << 20;

/**
 * A kernel that answers each call with what was recorded of it, and makes none. A call that is not
 * the one that was recorded ends the replay.
 *
 * @param path The trace.
 * @param thread The number of the thread of it; null for the first one.
 * @throws {TraceError} If it is no trace, of another version, or has no such thread.
 * @throws {TraceFileError} If it cannot be opened or read.
 *
 * @example
 * ```ts
 * import { openDevice } from "vfiokit";
 * import { Trace } from "vfiokit/trace";
 * import * as fs from "node:fs";
 * import assert from "node:assert/strict";
 *
 * const path = `${fs.mkdtempSync("/tmp/trace-")}/trace.jsonl`;
 * {
 *   using trace = Trace.create(path);
 *   await using device = await openDevice("sim:mlx5", { trace });
 *   await device.state();
 * }
 * await using device = await openDevice(`replay:${path}`);
 * assert.equal((await device.state()).state, "running");
 * await assert.rejects(device.setState("stop"), { name: "ReplayError", code: "diverged" });
 * ```
 */
export function replayTrace(path: string, thread: number | null): TraceKernel {
  const recorded = new RecordedCalls(path, thread);
  return new TraceKernel(new ReplayedCalls(recorded), recorded);
}

/** What a call that cleans up is answered with after the replay's end. */
const NOTHING: TraceEvent = { type: "call", thread: 0, n: 0, time: 0, duration: 0, call: "close" };

/** Answers calls from a trace. The sink of the {@linkcode TraceKernel} around it compares them. */
export class ReplayedCalls implements Kernel {
  readonly #recorded: RecordedCalls;

  /** Answers from these. */
  constructor(recorded: RecordedCalls) {
    this.#recorded = recorded;
  }

  /** The name of the kernel whose calls were recorded, `linux` or `sim`. */
  get name(): string {
    return this.#recorded.thread.kernel;
  }

  /** The name of the device whose calls were recorded, as its kernel knows it. */
  get device(): string {
    return this.#recorded.thread.name;
  }

  /** The recorded call, if it did not fail. */
  #next(call: TracedCall): TraceEvent {
    const event = this.#recorded.next(call) ?? NOTHING;
    if (event.errno !== undefined) {
      const { errno, errnoNumber } = event;
      throw new SysError(event.request ?? call, errnoNumber ?? numberOf(errno), "(replayed)");
    }
    if (event.error !== undefined) throw new Error(event.error);
    return event;
  }

  #number(event: TraceEvent, most = 0x7fff_ffff): number {
    const { result } = event;
    if (Number.isInteger(result) && (result as number) >= -most && (result as number) <= most) {
      return result as number;
    }
    return this.#recorded.bad("result is wrong");
  }

  #text(event: TraceEvent): string {
    const { result } = event;
    return typeof result === "string" && result.length <= MAX_TEXT
      ? result
      : this.#recorded.bad("result is wrong");
  }

  /** Puts recorded bytes into a buffer; zeros if the trace does not have them. */
  #fill(event: TraceEvent, into: Uint8Array): void {
    const { raw, data } = event;
    if (raw?.after !== undefined) return this.#put(Buffer.from(raw.after, "hex"), into);
    if (data !== undefined && data.length !== into.length) this.#recorded.bad("data is wrong");
    if (data?.bytes === undefined) into.fill(0);
    else this.#put(Buffer.from(data.bytes, "base64"), into);
  }

  #put(bytes: Uint8Array, into: Uint8Array): void {
    if (bytes.length !== into.length) this.#recorded.bad("data is wrong");
    into.set(bytes);
  }

  open(): number {
    return this.#number(this.#next("open"));
  }

  close(): void {
    this.#next("close");
  }

  ioctl(_fd: number, _request: number, arg: Uint8Array<ArrayBuffer> | number = 0): number {
    const event = this.#next("ioctl");
    const { before, after } = event.raw ?? {};
    const other = typeof arg !== "number" && before !== undefined &&
      before.length !== 2 * arg.length;
    if (other) this.#recorded.another();
    if (typeof arg !== "number" && after !== undefined) this.#put(Buffer.from(after, "hex"), arg);
    return this.#number(event);
  }

  read(_fd: number, buffer: Uint8Array): number {
    return this.#read("read", buffer);
  }

  pread(_fd: number, buffer: Uint8Array): number {
    return this.#read("pread", buffer);
  }

  /** What was recorded next, if it moved, or tried to move, as much. */
  #nextOf(call: TracedCall, length: number): TraceEvent {
    const event = this.#next(call);
    const recorded = event.args?.["length"];
    if (recorded !== undefined && recorded !== length) this.#recorded.another();
    return event;
  }

  #read(call: TracedCall, buffer: Uint8Array): number {
    // A read of a data fd may have another size than the recorded one.
    const event = call === "read" ? this.#next(call) : this.#nextOf(call, buffer.length);
    const count = this.#number(event, buffer.length);
    if (count > 0) this.#fill(event, buffer.subarray(0, count));
    return count;
  }

  write(_fd: number, buffer: Uint8Array): number {
    return this.#number(this.#nextOf("write", buffer.length), buffer.length);
  }

  pwrite(_fd: number, buffer: Uint8Array): number {
    return this.#number(this.#nextOf("pwrite", buffer.length), buffer.length);
  }

  mmap(length: number, _options: MmapOptions): Mapping {
    const address = this.#text(this.#next("mmap"));
    if (!/^0x[0-9a-f]{1,16}$/.test(address)) this.#recorded.bad("result is wrong");
    const fill = (into: Uint8Array): void => this.#fill(this.#next("mappingRead"), into);
    const write = (): void => void this.#next("mappingWrite");
    const close = (): void => void this.#next("munmap");
    return {
      address: BigInt(address),
      length,
      read: (_offset, into) => fill(into),
      write,
      close,
      [Symbol.dispose]: close,
    };
  }

  memfd(): number {
    return this.#number(this.#next("memfd"));
  }

  dup3(): void {
    this.#next("dup3");
  }

  socketPair(): [number, number] {
    return this.#numbers(this.#next("socketPair").result, 2) as [number, number];
  }

  #numbers(value: unknown, most: number): number[] {
    if (Array.isArray(value) && value.length <= most && value.every(Number.isInteger)) return value;
    return this.#recorded.bad("result is wrong");
  }

  sendFds(): void {
    this.#next("sendFds");
  }

  receiveFds(_socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage {
    const event = this.#next("receiveFds");
    const { length, fds, truncated } = event.result as Record<string, unknown> ?? {};
    if (!Number.isInteger(length) || (length as number) < 0 || (length as number) > into.length) {
      this.#recorded.bad("result is wrong");
    }
    this.#fill(event, into.subarray(0, length as number));
    return {
      length: length as number,
      fds: this.#numbers(fds, maxFds),
      truncated: truncated === true,
    };
  }

  poll(): number {
    return this.#number(this.#next("poll"));
  }

  readText(): string {
    return this.#text(this.#next("readText"));
  }

  readLink(): string {
    return this.#text(this.#next("readLink"));
  }

  realPath(): string {
    return this.#text(this.#next("realPath"));
  }

  readDir(): string[] {
    const { result } = this.#next("readDir");
    const names = Array.isArray(result) && result.every((name) => typeof name === "string");
    return names ? result as string[] : this.#recorded.bad("result is wrong");
  }
}

function numberOf(errno: string): number {
  return (ERRNO as Readonly<Record<string, number>>)[errno] ?? ERRNO.EIO;
}
