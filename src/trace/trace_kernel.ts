/**
 * A kernel that wraps another one and reports each call.
 *
 * @module
 */

import { SysError } from "../kernel/sys_error.ts";
import type { Kernel, Mapping, MmapOptions, ReceivedMessage } from "../kernel/kernel.ts";
import * as uapi from "../uapi/mod.ts";
import type { BegunCall, TracedCall, TraceEvent, TraceSink } from "./event.ts";
import { type AccessCall, AccessPlaces, movedData, toHex } from "./_access_place.ts";
import { TracedFiles } from "./decode/traced_files.ts";
import {
  mapFlagNames,
  memfdFlagNames,
  openFlagNames,
  pollEventNames,
  protectionNames,
} from "./decode/libc_names.ts";
import { hex } from "./decode/names.ts";
import { dataFd, decodeRequest, regionFacts } from "./decode/requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How to trace. */
export interface TraceKernelOptions {
  /** The number of the thread that makes the calls; default 0. */
  readonly thread?: number;
  /** When the trace began, in milliseconds since 1970; default now. */
  readonly started?: number;
  /** Whether events have the data itself, and not only its length and CRC-32. */
  readonly data?: boolean;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** What is known of a call before it is made. */
type Asked = Pick<BegunCall, "request" | "feature" | "args" | "state">;

/** An ioctl's argument before and after it, and what it returned. */
interface AnsweredIoctl {
  readonly before: Bytes | number;
  readonly after: Bytes | null;
  readonly returned: number;
}

/** A call, on which fd, and what is known of it before it is made. */
interface KnownCall {
  readonly call: TracedCall;
  readonly fd: number | null;
  readonly asked?: Asked | undefined;
}

/** What an event has beside its time and its place. */
type Parts = Omit<TraceEvent, "type" | "thread" | "n" | "time" | "duration" | "call" | "fd">;

/**
 * A {@linkcode Kernel} that makes each call on another one, and reports it to a sink: when, how
 * long, on what, with which arguments, and how it ended. The calls, their results and their errors
 * are those of the other kernel.
 *
 * @example
 * ```ts
 * import { MemoryTrace, TraceKernel } from "vfiokit/trace";
 * import { SimKernel } from "vfiokit/sim";
 * import { VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const trace = new MemoryTrace();
 * const kernel = new TraceKernel(new SimKernel("sim:mlx5"), trace);
 * const container = kernel.open("/dev/vfio/vfio", 2);
 * kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
 * const { request, args, result } = trace.events[1]!;
 * assert.equal(request, "VFIO_CHECK_EXTENSION");
 * assert.deepEqual(args, { extension: "VFIO_TYPE1v2_IOMMU" });
 * assert.equal(result, 1);
 * ```
 */
export class TraceKernel implements Kernel {
  /** The kernel that is traced. */
  readonly traced: Kernel;
  readonly #sink: TraceSink;
  readonly #thread: number;
  /** What to add to this thread's clock, in milliseconds. */
  readonly #clock: number;
  readonly #data: boolean;
  readonly #files = new TracedFiles();
  readonly #places = new AccessPlaces();
  #n = 0;

  /** Traces `kernel`. */
  constructor(kernel: Kernel, sink: TraceSink, options: TraceKernelOptions = {}) {
    this.traced = kernel;
    this.#sink = sink;
    this.#thread = options.thread ?? 0;
    this.#clock = options.started === undefined
      ? -performance.now()
      : performance.timeOrigin - options.started;
    this.#data = options.data ?? false;
  }

  /** The name of the kernel that is traced. */
  get name(): string {
    return this.traced.name;
  }

  /** As the kernel that is traced. */
  get lastCloseResets(): boolean {
    return this.traced.lastCloseResets ?? false;
  }

  /** Tells the sink that no more calls will come: a file gets what was kept back. */
  end(): void {
    this.#sink.end?.();
  }

