/**
 * Traces: every call to a kernel, with its time, its arguments in words, and its outcome.
 *
 * @example
 * ```ts
 * import { formatCall, MemoryTrace, TraceKernel } from "vfiokit/trace";
 * import { SimKernel } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * const trace = new MemoryTrace();
 * const kernel = new TraceKernel(new SimKernel("sim:mlx5"), trace);
 * kernel.open("/dev/vfio/vfio", 2);
 * assert.deepEqual(trace.take().map(formatCall), ['open("/dev/vfio/vfio", O_RDWR) = 3']);
 * ```
 *
 * @module
 */

export type {
  AccessLine,
  BegunCall,
  TracedCall,
  TracedData,
  TraceEvent,
  TraceFields,
  TraceSink,
  TraceValue,
} from "./event.ts";
export { formatCall } from "./format_call.ts";
export { MemoryTrace } from "./memory_trace.ts";
export { endTrace, TraceKernel, type TraceKernelOptions } from "./trace_kernel.ts";
export { perfettoJson } from "./timeline/perfetto.ts";
export { type ReadTrace, readTrace } from "./file/read_trace.ts";
export { ReplayError, type ReplayErrorCode, type ReplayErrorInfo } from "./replay/replay_error.ts";
export { ReplayedCalls, replayTrace } from "./replay/replayed_calls.ts";
export {
  type CallTimes,
  type DeviceTimeline,
  type PendingPoint,
  type StateSpan,
  timelineOf,
} from "./timeline/trace_timeline.ts";
export { TraceError, type TraceErrorCode } from "./file/trace_error.ts";
export {
  type SharedTrace,
  Trace,
  TRACE_SCHEMA,
  type TraceEnd,
  type TraceHeader,
  type TraceOptions,
  type TraceThread,
  traceTo,
} from "./file/trace_file.ts";
export { TraceFileError } from "./file/trace_file_error.ts";
