import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openDevices, restore, save, type TransferReport, verifyCheckpoint } from "../../mod.ts";
import { StateTimes } from "../../src/migration/protocol/state_times.ts";
import { Rounds } from "../../src/migration/protocol/precopy_rounds.ts";
import { jointStandstill, standstill, type StateChange } from "../../src/vfio/state/standstill.ts";

type DeviceReport = TransferReport["devices"][number];

/** Changes of a state, from what a thread sees: times in milliseconds. */
function changesOf(
  ...seen: readonly (readonly [at: number, what: Parameters<StateTimes["state"]>[0] | "data"])[]
): readonly StateChange[] {
  let now = 0;
  const times = new StateTimes(() => now);
  for (const [at, what] of seen) {
    now = at;
    if (what === "data") times.moved();
    else times.state(what);
  }
  return times.changes;
}

describe("standstill", () => {
  it("is from the step that stops a device until it runs again, in parts", () => {
    const found = standstill(changesOf(
      ...[[0, "running"], [1, "running"], [4, "stop-copy"], [10, "data"], [12, "data"]] as const,
      ...[[30, "stop-copy"], [33, "stop"], [80, "stop"], [90, "running"]] as const,
    ))!;
    assert.deepEqual(found, {
      seconds: 0.089,
      begun: 1,
      ended: 90,
      parts: [
        { kind: "arc", state: "running", to: "stop-copy", seconds: 0.003 },
        { kind: "first-byte", state: "stop-copy", to: null, seconds: 0.006 },
        { kind: "data", state: "stop-copy", to: null, seconds: 0.02 },
        { kind: "arc", state: "stop-copy", to: "stop", seconds: 0.003 },
        { kind: "commit", state: "stop", to: null, seconds: 0.047 },
        { kind: "arc", state: "stop", to: "running", seconds: 0.01 },
      ],
    });
  });

  it("does not count the states in which a device works", () => {
    const found = standstill(changesOf(
      ...[[0, "running"], [5, "pre-copy"], [6, "data"], [50, "pre-copy"]] as const,
      ...[[51, "pre-copy-p2p"], [51, "pre-copy-p2p"], [52, "stop-copy"], [55, "data"]] as const,
      ...[[60, "stop-copy"], [61, "running-p2p"], [70, "running-p2p"], [71, "running"]] as const,
    ))!;
    assert.equal(found.seconds, 0.01);
    assert.deepEqual(found.parts.map(({ kind }) => kind), ["arc", "first-byte", "data", "arc"]);
  });

  it("has no end while a device is stopped, and is none if it never stopped", () => {
    const stopped = standstill(changesOf([0, "running"], [1, "running"], [2, "stop"]))!;
    assert.equal(stopped.seconds, null);
    assert.equal(standstill(changesOf([0, "running"], [1, "pre-copy"])), null);
    assert.equal(jointStandstill([stopped, null]), null);
    assert.equal(jointStandstill([null]), null);
  });

  it("of several devices is from the first that stops to the last that runs", () => {
    const one = standstill(changesOf([10, "running"], [11, "stop"], [11, "stop"], [20, "running"]));
    const other = standstill(changesOf([5, "running"], [6, "stop"], [6, "stop"], [15, "running"]));
    assert.equal(jointStandstill([one, other, null]), 0.015);
  });
});

describe("the report of pre-copy", () => {
  it("has its rounds, and why it ended", () => {
    let now = 0;
    const limits = { threshold: 10, downtimeMs: 0, maxRounds: 5, maxTimeMs: Infinity };
    const rounds = new Rounds(limits, () => now);
    assert.equal(rounds.fits(100) || rounds.exhausted(100), false);
    now = 40;
    rounds.read(100);
    assert.equal(rounds.fits(50) || rounds.exhausted(50), false);
    now = 60;
    rounds.read(50);
    assert.equal(rounds.fits(8), true);
    assert.deepEqual(rounds.report(), {
      rounds: [
        { pending: 100, bytes: 100, seconds: 0.04 },
        { pending: 50, bytes: 50, seconds: 0.02 },
      ],
      ended: "threshold",
      pending: 8,
    });
  });

  const limits = { threshold: 0, downtimeMs: 0, maxRounds: 3, maxTimeMs: 1000 };
  const ends = (given: Partial<typeof limits>, pending: number, milliseconds: number): string => {
    let now = 0;
    const rounds = new Rounds({ ...limits, ...given }, () => now);
    for (let round = 0; round < 10; round++) {
      if (rounds.fits(pending) || rounds.exhausted(pending)) break;
      rounds.read(pending);
      now += milliseconds;
    }
    return rounds.report().ended;
  };
  for (
    const [why, given, pending, milliseconds] of [
      ["threshold", { threshold: 100 }, 100, 1],
      ["downtime", { downtimeMs: 5 }, 100, 5],
      ["rounds", { maxRounds: 1 }, 100, 1],
      ["time", { maxTimeMs: 10 }, 100, 20],
      ["not-converging", {}, 100, 1],
    ] as const
  ) {
    it(`says ${why}`, () => assert.equal(ends(given, pending, milliseconds), why));
  }
});