  /** Makes a call and reports it. `describe` is given the result, or null if the call failed. */
  #call<Result>(
    known: KnownCall,
    make: () => Result,
    describe: (result: Result | null) => Parts,
  ): Result {
    const began = performance.now();
    if (this.#sink.begin !== undefined) this.#begin(known, began);
    let returned: Result;
    try {
      returned = make();
    } catch (error) {
      const ended = performance.now();
      this.#report(known, began, ended, { ...describe(null), ...failure(error) });
      throw error;
    }
    const ended = performance.now();
    this.#report(known, began, ended, describe(returned));
    return returned;
  }

  #begin({ call, fd, asked }: KnownCall, began: number): void {
    const begun: Mutable<BegunCall> = {
      type: "begun",
      thread: this.#thread,
      n: this.#n + 1,
      time: micros(began + this.#clock),
      call,
    };
    if (fd !== null) {
      begun.fd = fd;
      const { label } = this.#files.of(fd);
      if (label !== null) begun.file = label;
    }
    this.#sink.begin!(Object.assign(begun, asked));
  }

  #report({ call, fd }: KnownCall, began: number, ended: number, parts: Parts): void {
    const event: Mutable<TraceEvent> = {
      type: "call",
      thread: this.#thread,
      n: this.#n += 1,
      time: micros(began + this.#clock),
      duration: micros(ended - began),
      call,
    };
    if (fd !== null) event.fd = fd;
    this.#sink.event(Object.assign(event, parts));
  }

  /** What an fd is, as part of an event. */
  #file(fd: number): Parts {
    const { label } = this.#files.of(fd);
    return label === null ? {} : { file: label };
  }

