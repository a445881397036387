/**
 * A call of a trace as one line of text.
 *
 * @module
 */

import { errnoText } from "../kernel/errno_names.ts";
import { printable } from "../base/printable.ts";
import type { BegunCall, TraceEvent, TraceFields, TraceValue } from "./event.ts";

/**
 * A call as strace would show it, in VFIO's words: the request, the file, the arguments, what came
 * back. Its time and its duration are not part of it.
 *
 * @returns One line, without control characters.
 *
 * @example
 * ```ts
 * import { formatCall, MemoryTrace, TraceKernel } from "vfiokit/trace";
 * import { SimKernel } from "vfiokit/sim";
 * import { VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const trace = new MemoryTrace();
 * const kernel = new TraceKernel(new SimKernel("sim:mlx5"), trace);
 * kernel.ioctl(kernel.open("/dev/vfio/vfio", 2), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
 * assert.deepEqual(trace.events.map(formatCall), [
 *   'open("/dev/vfio/vfio", O_RDWR) = 3',
 *   "VFIO_CHECK_EXTENSION(3</dev/vfio/vfio>, extension=VFIO_TYPE1v2_IOMMU) = 1",
 * ]);
 * ```
 */
export function formatCall(event: TraceEvent | BegunCall): string {
  const { call, fd, file, request, feature, args = {}, state } = event;
  const { register, answer, data } = event as Partial<TraceEvent>;
  const name = request ?? (register === undefined ? call : `${call} ${register}`);
  const on = fd === undefined ? [] : [file === undefined ? String(fd) : `${fd}<${file}>`];
  const given = call === "ioctl" ? requestArguments(args, feature) : callArguments(args, register);
  const moved = data === undefined ? [] : [`crc32=${data.crc32}`];
  const back = answer === undefined ? [] : named(answer);
  const meant = register === "device_state" && state !== undefined ? ` (${state})` : "";
  return printable(
    [
      `${name}(${[...on, ...given].join(", ")})${event.type === "call" ? outcome(event) : ""}`,
      ...back,
      ...moved,
    ].join(", ") +
      meant,
  );
}

/** `argsz` is left out: it says what the struct's name says. */
function requestArguments(args: TraceFields, feature: string | undefined): string[] {
  const { argsz: _, operation, ...rest } = args;
  if (feature === undefined) return named(rest);
  const operations = (operation as readonly string[] | undefined ?? [])
    .map((flag) => flag.replace("VFIO_DEVICE_FEATURE_", ""));
  return [[...operations, feature].join(" "), ...named(rest)];
}

/** A register's name says where it is, and how long. */
function callArguments(args: TraceFields, register: string | undefined): string[] {
  const { path, flags, ...rest } = args;
  if (register !== undefined && register !== "data") {
    return register in rest ? named({ [register]: rest[register]! }) : [];
  }
  const first = path === undefined ? [] : [JSON.stringify(path)];
  const last = Array.isArray(flags) ? [flags.join("|") || "0"] : [];
  return [...first, ...named(rest), ...last];
}

function named(fields: TraceFields): string[] {
  return Object.entries(fields).map(([name, value]) => `${name}=${shown(value)}`);
}

function shown(value: TraceValue): string {
  if (typeof value === "string") return /^[\w.:+/-]+$/.test(value) ? value : JSON.stringify(value);
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) {
    const flags = value.every((each) => typeof each === "string");
    return flags ? value.join("|") || "0" : `[${value.map(shown).join(", ")}]`;
  }
  return `{${named(value as TraceFields).join(", ")}}`;
}

/** The most characters of a text that a file or a folder gave. */
const MAX_TEXT = 60;

function outcome({ result, errno, errnoNumber, error }: TraceEvent): string {
  if (errno !== undefined) {
    const text = errnoNumber === undefined ? "" : errnoText(errnoNumber);
    return ` = ${errno}${text === "" ? "" : ` (${text})`}`;
  }
  if (error !== undefined) return ` failed: ${error}`;
  if (result === undefined) return "";
  const text = typeof result === "string" && !result.startsWith("0x")
    ? JSON.stringify(result)
    : Array.isArray(result) && result.every((each) => typeof each === "string")
    ? JSON.stringify(result)
    : shown(result);
  return ` = ${text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text}`;
}
