// The lines of a trace as they are read: nothing in them is believed before it is checked.

import type { BegunCall, TracedCall, TraceEvent } from "../event.ts";
import { TRACE_SCHEMA, type TraceEnd, type TraceHeader, type TraceThread } from "./trace_file.ts";
import type { TraceErrorCode } from "./trace_error.ts";

/** A line of a trace behind the first one. */
export type TraceLine = TraceThread | TraceEvent | BegunCall | TraceEnd;

/** The most devices and threads of a trace. */
export const MAX_THREADS = 4096;
/** The deepest that values lie in each other. */
const MAX_DEPTH = 8;

const CALLS: ReadonlySet<string> = new Set<TracedCall>([
  ...["open", "close", "ioctl", "read", "write", "pread", "pwrite", "mmap", "memfd"] as const,
  ...["dup3", "socketPair", "sendFds", "receiveFds", "poll", "readText", "readLink"] as const,
  ...["readDir", "realPath", "mappingRead", "mappingWrite", "munmap"] as const,
]);

/** What is wrong with a line. */
export class LineFault {
  readonly code: TraceErrorCode;
  readonly what: string;

  constructor(code: TraceErrorCode, what: string) {
    this.code = code;
    this.what = what;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** A line's object; a fault if it is none. */
function fieldsOf(line: string): Fields | LineFault {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return new LineFault("line", "it is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return new LineFault("line", "it is not an object");
  }
  if (depthOf(value) > MAX_DEPTH) return new LineFault("line", "its values lie too deep");
  return value as Fields;
}

/** How deep values lie in each other, up to one more than is allowed. */
function depthOf(value: unknown): number {
  let level = [value];
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const next: unknown[] = [];
    for (const each of level) {
      if (typeof each === "object" && each !== null) {
        for (const inner of Object.values(each)) next.push(inner);
      }
    }
    if (next.length === 0) return depth;
    level = next;
  }
  return MAX_DEPTH + 1;
}

/** Reads the first line. */
export function parseHeader(line: string): TraceHeader | LineFault {
  const fields = fieldsOf(line);
  const none = new LineFault("not-a-trace", "the file is not a trace");
  if (fields instanceof LineFault) return none;
  const { type, schema, version, kernel, devices, started, data } = fields;
  if (type !== "header" || typeof schema !== "string" || !schema.startsWith("vfiokit/trace/")) {
    return none;
  }
  if (schema !== TRACE_SCHEMA) {
    return new LineFault("version", `it is of version ${schema}, and ${TRACE_SCHEMA} is read here`);
  }
  const good = typeof version === "string" && (kernel === null || typeof kernel === "string") &&
    Array.isArray(devices) && devices.length <= MAX_THREADS &&
    devices.every((name) => typeof name === "string") &&
    isTime(started) && typeof data === "boolean";
  return good ? fields as unknown as TraceHeader : new LineFault("line", "a field is wrong");
}

/** Reads any other line. */
export function parseLine(line: string): TraceLine | LineFault {
  const fields = fieldsOf(line);
  if (fields instanceof LineFault) return fields;
  const wrong = faultOf(fields);
  return wrong === null
    ? fields as unknown as TraceLine
    : new LineFault("line", `${wrong} is wrong`);
}

/** The name of a field that is wrong; null if none is. */
function faultOf(fields: Fields): string | null {
  const { type } = fields;
  if (type === "thread") {
    const { thread, device, name, kernel } = fields;
    if (!isCount(thread) || thread > MAX_THREADS) return "thread";
    if (!isText(device)) return "device";
    return !isText(name) ? "name" : !isText(kernel) ? "kernel" : null;
  }
  if (type === "end") {
    return !isTime(fields["time"]) ? "time" : !isCount(fields["calls"]) ? "calls" : null;
  }
  if (type !== "call" && type !== "begun") return "type";
  for (const [name, isGood] of Object.entries(CALL_FIELDS)) {
    const value = fields[name];
    const required = REQUIRED.has(name) && (type === "call" || name !== "duration");
    if (value === undefined ? required : !isGood(value)) return name;
  }
  return null;
}

const REQUIRED = new Set(["thread", "n", "time", "duration", "call"]);

const CALL_FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  thread: isCount,
  n: isCount,
  time: isTime,
  duration: isTime,
  call: (value) => typeof value === "string" && CALLS.has(value),
  fd: (value) => Number.isInteger(value),
  file: isText,
  request: isText,
  feature: isText,
  register: isText,
  args: isObject,
  answer: isObject,
  errno: isText,
  errnoNumber: isCount,
  error: isText,
  state: isText,
  data: (value) => isObject(value) && isData(value),
  raw: (value) => isObject(value) && isHex(value["before"]) && isHex(value["after"]),
};

function isData({ length, crc32, bytes }: Fields): boolean {
  if (!isCount(length) || typeof crc32 !== "string" || !/^[0-9a-f]{8}$/.test(crc32)) return false;
  return bytes === undefined ||
    (typeof bytes === "string" && bytes.length === 4 * Math.ceil(length / 3) &&
      /^[A-Za-z0-9+/]*={0,2}$/.test(bytes));
}

function isHex(value: unknown): boolean {
  return value === undefined || (typeof value === "string" && /^(?:[0-9a-f]{2})*$/.test(value));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTime(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