  open(path: string, flags: number): number {
    const known: KnownCall = { call: "open", fd: null, asked: { args: { path } } };
    return this.#call(known, () => this.traced.open(path, flags), (fd) => {
      if (fd !== null) this.#files.openedPath(fd, path);
      return { args: { path, flags: openFlagNames(flags) }, ...result(fd) };
    });
  }

  close(fd: number): void {
    this.#call({ call: "close", fd }, () => this.traced.close(fd), () => {
      const file = this.#file(fd);
      this.#files.closed(fd);
      return file;
    });
  }

  ioctl(
    fd: number,
    request: number,
    arg: Uint8Array<ArrayBuffer> | number = 0,
    once?: "once",
  ): number {
    const before = typeof arg === "number" ? arg : arg.slice();
    const asked = this.#sink.begin &&
      decodeRequest(this.#files.of(fd).kind, request, before, null);
    return this.#call(
      { call: "ioctl", fd, asked },
      () => this.traced.ioctl(fd, request, arg, once),
      (returned) => {
        const after = returned === null || typeof arg === "number" ? null : arg;
        const words = decodeRequest(this.#files.of(fd).kind, request, before, after);
        const parts = { ...this.#file(fd), ...words, ...result(returned), ...raw(before, after) };
        if (returned !== null) this.#learn(fd, request, { before, after, returned });
        return parts;
      },
    );
  }

  /** Keeps what an answer says of files and regions. */
  #learn(
    fd: number,
    request: number,
    { before, after, returned }: AnsweredIoctl,
  ): void {
    if (after === null || typeof before === "number") return;
    if (request === uapi.VFIO_GROUP_GET_DEVICE_FD) {
      const name = new TextDecoder().decode(before).replace(/\0.*$/s, "");
      this.#files.opened(returned, `device ${name}`, "device");
    } else if (request === uapi.VFIO_DEVICE_GET_INFO) {
      this.#files.of(fd).kind = "device";
    } else if (request === uapi.VFIO_DEVICE_GET_REGION_INFO) {
      const region = regionFacts(after);
      if (region !== null) this.#files.learned(fd, region);
    } else if (request === uapi.VFIO_DEVICE_FEATURE) {
      const opened = dataFd(before, after);
      if (opened !== null) this.#files.opened(opened, "data fd", "data");
    }
  }

  read(fd: number, buffer: Uint8Array, once?: "once"): number {
    return this.#access("read", fd, buffer, null, () => this.traced.read(fd, buffer, once));
  }

  write(fd: number, buffer: Uint8Array, once?: "once"): number {
    return this.#access("write", fd, buffer, null, () => this.traced.write(fd, buffer, once));
  }

  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    const make = (): number => this.traced.pread(fd, buffer, offset);
    return this.#access("pread", fd, buffer, Number(offset), make);
  }

  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint, once?: "once"): number {
    const make = (): number => this.traced.pwrite(fd, buffer, offset, once);
    return this.#access("pwrite", fd, buffer, Number(offset), make);
  }

  /**
   * A read or write. There are four of them in a transaction of v1, so a sink that takes text gets
   * what is the same each time as it was put together the first time.
   */
  #access(
    call: AccessCall,
    fd: number,
    buffer: Uint8Array,
    offset: number | null,
    make: () => number,
  ): number {
    const place = this.#places.of(call, fd, buffer.length, offset, this.#files.of(fd));
    if (this.#sink.access === undefined) {
      const parts = (count: number | null): Parts => place.parts(buffer, count, this.#data);
      return this.#call({ call, fd, asked: place.asked }, make, parts);
    }
    const began = performance.now();
    this.#sink.beginAccess?.(place, this.#n + 1, micros(began + this.#clock));
    let count: number;
    try {
      count = make();
    } catch (error) {
      const parts = place.parts(buffer, null, this.#data);
      this.#report({ call, fd }, began, performance.now(), { ...parts, ...failure(error) });
      throw error;
    }
    const duration = micros(performance.now() - began);
    const fields = place.text(buffer, count, this.#data);
    this.#sink.access(place, this.#n += 1, micros(began + this.#clock), duration, fields);
    return count;
  }

  mmap(length: number, options: MmapOptions): Mapping {
    const { fd, offset, prot, flags } = options;
    const args = {
      length,
      ...(offset !== undefined && { offset: hex(offset) }),
      prot: protectionNames(prot),
      flags: mapFlagNames(flags),
    };
    const mapping = this.#call(
      { call: "mmap", fd: fd ?? null },
      () => this.traced.mmap(length, options),
      (mapped) => ({
        ...(fd !== undefined && this.#file(fd)),
        args,
        ...(mapped !== null && { result: hex(mapped.address) }),
      }),
    );
    return new TracedMapping(mapping, (call, at, make, bytes) => {
      this.#call({ call, fd: null }, make, (done) => ({
        args: { address: hex(mapping.address), ...(bytes && { offset: at, length: bytes.length }) },
        ...(bytes && done !== null && {
          data: movedData(bytes, call === "mappingRead", this.#data),
        }),
      }));
    });
  }

  memfd(name: string, length: number, flags = 0): number {
    return this.#call(
      { call: "memfd", fd: null },
      () => this.traced.memfd(name, length, flags),
      (fd) => {
        if (fd !== null) this.#files.opened(fd, `memfd ${name}`, "other");
        return { args: { name, length, flags: memfdFlagNames(flags) }, ...result(fd) };
      },
    );
  }

  dup3(from: number, to: number): void {
    this.#call({ call: "dup3", fd: from }, () => this.traced.dup3(from, to), (done) => {
      if (done !== null) this.#files.duplicated(from, to);
      return { ...this.#file(from), args: { to } };
    });
  }

  socketPair(): [number, number] {
    return this.#call({ call: "socketPair", fd: null }, () => this.traced.socketPair(), (pair) => {
      for (const fd of pair ?? []) this.#files.opened(fd, "socket", "other");
      return pair === null ? {} : { result: pair };
    });
  }

  sendFds(socket: number, message: Uint8Array<ArrayBuffer>, fds: readonly number[]): void {
    this.#call(
      { call: "sendFds", fd: socket },
      () => this.traced.sendFds(socket, message, fds),
      () => ({
        ...this.#file(socket),
        args: { length: message.length, fds: [...fds] },
        raw: { before: toHex(message) },
      }),
    );
  }

  receiveFds(socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage {
    return this.#call(
      { call: "receiveFds", fd: socket },
      () => this.traced.receiveFds(socket, into, maxFds),
      (message) => {
        const parts = { ...this.#file(socket), args: { length: into.length, maxFds } };
        if (message === null) return parts;
        const { length, fds, truncated } = message;
        for (const fd of fds) this.#files.opened(fd, "received fd", "other");
        const after = toHex(into.subarray(0, length));
        return { ...parts, result: { length, fds: [...fds], truncated }, raw: { after } };
      },
    );
  }

  poll(fd: number, events: number, timeoutMs: number): number {
    const known: KnownCall = { call: "poll", fd, asked: { args: { timeoutMs } } };
    return this.#call(known, () => this.traced.poll(fd, events, timeoutMs), (revents) => ({
      ...this.#file(fd),
      args: { events: pollEventNames(events), timeoutMs },
      ...(revents !== null && { answer: { revents: pollEventNames(revents) } }),
      ...result(revents),
    }));
  }

  readText(path: string, maxBytes?: number): string {
    const known: KnownCall = { call: "readText", fd: null, asked: { args: { path } } };
    return this.#call(known, () => this.traced.readText(path, maxBytes), (text) => ({
      args: { path, ...(maxBytes !== undefined && { maxBytes }) },
      ...result(text),
    }));
  }

  readLink(path: string): string {
    return this.#ofPath("readLink", path, () => this.traced.readLink(path));
  }

  readDir(path: string): string[] {
    return this.#ofPath("readDir", path, () => this.traced.readDir(path));
  }

  realPath(path: string): string {
    return this.#ofPath("realPath", path, () => this.traced.realPath(path));
  }

  #ofPath<Result extends string | string[]>(
    call: TracedCall,
    path: string,
    make: () => Result,
  ): Result {
    return this.#call({ call, fd: null }, make, (found) => ({ args: { path }, ...result(found) }));
  }
}

