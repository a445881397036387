/**
 * Dirty pages by the device's own log: exactly those that the driver wrote,
 * where the kernel reports them; by type1 and with a word on why, where not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { DirtySession, type DirtySessionOptions } from "../../../../src/dirty/mod.ts";
import { UnsupportedError } from "../../../../mod.ts";
import { isErrno } from "../../../../src/kernel/sys_error.ts";
import { askLogOrder, LogCalls } from "../../../migration/v2_cases/log_calls.ts";
import { type GuestDevice, lacks, type Settings, withDevice, withPair } from "../device.ts";
import { type Case, eachKernel } from "../harness.ts";
import { withCalls } from "../library.ts";
import { bun, expectExit, reported, vfiokit, wholeJson } from "../programs.ts";

const PAGE = 4096n;
const MIB = 1n << 20n;
const MAPS = [{ iova: 0x100000n, size: MIB }, { iova: 1n << 32n, size: MIB }];
const MAP = ["--map", "0x100000:1MiB", "--map", "4GiB:1MiB"];

/** Whether this kernel's VFIO can report a log: Debian's stock ones from 6.12 on cannot. */
function reports(): string | null {
  const missing = lacks("v2-p2p");
  if (missing !== null) return missing;
  const [major, minor] = release();
  if (major === 6 && minor < 2 || iommufd()) return null;
  return "this kernel is built without CONFIG_IOMMUFD, and cannot report a device's log";
}

function mute(): string | null {
  const missing = lacks("v2-p2p");
  if (missing !== null) return missing;
  return reports() === null ? "this kernel reports a device's log" : null;
}

function release(): readonly [number, number] {
  const [major, minor] = readFileSync("/proc/sys/kernel/osrelease", "utf8").split(".");
  return [Number(major), Number(minor)];
}

function iommufd(): boolean {
  return readFileSync("/proc/misc", "utf8").includes(" iommu\n");
}

function order(device: GuestDevice, text: string): void {
  writeFileSync(device.dmaFile, text);
}

/** Lends a device with a log, and a session that tracks by it. */
function withLog(
  settings: Settings,
  options: DirtySessionOptions,
  use: (session: DirtySession, device: GuestDevice) => void,
): Promise<void> {
  return withDevice("v2-p2p", settings, async (device) => {
    await Promise.resolve();
    using session = DirtySession.open(device.uuid, { maps: MAPS, ...options });
    use(session, device);
  });
}

function runs(session: DirtySession): (readonly [string, number])[] {
  return [...session.tracker.read().runs()]
    .map(({ iova, size }) => [`0x${iova.toString(16)}`, Number(size)] as const);
}

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

