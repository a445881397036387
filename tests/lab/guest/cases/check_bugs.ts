/**
 * `check` finds each bug that the guest driver can have, on a real kernel, by the rule that the bug
 * breaks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { check, type Verdict } from "../../../../src/check/mod.ts";
import { libcKernel } from "../../../../src/kernel/libc/libc_kernel.ts";
import { type BugName, BUGS } from "../../../../src/sim/faults/bug_table.ts";
import { checksOf, finds } from "../../../check/_bug_checks.ts";
import { busy } from "../busy.ts";
import { type DeviceType, GuestDevice, lacks } from "../device.ts";
import type { Case } from "../harness.ts";
import { kernelHas } from "../kernel_has.ts";

/** The bugs that the module carries, in the words of its source. */
const CARRIED = readFileSync(
  new URL("../../../../fixtures/guest-driver/bug.h", import.meta.url),
  "utf8",
).matchAll(/^\tX\(\w+,\s+"([a-z0-9-]+)"\)/gm);

/** The types that can have a bug, the one that shows it first. */
function typesOf(bug: BugName): DeviceType[] {
  const { to } = BUGS[bug];
  // Data fds have ioctls where there is pre-copy.
  if (bug === "fd-ioctl") return ["v2-full"];
  if (to === "v1" || to === "v1-mapped") return ["trapped"];
  if (to === "v2-incomplete") return ["v2"];
  if (to === "any") return ["v2-full", "v2-p2p", "trapped"];
  const everywhere: readonly typeof to[] = ["v2", "v2-p2p", "v2-log"];
  return everywhere.includes(to) ? ["v2-full", "v2-p2p"] : ["v2-full"];
}

/** Bugs of what a log's REPORT answers, which not every kernel has. */
const OF_REPORTS: readonly BugName[] = [
  ...["log-report-off", "log-keeps", "log-part-clears-all"] as const,
  ...["log-lost-by-step", "log-loses-pages", "log-first-range"] as const,
];

/** Faults without which a bug does not show. */
const FAULTS: Partial<Record<BugName, string>> = {
  // A driver that waits for its device, where a signal finds it.
  "eintr-loses": "block:20",
};

/** What the kernel has, once it was asked. */
let has: Record<string, string> | undefined;

/** The verdicts of the checks of the bug's rule, up to the one that finds it. */
async function verdictsOf(
  bug: BugName,
  device: GuestDevice,
  second: GuestDevice,
): Promise<Verdict[]> {
  const run = check(device.uuid, {
    second: second.uuid,
    only: checksOf(bug, device.type.startsWith("v2") ? "v2" : "v1"),
    safety: "destructive",
    kernel: libcKernel(),
    load: () => busy(device),
  });
  const verdicts: Verdict[] = [];
  for await (const verdict of run) {
    verdicts.push(verdict);
    if (finds(verdict, bug)) break;
  }
  return verdicts;
}

function caseOf(bug: BugName): Case {
  const type = typesOf(bug).find((one) => lacks(one) === null);
  return {
    name: `check finds the bug ${bug}, by rule ${BUGS[bug].rule}`,
    lacks: () => {
      if (type === undefined) return lacks(typesOf(bug)[0]!);
      return OF_REPORTS.includes(bug) && (has ??= kernelHas())["log REPORT"] !== "yes"
        ? "this kernel's VFIO has no reports of a device's log"
        : null;
    },
    run: async () => {
      // Each new device has another state.
      const [device, second] = [new GuestDevice(type!), new GuestDevice(type!)];
      try {
        const settings = { size: 64 << 10, chunk: 16 << 10, bug, fault: FAULTS[bug] ?? "" };
        for (const one of [device, second]) one.set(settings);
        const verdicts = await verdictsOf(bug, device, second);
        const seen = verdicts.map(({ id, outcome, seen }) => `${outcome} ${id}: ${seen}`);
        assert.ok(verdicts.some((verdict) => finds(verdict, bug)), seen.join("\n"));
      } finally {
        for (const one of [device, second]) one.remove();
      }
    },
  };
}

/** A case for each bug. */
export const cases: readonly Case[] = [...CARRIED].map(([, bug]) => caseOf(bug as BugName));