/** Reports what is done with a mapping. */
class TracedMapping implements Mapping {
  readonly #mapping: Mapping;
  readonly #call: (
    call: TracedCall,
    offset: number,
    make: () => void,
    bytes: Uint8Array | null,
  ) => void;
  #open = true;

  constructor(
    mapping: Mapping,
    call: (call: TracedCall, offset: number, make: () => void, bytes: Uint8Array | null) => void,
  ) {
    this.#mapping = mapping;
    this.#call = call;
  }

  get address(): bigint {
    return this.#mapping.address;
  }

  get length(): number {
    return this.#mapping.length;
  }

  read(offset: number, into: Uint8Array): void {
    this.#call("mappingRead", offset, () => this.#mapping.read(offset, into), into);
  }

  write(offset: number, from: Bytes): void {
    this.#call("mappingWrite", offset, () => this.#mapping.write(offset, from), from);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#call("munmap", 0, () => this.#mapping.close(), null);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function failure(error: unknown): Parts {
  if (error instanceof SysError) return { errno: error.code, errnoNumber: error.errno };
  return { error: error instanceof Error ? error.message : String(error) };
}

function result(value: number | string | readonly string[] | null): Parts {
  return value === null ? {} : { result: value };
}

/** Nanoseconds are kept. */
function micros(milliseconds: number): number {
  return Math.round(milliseconds * 1e6) / 1000;
}

function raw(before: Bytes | number, after: Bytes | null): Parts {
  if (typeof before === "number") return {};
  const was = toHex(before);
  const is = after === null ? was : toHex(after);
  return { raw: { before: was, ...(is !== was && { after: is }) } };
}

/** Ends the trace of a kernel, if it is traced: what was kept back is written. */
export function endTrace(kernel: Kernel): void {
  if (kernel instanceof TraceKernel) kernel.end();
}