const exact: readonly Case[] = [
  {
    name: "log: exactly the pages that were written since the last report, each once",
    lacks: reports,
    run: () =>
      withLog({}, {}, (session, device) => {
        assert.equal(session.tracker.name, "device");
        assert.match(session.trackerReason ?? "", /log of its own DMA, and the kernel reports it/);
        order(device, "write 0x100000 1");
        session.tracker.start();
        assert.deepEqual(runs(session), []);
        order(device, "write 0x103000 2");
        order(device, "write 0x1ff000 1");
        order(device, "write 0x100000000 1");
        order(device, "pin 0x180000 3");
        // A pinned page that the device did not write to is not in its log.
        assert.deepEqual(runs(session), [
          ["0x103000", 0x2000],
          ["0x1ff000", 0x1000],
          ["0x100000000", 0x1000],
        ]);
        assert.deepEqual(runs(session), []);
      }),
  },
  {
    name: "log: a device that logs by 64 KiB shows blocks of that size",
    lacks: reports,
    run: () =>
      withLog({ log_page: 64 << 10 }, { tracker: "device" }, (session, device) => {
        session.tracker.start();
        order(device, "write 0x113000 1");
        assert.deepEqual(runs(session), [["0x110000", 0x10000]]);
        assert.deepEqual(runs(session), []);
      }),
  },
  {
    name: "log: a device that logs by 2 MiB: neighbours in one block, none lost",
    lacks: reports,
    run: () =>
      withLog({ log_page: 2 << 20 }, {
        maps: [{ iova: 0x100000n, size: MIB / 2n }, { iova: 0x180000n, size: MIB }],
        tracker: "device",
      }, (session, device) => {
        session.tracker.start();
        order(device, "write 0x17f000 1");
        // All of the block that is mapped: the first mapping, half of the second.
        assert.deepEqual(runs(session), [["0x100000", 0x80000], ["0x180000", 0x80000]]);
        assert.deepEqual(runs(session), []);
      }),
  },
  {
    name: "log: 300 mappings are more ranges than the kernel takes: none is lost",
    lacks: reports,
    run: () => {
      const maps = Array.from({ length: 300 }, (_, n) => ({
        iova: BigInt(n) * 4n * MIB,
        size: 4n * PAGE,
      }));
      return withLog({}, { maps, tracker: "device" }, (session, device) => {
        session.tracker.start();
        const written = [0, 1, 150, 298, 299].map((n) => n * (4 << 20) + 0x2000);
        for (const iova of written) order(device, `write 0x${iova.toString(16)} 1`);
        assert.deepEqual(runs(session), written.map((iova) => [`0x${iova.toString(16)}`, 0x1000]));
        assert.deepEqual(runs(session), []);
      });
    },
  },
  {
    name: "log: unmapped with its last dirty pages",
    lacks: reports,
    run: () =>
      withLog({}, { tracker: "device" }, (session, device) => {
        session.tracker.start();
        order(device, "write 0x1fe000 2");
        order(device, "write 0x100000000 1");
        const { reading, unmapped, error } = session.tracker.unmapWithDirty(0x100000n, MIB);
        assert.deepEqual([unmapped, error], [MIB, null]);
        assert.deepEqual([...reading.runs()], [{ iova: 0x1fe000n, size: 0x2000n }]);
        assert.deepEqual(runs(session), [["0x100000000", 0x1000]]);
      }),
  },
  {
    name: "log: a report that fails with EIO: all is dirty from then on, and it is said why",
    lacks: reports,
    run: () =>
      withLog({}, { tracker: "device" }, (session, device) => {
        session.tracker.start();
        device.set({ fault: "log-report:2:EIO" });
        for (const lost of [1, 2, 2]) {
          const reading = session.tracker.read();
          assert.equal(reading.lost.length, lost);
          assert.match(String(reading.lost.at(-1)?.lost), /EIO/);
        }
        assert.deepEqual(runs(session), [["0x100000", 1 << 20], ["0x100000000", 1 << 20]]);
      }),
  },
];

const choices: readonly Case[] = [
  {
    name: "log: a log that does not start leaves the tracking to type1",
    lacks: () => lacks("v2-p2p"),
    run: () =>
      withLog({ fault: "log-start:1:EOPNOTSUPP" }, {}, (session, device) => {
        assert.equal(session.tracker.name, "type1");
        assert.match(session.trackerReason ?? "", /DMA_LOGGING_START: EOPNOTSUPP/);
        session.tracker.start();
        order(device, "write 0x103000 1");
        assert.deepEqual(runs(session), [["0x103000", 0x1000]]);
      }),
  },
  {
    name: "log: a kernel that cannot report it: auto takes type1, device is refused",
    lacks: mute,
    run: () =>
      withLog({}, {}, (session, device) => {
        assert.equal(session.tracker.name, "type1");
        assert.match(session.trackerReason ?? "", /DMA_LOGGING_REPORT: EOPNOTSUPP/);
        session.tracker.start();
        order(device, "write 0x103000 1");
        assert.deepEqual(runs(session), [["0x103000", 0x1000]]);
        session.close();
        assert.throws(
          () => DirtySession.open(device.uuid, { maps: MAPS, tracker: "device" }),
          (error) =>
            error instanceof UnsupportedError && error.reasons[0]?.code === "device-log-unreadable",
        );
      }),
  },
  {
    name: "log: a device without one: auto takes type1, device is refused",
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", {}, async ({ uuid }) => {
        await Promise.resolve();
        {
          using session = DirtySession.open(uuid, { maps: MAPS });
          assert.equal(session.tracker.name, "type1");
          assert.match(session.trackerReason ?? "", /DMA_LOGGING_START: ENOTTY/);
        }
        assert.throws(
          () => DirtySession.open(uuid, { maps: MAPS, tracker: "device" }),
          (error) =>
            error instanceof UnsupportedError && error.reasons[0]?.code === "no-device-log",
        );
      }),
  },
];

