import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { openDevice } from "../../src/migration/device.ts";
import { Gate, HELD } from "../_gate.ts";
import { until } from "../_until.ts";
import { failure, memorySink, memorySource, statesOf, withTeam } from "./_several.ts";
import { read, whole } from "../checkpoint/_tools.ts";

const SIZE = "size=256KiB&chunk=16KiB";

describe("save()", () => {
  it("writes one checkpoint of devices of both protocols, that others become equal by", async () => {
    const kinds = ["mlx5", "trapped", "qat", "stop-copy-only", "hisi", "partitioned"];
    const sink = memorySink();
    let sums: number[] = [];
    const from = kinds.map((kind, seed) => `${kind}?${SIZE}&rate=1MiB&seed=${1 + seed}`);
    await withTeam(from, async ({ devices, sims }) => {
      const options = { precopy: { maxRounds: 3 }, leave: "stop" } as const;
      const report = await save(devices, sink, options);
      assert.deepEqual(report.devices.map(({ state }) => state), kinds.map(() => "stop"));
      assert.deepEqual(report.devices.map(({ p2p }) => p2p), [
        true,
        false,
        true,
        false,
        false,
        false,
      ]);
      assert.deepEqual(report.phases.map(({ name }) => name), ["pre-copy", "stop-and-copy"]);
      for (const [index, { name, bytes, phases }] of report.devices.entries()) {
        assert.equal(name, devices[index]!.name);
        assert.equal(bytes, phases.reduce((sum, phase) => sum + phase.bytes, 0));
        const names = phases.map((phase) => phase.name);
        const all = kinds[index] === "stop-copy-only" ? [] : ["pre-copy"];
        assert.deepEqual(names, [...all, "stop-and-copy"]);
      }
      assert.equal(report.bytes, report.devices.reduce((sum, { bytes }) => sum + bytes, 0));
      sums = sims.map((device) => device.checksum());
    });
    assert.equal(sink.state, "committed");
    const { trailer, error } = read(sink.bytes);
    assert.equal(error, null);
    assert.equal(trailer?.devices.length, kinds.length);
    const to = kinds.map((kind, seed) => `${kind}?${SIZE}&seed=${20 + seed}`);
    await withTeam(to, async ({ devices, sims }) => {
      const source = memorySource(sink.bytes);
      const report = await restore(devices, source, { leave: "stop" });
      assert.deepEqual(sims.map((device) => device.checksum()), sums);
      assert.deepEqual(
        report.devices.map(({ bytes }) => bytes),
        trailer!.devices.map(({ bytes }) => bytes),
      );
    });
  });

  it("has all in P2P before the first one stops, and again before the first one runs", async () => {
    const specs = ["mlx5", "qat", "pds", "trapped"].map((kind) => `${kind}?${SIZE}`);
    await withTeam(specs, async ({ devices, arcs }) => {
      await save(devices, memorySink(), { precopy: {} });
      const last = (state: string): number => Math.max(...all(state));
      const first = (state: string): number => Math.min(...all(state));
      const all = (state: string): number[] =>
        arcs.flatMap((arc, index) => arc.endsWith(` ${state}`) ? [index] : []);
      const text = arcs.join(", ");
      assert.equal(all("PRE_COPY_P2P").length, 2, text);
      const back = arcs.lastIndexOf("0 RUNNING_P2P");
      const held = Math.max(last("PRE_COPY_P2P"), arcs.indexOf("2 RUNNING_P2P"));
      const stops = [first("STOP_COPY"), first("STOP"), first("010b")];
      for (const stop of stops) assert.ok(held < stop, text);
      // Nobody leaves STOP_COPY, its end, before all have come there.
      const stopped = Math.max(last("STOP_COPY"), last("010b"));
      for (const number of [0, 1]) assert.ok(arcs.indexOf(`${number} STOP`) > stopped, text);
      assert.ok(arcs.indexOf("3 000b") > stopped, text);
      assert.ok(last("RUNNING_P2P") < first("RUNNING"), text);
      assert.ok(back > stopped && last("RUNNING_P2P") < arcs.lastIndexOf("3 001b"), text);
    });
  });

  it("writes of one device what save() writes", async () => {
    const { save } = await import("../../src/transfer/save.ts");
    await withTeam([`mapped?${SIZE}`], async ({ devices }) => {
      const [alone, joint] = [memorySink(), memorySink()];
      await save(devices[0]!, alone);
      await save(devices, joint);
      assert.deepEqual(
        whole(read(joint.bytes).transactions),
        whole(read(alone.bytes).transactions),
      );
    });
  });

  it("compresses, and adds a digest", async () => {
    await withTeam([`mlx5?${SIZE}`, `trapped?${SIZE}`], async ({ devices }) => {
      const sink = memorySink();
      await save(devices, sink, { compress: "zstd", digest: "sha256" });
      assert.match(read(sink.bytes).trailer!.sha256!, /^[0-9a-f]{64}$/);
    });
  });

  it("takes devices that were stopped before, and does not let them run for it", async () => {
    await withTeam([`mlx5?${SIZE}`, `stop-copy-only?${SIZE}`], async ({ devices, arcs }) => {
      for (const device of devices) await device.setState("stop");
      arcs.length = 0;
      await save(devices, memorySink(), { leave: "stop" });
      assert.deepEqual(arcs.filter((arc) => /RUNNING|001b/.test(arc)), []);
      for (const device of devices) await device.recover();
    });
  });

  it("refuses no device, one twice, and more than a checkpoint holds, before anything", async () => {
    await withTeam([`mlx5?${SIZE}`], async ({ devices: [device], arcs }) => {
      for (const devices of [[], [device!, device!], Array(65).fill(device)]) {
        const sink = memorySink();
        await assert.rejects(save(devices, sink), TypeError);
        assert.equal(sink.state, "aborted");
      }
      assert.deepEqual(arcs, []);
    });
  });
});

