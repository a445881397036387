/** Simulated drivers with one bug each, and what the checks say of them. */

import { Buffer } from "node:buffer";
import { V2Device, type Verdict } from "../../src/check/mod.ts";
import { PERSONALITIES, type PersonalityName, SimKernel } from "../../src/sim/mod.ts";
import { openVfioDevices, parseDeviceName } from "../../src/vfio/mod.ts";
import { canHaveBug } from "../../src/sim/faults/bug_carriers.ts";
import { type BugName, BUGS } from "../../src/sim/faults/bug_table.ts";
import { checksOf } from "./_bug_checks.ts";
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

/** Bugs that show only if the restored device had another state before. */
const TWO_DEVICES: readonly BugName[] = ["v1-precopy-loses"];

/** Rules about what a device writes to memory. */
const DMA_RULES: readonly number[] = [40, 139, 148, 149];

/** The drivers that a bug is tried on: one of each protocol that can have it. */
export function carriersOf(bug: BugName): PersonalityName[] {
  const reinit = reinitOf(bug);
  const able = BY_RICHNESS.filter((name) => canHaveBug({ personality: name, reinit }, bug));
  return (["v2", "v1"] as const).flatMap((protocol) =>
    able.filter((name) => PERSONALITIES[name].protocol === protocol).slice(0, 1)
  );
}

/** What `reinit=N` has to be for a bug; null if it needs none. */
export function reinitOf(bug: BugName): number | null {
  return BUGS[bug].to === "v2-reinit" ? 2 : null;
}

/** The spec of a device with a bug, and options that are needed to see it. */
export function specOf(bug: BugName, personality: PersonalityName): string {
  const reinit = reinitOf(bug);
  const { rule, to } = BUGS[bug];
  const busy = DMA_RULES.includes(rule) || to === "v2-log";
  const options = [
    ...["size=32KiB", "chunk=8KiB", `bug=${bug}`],
    ...(reinit === null ? [] : [`reinit=${reinit}`]),
    ...(busy ? ["dma=random:2000/s"] : []),
    ...(OPTIONS[bug] === undefined ? [] : [OPTIONS[bug]]),
  ];
  return `sim:${personality}?${options.join("&")}`;
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
export async function judged(bug: BugName, personality: PersonalityName): Promise<Verdict[]> {
  const only = checksOf(bug, PERSONALITIES[personality].protocol);
  return only.length === 0 ? [] : await judgedBy(bug, personality, only);
}

/** What all checks say of a driver with a bug. */
export async function judgedByAll(bug: BugName, personality: PersonalityName): Promise<Verdict[]> {
  return await judgedBy(bug, personality, []);
}

async function judgedBy(
  bug: BugName,
  personality: PersonalityName,
  only: readonly string[],
): Promise<Verdict[]> {
  const foreign = BUGS[bug].rule === 73 ? dataOf("pds") : undefined;
  const spec = specOf(bug, personality);
  const specs = TWO_DEVICES.includes(bug) ? [spec, `${spec}&seed=9`] : [spec];
  const { verdicts } = await verdictsOf(specs, { only, safety: "destructive", foreign });
  return verdicts;
}
