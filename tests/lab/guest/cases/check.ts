/**
 * `check` on real kernels: this project's driver passes, and what the kernel's own sample device
 * does against the rules is found.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { check, type Verdict } from "../../../../src/check/mod.ts";
import { deno, expectExit, vfiokit, wholeJson } from "../programs.ts";
import { type DeviceType, GuestDevice, lacks, type Settings, TYPES } from "../device.ts";
import { busy, busyProgram } from "../busy.ts";
import { type Case, minutes } from "../harness.ts";
import { lacksMtty, Mtty } from "../mtty.ts";

const SMALL: Settings = { size: 64 << 10, chunk: 16 << 10 };

/** What a case shows of a verdict. */
function shown({ id, outcome, rule, expected, seen, done }: Verdict): string {
  return `${outcome} ${id} (rule ${rule.number}): expected ${expected}; seen ${seen}; ` +
    `done ${done.slice(-6).join("; ")}`;
}

/** Runs all checks in their own thread; prints what is no pass, and the totals. */
async function verdictsOf(
  name: string,
  second: string,
  load?: () => Promise<AsyncDisposable>,
): Promise<{ verdicts: Verdict[]; lost: string | null }> {
  const run = check(name, { second, safety: "destructive", timeoutMs: 60_000, load });
  const verdicts: Verdict[] = [];
  for await (const verdict of run) {
    verdicts.push(verdict);
    if (verdict.outcome !== "pass" && verdict.outcome !== "skip") console.log(shown(verdict));
  }
  const count = (outcome: string): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const words = ["pass", "fail", "warn", "skip", "unclear"]
    .map((outcome) => `${count(outcome)} ${outcome}`);
  console.log(`check of ${name}: ${words.join(", ")}`);
  return { verdicts, lost: run.lost };
}

function ids(verdicts: readonly Verdict[], outcome: Verdict["outcome"]): string[] {
  return verdicts.filter((verdict) => verdict.outcome === outcome).map(({ id }) => id);
}

function cleanCase(type: DeviceType): Case {
  return {
    name: `check: ${type}: this project's driver fails no check`,
    lacks: () => lacks(type),
    run: async () => {
      const [first, second] = [new GuestDevice(type), new GuestDevice(type)];
      try {
        for (const device of [first, second]) device.set(SMALL);
        const { verdicts, lost } = await verdictsOf(
          first.uuid,
          second.uuid,
          () => busy(first),
        );
        assert.equal(lost, null);
        assert.deepEqual(ids(verdicts, "fail"), []);
        assert.ok(ids(verdicts, "pass").length > 20);
      } finally {
        for (const device of [first, second]) device.remove();
      }
    },
  };
}

/** What the kernel's own sample device fails; docs/check-results.md says why. */
const MTTY_FAILS: readonly string[] = [
  "v2.log.start-twice",
  // Kernels without iommufd refuse REPORT before the driver sees it.
  ...(existsSync("/dev/iommu") ? ["v2.log.report-while-off"] : []),
  ...["running_p2p", "pre_copy", "pre_copy_p2p", "stop", "stop_copy", "resuming"]
    .map((state) => `v2.close.in-${state}`),
  "v2.resume.damaged-head",
  "v2.resume.refused-write",
];

/** What its driver does against the rules. */
export const cases: readonly Case[] = [
  ...([...TYPES, "v2-p2p", "v2-full"] as const).map(cleanCase),
  // These have less of the protocol than the others of v2.
  ...minutes((["v2", "v2-precopy"] as const).map(cleanCase)),
  {
    name: "check: mtty: it keeps its state when it is closed, and starts its log twice",
    lacks: lacksMtty,
    run: async () => {
      using first = new Mtty(1);
      using second = new Mtty(1);
      const { verdicts, lost } = await verdictsOf(first.uuid, second.uuid);
      assert.equal(lost, null);
      assert.deepEqual(ids(verdicts, "fail").sort(), [...MTTY_FAILS].sort());
    },
  },
  {
    name: "check: the command line, with a program that keeps the device busy",
    lacks: () => lacks("v2-full"),
    run: async (folder) => {
      const device = new GuestDevice("v2-full");
      try {
        device.set(SMALL);
        const report = `${folder}/check.html`;
        const words = [
          ...[...vfiokit(deno), "check", device.uuid, "--only", "v2.dma", "--json"],
          ...["--report", report, "--", ...busyProgram(device)],
        ];
        const { verdicts } = wholeJson<{ verdicts: { outcome: string }[] }>(
          await expectExit(0, words),
        );
        assert.deepEqual(
          verdicts.map(({ outcome }) => outcome),
          ["pass", "pass", "pass", "pass"],
        );
        assert.ok(existsSync(report));
      } finally {
        device.remove();
      }
    },
  },
  {
    name: "check: signals interrupt the reads of a driver that waits, and nothing is lost",
    lacks: () => lacks("v2"),
    run: async () => {
      const device = new GuestDevice("v2");
      try {
        device.set({ ...SMALL, fault: "block:20" });
        const verdicts: Verdict[] = [];
        for await (const verdict of check(device.uuid, { only: ["signals"] })) {
          verdicts.push(verdict);
        }
        assert.deepEqual(verdicts.map(({ outcome }) => outcome), ["pass"], shown(verdicts[0]!));
        assert.match(verdicts[0]!.done.join("; "), /; [1-9]\d* reads were interrupted/);
      } finally {
        device.remove();
      }
    },
  },
  {
    name: "check: a device that was lent is left open, and in RUNNING",
    lacks: () => lacks("v2-full"),
    run: async () => {
      const device = new GuestDevice("v2-full");
      try {
        device.set(SMALL);
        const inner = [...vfiokit(deno), "check", "fd:3", "--only", "close", "--only", "features"];
        const { stdout } = await expectExit(0, [
          ...[...vfiokit(deno), "with", device.uuid, "--", "sh", "-c"],
          `${inner.map((word) => `'${word}'`).join(" ")} --reset --json`,
        ]);
        const { device: lent, verdicts } = JSON.parse(stdout) as {
          device: { borrowed: boolean };
          verdicts: { group: string; outcome: string }[];
        };
        assert.equal(lent.borrowed, true);
        for (const { group, outcome } of verdicts) {
          if (group === "close") assert.equal(outcome, "skip");
          else assert.notEqual(outcome, "fail");
        }
      } finally {
        device.remove();
      }
    },
  },
];
