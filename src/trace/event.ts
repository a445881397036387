/**
 * What a trace is made of: one plain object for each call, as it stands in a line of a trace file.
 *
 * @module
 */

/** The calls of a {@linkcode Kernel} by name, and those of a mapping. */
export type TracedCall =
  | "open"
  | "close"
  | "ioctl"
  | "read"
  | "write"
  | "pread"
  | "pwrite"
  | "mmap"
  | "memfd"
  | "dup3"
  | "socketPair"
  | "sendFds"
  | "receiveFds"
  | "poll"
  | "readText"
  | "readLink"
  | "readDir"
  | "realPath"
  /** Bytes copied out of a mapping: no system call. */
  | "mappingRead"
  /** Bytes copied into a mapping: no system call. */
  | "mappingWrite"
  | "munmap";

/** A value in an event: plain JSON. Addresses are hexadecimal strings. */
export type TraceValue =
  | string
  | number
  | boolean
  | null
  | readonly TraceValue[]
  | { readonly [name: string]: TraceValue };

/** Named values: a struct's fields, a call's arguments. */
export type TraceFields = { readonly [name: string]: TraceValue };

/** Bytes that were moved by a call. */
export interface TracedData {
  /** How many. */
  readonly length: number;
  /** Their CRC-32 (that of zlib), 8 hexadecimal digits. */
  readonly crc32: string;
  /** The bytes themselves in base64, if the trace has them. */
  readonly bytes?: string;
}

/** One call, after it returned. */
export interface TraceEvent {
  /** Always `call`. */
  readonly type: "call";
  /** The thread that made it; a thread has one kernel. */
  readonly thread: number;
  /** Its number on that thread, from 1 on, without a gap. */
  readonly n: number;
  /** When it began, in microseconds since the trace began. */
  readonly time: number;
  /** How long it took, in microseconds. */
  readonly duration: number;
  /** The call. */
  readonly call: TracedCall;
  /** The fd it was made on. */
  readonly fd?: number;
  /** What that fd is: the path that was opened, `device NAME`, `data fd`. */
  readonly file?: string;
  /** An ioctl's request by its C name, or in hexadecimal if the name is not known. */
  readonly request?: string;
  /** A feature by its C name without `VFIO_DEVICE_FEATURE_`, for that request. */
  readonly feature?: string;
  /** Of the v1 migration region: the register by its C name, or `data`. */
  readonly register?: string;
  /** The arguments; flags are lists of C names, states have the names of `StateName`. */
  readonly args?: TraceFields;
  /** What came back in the arguments, after a call that succeeded: only fields that changed. */
  readonly answer?: TraceFields;
  /** What the call returned; absent if it failed. */
  readonly result?: TraceValue;
  /** The errno's name, such as `EBUSY`, if it failed. */
  readonly errno?: string;
  /** Its number. */
  readonly errnoNumber?: number;
  /** The message, if it failed without an errno. */
  readonly error?: string;
  /** The migration state that the call asked for, or read, by its name. */
  readonly state?: string;
  /** The bytes that were moved. */
  readonly data?: TracedData;
  /**
   * The bytes of an ioctl's argument or of a register, in hexadecimal: as they were passed, and,
   * if they are others, as the call left them.
   */
  readonly raw?: { readonly before?: string; readonly after?: string };
}

/** A call that has begun, and has not returned as long as no event has its number. */
export interface BegunCall {
  /** Always `begun`. */
  readonly type: "begun";
  /** The thread that makes it. */
  readonly thread: number;
  /** Its number on that thread. */
  readonly n: number;
  /** When it began, in microseconds since the trace began. */
  readonly time: number;
  /** The call. */
  readonly call: TracedCall;
  /** The fd it is made on. */
  readonly fd?: number;
  /** What that fd is. */
  readonly file?: string;
  /** An ioctl's request by its C name. */
  readonly request?: string;
  /** A feature by its C name without `VFIO_DEVICE_FEATURE_`. */
  readonly feature?: string;
  /** The arguments. */
  readonly args?: TraceFields;
  /** The migration state that it asks for. */
  readonly state?: string;
}

/** A read or write as text: these calls come by the thousand, and most differ in little. */
export interface AccessLine {
  /** The fields of a {@linkcode BegunCall} behind `time` as JSON, in UTF-8. */
  readonly begun: Uint8Array<ArrayBuffer>;
  /** Whether it moves data: such calls come in long rows, and change no state. */
  readonly movesData: boolean;
}

/** Takes events as they happen. It must not throw. */
export interface TraceSink {
  /** A call begins. */
  begin?(call: BegunCall): void;
  /** A read or write begins: in place of `begin`, if `access` is there. */
  beginAccess?(line: AccessLine, n: number, time: number): void;
  /** Takes one. */
  event(event: TraceEvent): void;
  /**
   * Takes a read or write that succeeded as text, in place of an event; `fields` are those behind
   * `duration`.
   */
  access?(line: AccessLine, n: number, time: number, duration: number, fields: string): void;
  /** No more will come. */
  end?(): void;
}
