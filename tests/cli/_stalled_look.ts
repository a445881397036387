/**
 * A program that runs while its dirty pages are looked at, for signals_test.ts: the result is
 * written after a moment, and the program goes on until a signal.
 */

import { openSync } from "node:fs";
import process from "node:process";
import { Context } from "../../cli/context.ts";
import { type Lending, readAfterSpan } from "../../cli/dirty/measured_span.ts";
import { watchSignals } from "../../cli/signals.ts";
import { Fd, libcKernel } from "../../src/kernel/mod.ts";

const signals = watchSignals("test", (code) => process.exit(code));
const context = new Context({ called: "test", schema: "test", json: false, quiet: true, signals });
const fd = openSync("/dev/null", "r");
const session = {
  device: { label: "none", kernel: libcKernel(), fd: Fd.borrow(libcKernel(), fd, "none") },
  fds: { device: fd, group: null, container: null, iommufd: null, memory: null },
  mapped: [],
  mappings: [],
} as unknown as Lending;
const args = { after: 1, command: ["sleep", "60"] };
process.exit(
  await context.conclude(() =>
    readAfterSpan(session, args, context, () => context.writeResult(new Uint8Array(1 << 20)))
  ),
);