describe("save() that fails", () => {
  it("says which device does not migrate, and touches none", async () => {
    await withTeam([`mlx5?${SIZE}`, "none", `trapped?${SIZE}`], async ({ devices, arcs }) => {
      const sink = memorySink();
      const error = await failure(save(devices, sink), devices);
      assert.deepEqual(statesOf(error), ["running", null, "running"]);
      assert.match(error!.message, /^Cannot save 3 devices: device 1 \(.*\): .*migration region/);
      assert.equal((error!.cause as Error).name, "UnsupportedError");
      assert.equal(error!.lost, false);
      assert.deepEqual([arcs, sink.state], [[], "aborted"]);
    });
  });

  it("says which device is in a state that no save begins in, and leaves it there", async () => {
    await withTeam([`mlx5?${SIZE}`, `mlx5?${SIZE}`], async ({ devices, arcs }) => {
      await devices[1]!.setState("resuming");
      arcs.length = 0;
      const error = await failure(save(devices, memorySink()), devices);
      assert.deepEqual(statesOf(error), ["running", "resuming"]);
      assert.deepEqual([error!.code, arcs], ["wrong-state", []]);
      await devices[1]!.recover();
    });
  });

  it("brings all back when the sink takes no more, wherever that is", async () => {
    await withTeam([`mlx5?${SIZE}`, `trapped?${SIZE}`], async ({ devices }) => {
      // The times in a checkpoint have more digits or fewer, so writes are counted, not bytes.
      let most = 0;
      await save(devices, memorySink(() => void (most += 1)), { precopy: {} });
      assert.ok(most > 4);
      for (let index = 0; index < most; index++) {
        let writes = 0;
        const sink = memorySink(() => {
          if (writes++ >= index) throw new Error("no room");
        });
        const error = await failure(save(devices, sink, { precopy: {} }), devices);
        if (writes <= index) break;
        assert.deepEqual(statesOf(error), ["running", "running"]);
        assert.match(error!.message, /^Cannot save 2 devices: no room; all of them are running/);
        assert.deepEqual([error!.code, error!.failed, sink.state], ["io", [], "aborted"]);
      }
    });
  });

  it("brings all back when the commit fails", async () => {
    await withTeam([`mlx5?${SIZE}`, `trapped?${SIZE}`], async ({ devices }) => {
      const sink = { ...memorySink(), commit: () => Promise.reject(new Error("no such folder")) };
      const error = await failure(save(devices, sink), devices);
      assert.deepEqual(statesOf(error), ["running", "running"]);
      assert.deepEqual(error!.devices.map(({ recovery }) => recovery), ["running", "running"]);
    });
  });

  it("brings all back when it is interrupted, at whatever byte", async () => {
    await withTeam([`qat?${SIZE}`, `mlx5?${SIZE}`, `mapped?${SIZE}`], async ({ devices }) => {
      for (let at = 0; at < 3 * 256 * 1024; at += 40_000) {
        const abort = new AbortController();
        const sink = memorySink((before) => {
          if (before >= at) abort.abort(new Error("Ctrl-C"));
        });
        const { signal } = abort;
        const error = await failure(save(devices, sink, { precopy: {}, signal }), devices);
        assert.deepEqual(statesOf(error), ["running", "running", "running"]);
        assert.deepEqual([error!.code, error!.failed, sink.state], ["cancelled", [], "aborted"]);
        assert.match(
          error!.message,
          /^Cannot save 3 devices: interrupted; all of them are running/,
        );
      }
    });
  });

  it("keeps a checkpoint that is in its place though a device does not run again", async () => {
    // The arcs of 0: RUNNING_P2P, STOP, STOP_COPY, STOP, RUNNING_P2P, RUNNING.
    for (const [arc, left] of [[5, "stop"], [6, "running-p2p"]] as const) {
      const twice = [arc, arc + 1].map((nth) => `&fault=transition:${nth}:EIO`).join("");
      const specs = [`mlx5?${SIZE}${twice}`, `qat?${SIZE}`, `mapped?${SIZE}`];
      await withTeam(specs, async ({ devices }) => {
        const sink = memorySink();
        const error = await failure(save(devices, sink), devices);
        assert.deepEqual(statesOf(error), [left, "running", "running"]);
        assert.match(error!.message, /though the checkpoint is in its place: device 0 \(/);
        assert.equal(error!.hint!.remedy, "reset");
        assert.deepEqual(error!.failed.length, 1);
        assert.equal(sink.state, "committed");
        assert.equal(read(sink.bytes).error, null);
        await devices[0]!.recover();
      });
    }
  });

  it("refuses pre-copy if none of them has it, and touches nothing", async () => {
    await withTeam([`stop-copy-only?${SIZE}`, `pds?${SIZE}`], async ({ devices, arcs }) => {
      const error = await failure(save(devices, memorySink(), { precopy: {} }), devices);
      assert.equal(error!.code, "no-precopy");
      assert.deepEqual(arcs, []);
    });
  });

  it("reports a reset if one is in ERROR on its way back", async () => {
    await withTeam([`mlx5?${SIZE}&fault=error-state:5`, `qat?${SIZE}`], async ({ devices }) => {
      const error = await failure(save(devices, memorySink()), devices);
      assert.deepEqual(statesOf(error), ["running", "running"]);
      assert.match(error!.message, /device 0 \(.*\) was reset and is running/);
    });
  });

  it("brings back those that it can, if one is lost", async () => {
    const resets = [1, 2, 3].map((nth) => `&fault=reset:${nth}:EIO`).join("");
    const lost = `stop-copy-only?${SIZE}&fault=read:2:EIO&fault=error-state:3${resets}`;
    await withTeam([`qat?${SIZE}`, lost, `trapped?${SIZE}`], async ({ devices }) => {
      const error = await failure(save(devices, memorySink()), devices);
      assert.deepEqual(statesOf(error), ["running", "error", "running"]);
      assert.equal(error!.lost, true);
      assert.deepEqual(error!.devices.map(({ recovery }) => recovery), [
        "running",
        "failed",
        "running",
      ]);
      assert.deepEqual(error!.failed.map(({ name }) => name), [devices[1]!.name]);
      assert.match(error!.message, /device 1 \(.*\) could not be reset, and its state is error/);
    });
  });

  it("reports how a device was left, not what was tried first", async () => {
    const stubborn =
      `stop-copy-only?${SIZE}&fault=read:2:EIO&fault=error-state:3&fault=reset:1:EIO`;
    await withTeam([`qat?${SIZE}`, stubborn], async ({ devices }) => {
      const error = await failure(save(devices, memorySink()), devices);
      const { recovery, error: own } = error!.devices[1]!;
      assert.equal(recovery, "reset");
      assert.match(own!.message, /EIO.*; the device was reset and is running, its former state/);
      assert.doesNotMatch(own!.message, /could not be reset/);
    });
  });

  it("waits for a device that blocks while another fails, and stops no event loop", async () => {
    const gate = new Gate();
    await using slow = await openDevice(`sim:trapped?${SIZE}&fault=block:${HELD}:1`, {
      worker: gate.worker(),
    });
    // It fails only once the other one blocks, which would not begin after a failure.
    const before = new Gate();
    const spec = `sim:mlx5?${SIZE}&fault=block:${HELD}:1&fault=read:2:EIO`;
    await using failing = await openDevice(spec, { worker: before.worker() });
    const devices = [slow, failing];
    let ended = false;
    const saving = failure(save(devices, memorySink()), devices).finally(() => ended = true);
    await gate.reached();
    await before.reached();
    before.open();
    // Both were stopped before the first one blocked: this one has failed, and was brought back.
    await until(async () => (await failing.state()).state === "running", "the other runs again");
    assert.equal(ended, false);
    gate.open();
    const error = await saving;
    assert.deepEqual(statesOf(error), ["running", "running"]);
    assert.equal(error!.errno, "EIO");
    assert.match(error!.message, /device 1 \(sim:mlx5.*EIO.*; all of them are running again$/);
    assert.ok(error instanceof TransferError);
  });
});

describe("the memory of save()", () => {
  it("stays the same however slow the sink is", async () => {
    const specs = ["mlx5?size=24MiB", "trapped?size=24MiB", "mapped?size=24MiB"];
    await withTeam(specs, async ({ devices }) => {
      let most = 0;
      const sink = memorySink(async (before) => {
        // Whoever could go on has done so by then.
        for (let turn = 0; turn < 50; turn++) await Promise.resolve();
        const moved = devices.reduce((sum, device) => sum + device.progress().bytes, 0);
        most = Math.max(most, moved - before);
      });
      const { bytes } = await save(devices, sink);
      assert.ok(bytes > 72 << 20);
      assert.ok(most > 1 << 20 && most <= 3 * 5 << 20, `${most} bytes`);
    });
  });
});
