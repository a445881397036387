/** What the tests of traces share. */

import { SimKernel } from "../../src/sim/mod.ts";
import { MemoryTrace, TraceKernel, type TraceKernelOptions } from "../../src/trace/mod.ts";

/** A simulated kernel, traced in memory. */
export function tracedSim(spec: string, options: TraceKernelOptions = {}): {
  readonly sim: SimKernel;
  readonly trace: MemoryTrace;
  readonly kernel: TraceKernel;
} {
  const sim = new SimKernel(spec);
  const trace = new MemoryTrace();
  return { sim, trace, kernel: new TraceKernel(sim, trace, options) };
}
