/**
 * `--trace`: where a command's calls to the kernel are reported.
 *
 * @module
 */

import { resolve } from "node:path";
import type { Trace } from "../src/trace/mod.ts";
import type { Context } from "./context.ts";

/** The parsed options about tracing. */
export interface TraceArgs {
  /** `--trace`. */
  readonly trace?: string | undefined;
  /** `--trace-data`. */
  readonly traceData?: boolean | undefined;
  /** The device of a command that takes one. */
  readonly device?: string | undefined;
  /** The devices of a command that takes several. */
  readonly devices?: readonly string[] | undefined;
  /** Other files that a command writes: none of them may be the trace too. */
  readonly output?: string | undefined;
  readonly report?: string | undefined;
  readonly junit?: string | undefined;
}

/** Runs a command with the trace that it asks for, if it does. */
export async function traced(
  args: TraceArgs,
  context: Context,
  work: () => Promise<number>,
): Promise<number> {
  const { trace: path, traceData: data = false, device, devices } = args;
  if (path === undefined) {
    if (!data) return await work();
    const { UsageError } = await import("./usage_error.ts");
    throw new UsageError("Cannot use --trace-data without --trace: it says what is in the trace");
  }
  const { output, report, junit } = args;
  const also = Object.entries({ output, report, junit })
    .find(([, file]) => file !== undefined && file !== "-" && resolve(file) === resolve(path));
  if (also !== undefined) {
    const { UsageError } = await import("./usage_error.ts");
    throw new UsageError(`Cannot write the trace to ${path}: it is the file of --${also[0]}`);
  }
  const { Trace } = await import("../src/trace/mod.ts");
  using trace = Trace.create(path, {
    data,
    devices: devices ?? (device === undefined ? [] : [device]),
  });
  context.trace = trace;
  try {
    return await work();
  } finally {
    tellFailure(trace, context);
  }
}

/** A trace that ended early does no harm to the work, but it must not be taken for a whole one. */
function tellFailure({ failure }: Trace, context: Context): void {
  if (failure !== null) context.say(`${failure.message}; it ends early, and the work went on`);
}