interface Said {
  readonly tracker: string;
  readonly trackerReason: string;
  readonly runs: readonly unknown[];
}

const commands: readonly Case[] = [
  {
    name: "log: dirty get and watch --tracker auto: the pages, and who tracks them",
    lacks: () => lacks("v2-p2p"),
    run: () =>
      withPair("v2-p2p", {}, async ({ uuid, dmaFile }) => {
        const tracker = reports() === null ? "device" : "type1";
        const program = ["--", "sh", "-c", `echo write 0x103000 2 > ${dmaFile}`];
        const get = [...vfiokit(bun), "dirty", "get", uuid, ...MAP, "--json", "-q", ...program];
        const got = wholeJson<Said>(reported(await expectExit(0, get)));
        assert.deepEqual([got.tracker, got.runs], [tracker, [["0x103000", 0x2000]]]);
        assert.match(got.trackerReason, tracker === "device" ? /reports it/ : /EOPNOTSUPP/);
        const watch = [
          "dirty",
          "watch",
          uuid,
          ...MAP,
          "--every",
          "50ms",
          "--json",
          "-q",
          ...program,
        ];
        const { stdout } = reported(await expectExit(0, [...vfiokit(bun), ...watch]));
        const rounds: Said[] = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
        assert.deepEqual(rounds.flatMap((round) => round.runs), [["0x103000", 0x2000]]);
      }),
  },
];

const calls: readonly Case[] = [
  {
    name: "log: each call is checked in the order that the simulator has",
    lacks: () => lacks("v2-p2p"),
    run: () =>
      withPair("v2-p2p", {}, async (device) => {
        await Promise.resolve();
        withCalls(device, (calls) => {
          using log = new LogCalls(calls);
          askLogOrder(log);
          log.start([[0n, 64n * PAGE]]);
          log.stop();
        });
      }),
  },
  {
    name: "log: every misuse is refused, and counted",
    lacks: reports,
    run: () =>
      withPair("v2-p2p", { log_page: 8192 }, async (device) => {
        await Promise.resolve();
        withCalls(device, (calls) => {
          using log = new LogCalls(calls);
          refused("EINVAL", () => log.report(0n, 64n * PAGE));
          assert.equal(log.start([[0n, 64n * PAGE]]), 8192n);
          refused("EINVAL", () => log.start([[0n, 64n * PAGE]]));
          refused("EINVAL", () => log.report(PAGE, 2n * PAGE));
          refused("EINVAL", () => log.report(0n, 128n * PAGE));
          assert.deepEqual(log.report(0n, 64n * PAGE), []);
          log.stop();
          log.stop();
          log.start([[0n, 64n * PAGE]]);
        });
        assert.deepEqual(device.violations, [
          "log reported that is not on",
          "log started twice",
          "log of 0x1000:0x2000 reported, pages are 0x2000",
          "log of 0x0:0x80000 reported, never started",
          "log stopped that is not on",
          "closed with its log on",
        ]);
        device.forgetViolations();
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...exact, ...choices, ...commands, ...eachKernel(calls)];