describe("the downtime of", () => {
  const parts = ({ downtime }: DeviceReport): string[] =>
    downtime!.parts.map(({ kind, state, to }) => kind === "arc" ? `${state} ${to}` : kind);
  const demandWhole = ({ downtime }: DeviceReport): void => {
    const sum = downtime!.parts.reduce((all, { seconds }) => all + seconds, 0);
    assert.ok(Math.abs(sum - downtime!.seconds!) < 1e-5, `${sum} of ${downtime!.seconds}`);
    assert.ok(downtime!.parts.every(({ seconds }) => seconds >= 0));
  };
  const checkpoint: Uint8Array<ArrayBuffer>[] = [];
  const names = ["sim:mlx5?size=256KiB", "sim:trapped?size=256KiB"];

  it("a save has every arc, the data and the commit of each device", async () => {
    await using devices = await openDevices(names);
    const target = new WritableStream<Uint8Array<ArrayBuffer>>({
      write: (chunk) => void checkpoint.push(chunk.slice()),
    });
    const begun = performance.now();
    const report = await save(devices, target, { precopy: {} });
    const seconds = (performance.now() - begun) / 1000;
    // The checkpoint says the same, as far as it went when the checkpoint was written.
    const stored = await verifyCheckpoint(ReadableStream.from(checkpoint));
    for (const [number, { phases, precopy, downtime }] of report.devices.entries()) {
      const own = stored.times.filter(({ device }) => device === number);
      assert.deepEqual(
        own.map(({ phase, seconds }) => ({ name: phase, seconds })),
        phases.map(({ name, seconds }) => ({ name, seconds })),
      );
      assert.deepEqual(own.map(({ precopy }) => precopy), [precopy, null]);
      const [before, after] = own.map(({ downtime }) => downtime);
      assert.deepEqual(before, []);
      assert.ok(after!.length >= 4);
      assert.deepEqual(after, downtime!.parts.slice(0, after!.length));
      assert.equal(downtime!.parts[after!.length]!.kind, "commit");
    }
    for (const device of report.devices) {
      demandWhole(device);
      assert.ok(device.downtime!.seconds! <= report.downtimeSeconds!);
      assert.ok(device.precopy!.rounds.length >= 1);
      const read = device.precopy!.rounds.reduce((all, { bytes }) => all + bytes, 0);
      assert.equal(read, device.phases[0]!.bytes);
    }
    assert.ok(report.downtimeSeconds! <= seconds);
    assert.deepEqual(report.devices.map(parts), [
      [
        ...["pre-copy-p2p stop-copy", "first-byte", "data", "stop-copy stop", "commit"],
        "stop running-p2p",
      ],
      [
        ...["pre-copy stop-and-copy", "first-byte", "data", "stop-and-copy stop", "commit"],
        "stop running",
      ],
    ]);
  });

  it("a restore has the same", async () => {
    await using devices = await openDevices(names);
    const report = await restore(devices, ReadableStream.from(checkpoint));
    for (const device of report.devices) {
      demandWhole(device);
      assert.equal(device.precopy, null);
    }
    const [v2, v1] = report.devices.map(parts);
    assert.deepEqual(v2!.filter((part) => part !== "wait"), [
      ...["running-p2p stop", "stop resuming", "first-byte", "data", "resuming stop", "commit"],
      "stop running-p2p",
    ]);
    assert.deepEqual(v1, ["running resuming", "first-byte", "data", "resuming running"]);
  });

  it("devices that stay stopped has no end", async () => {
    await using devices = await openDevices(names);
    const report = await save(devices, new WritableStream(), { leave: "stop" });
    assert.equal(report.downtimeSeconds, null);
    assert.ok(report.devices.every(({ downtime }) => downtime!.seconds === null));
  });
});
