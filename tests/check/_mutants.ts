/** Simulated drivers with one bug each, and what the checks say of them. */

import { Buffer } from "node:buffer";
import { CHECKS, V2Device, type Verdict } from "../../src/check/mod.ts";
import { PERSONALITIES, type PersonalityName, SimKernel } from "../../src/sim/mod.ts";
import { openVfioDevices, parseDeviceName } from "../../src/vfio/mod.ts";
import { type BugName, BUGS, canHaveBug } from "../../src/sim/faults/bug_table.ts";
import { verdictsOf } from "./_run.ts";

/** Personalities, the one that has most of the protocol first. */
const BY_RICHNESS: readonly PersonalityName[] = [
  ...["mlx5", "mapped", "stop-copy-only", "pds", "trapped"] as const,
];

/** What a bug needs beside a driver that can have it. */
const OPTIONS: Readonly<Partial<Record<BugName, string>>> = {
  // A way into ERROR.
  "error-left": "fault=error-state:1",
  "reset-keeps-error": "fault=error-state:1",
  "error-written": "fault=error-state:1",
  // Something that changes while the device runs.
  "change-unpolled": "rate=64KiB",
  "restore-ignored": "rate=64KiB",
  "precopy-loses": "rate=64KiB",
};

/** The spec of a device with a bug, and options that are needed to see it. */
export function specOf(bug: BugName): string {
  const reinit = BUGS[bug].to === "v2-reinit" ? 2 : null;
  const personality = BY_RICHNESS.find((name) => canHaveBug({ personality: name, reinit }, bug));
  if (personality === undefined) throw new Error(`no driver can have the bug ${bug}`);
  const options = [
    ...["size=32KiB", "chunk=8KiB", `bug=${bug}`],
    ...(reinit === null ? [] : [`reinit=${reinit}`]),
    ...(BUGS[bug].rule === 40 || BUGS[bug].rule === 139 || BUGS[bug].to === "v2-log"
      ? ["dma=random:2000/s"]
      : []),
    ...(OPTIONS[bug] === undefined ? [] : [OPTIONS[bug]]),
  ];
  return `sim:${personality}?${options.join("&")}`;
}

/** The checks that judge by the rule that a bug breaks. */
export function checksOf(bug: BugName): string[] {
  const protocol = BUGS[bug].to.startsWith("v1") ? "v1" : "v2";
  return CHECKS
    .filter(({ rules, needs }) =>
      rules.some(({ number }) => number === BUGS[bug].rule) &&
      (needs.protocol === undefined || needs.protocol === protocol ||
        PERSONALITIES.mapped.protocol === needs.protocol && BUGS[bug].to === "any")
    )
    .map(({ id }) => id);
}

/** Whether a verdict finds a driver at fault. */
export function isFound({ outcome }: Verdict): boolean {
  return outcome === "fail" || outcome === "warn";
}

/** The data of another kind of device. */
function dataOf(personality: PersonalityName): Uint8Array<ArrayBuffer> {
  const kernel = new SimKernel(`sim:${personality}?size=64KiB`);
  using device = openVfioDevices(kernel, [parseDeviceName(kernel.devices[0]!.path)])[0]!;
  const v2 = new V2Device(kernel, () => device, 1, { step: () => {} });
  const { chunks } = v2.save();
  return new Uint8Array(Buffer.concat(chunks));
}

/** What the checks that judge by a bug's rule say of a driver that has it. */
export async function judged(bug: BugName): Promise<Verdict[]> {
  const only = checksOf(bug);
  if (only.length === 0) return [];
  const foreign = BUGS[bug].rule === 73 ? dataOf("pds") : undefined;
  const { verdicts } = await verdictsOf([specOf(bug)], { only, safety: "destructive", foreign });
  return verdicts;
}
