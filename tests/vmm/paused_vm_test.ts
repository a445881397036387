import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openDevice, save } from "../../mod.ts";
import { repairVm, whilePaused } from "../../src/vmm/paused_vm.ts";
import { PausedVmError } from "../../src/vmm/paused_vm_error.ts";
import { QmpClient, QmpError } from "../../src/vmm/qmp/qmp_client.ts";
import { type Answer, FakeMonitor } from "./_fake_monitor.ts";
import { FakeVmm } from "./_fake_vmm.ts";

function nowhere(): WritableStream<Uint8Array<ArrayBuffer>> {
  return new WritableStream();
}

describe("a monitor", () => {
  it("answers commands, and events in between are passed over", async () => {
    await using monitor = new FakeMonitor({
      answer: () => ({ raw: '{"event": "STOP"}\n\n{"event": "RESUME"}\n{"return": {"a": 1}}' }),
    });
    using client = await QmpClient.connect(monitor.path);
    assert.deepEqual(await client.execute("query-x"), { a: 1 });
    assert.deepEqual(monitor.commands, ["query-x"]);
  });

  const BROKEN: readonly (readonly [what: string, answer: Answer, code: string])[] = [
    ["refuses a command", { raw: '{"error": {"class": "X", "desc": "no"}}' }, "refused"],
    ["closes the connection", "close", "closed"],
    ["speaks no JSON", { raw: "hello" }, "protocol"],
    ["says something that is no answer", { raw: "[1]" }, "protocol"],
    ["says a status that is none", { returns: { running: 1 } }, "protocol"],
    ["nests more deeply than makes sense", { raw: "[".repeat(1 << 19) }, "protocol"],
    ["never ends a line", { raw: `"${"x".repeat(3 << 20)}` }, "protocol"],
  ];
  for (const [what, answer, code] of BROKEN) {
    it(`is an error if it ${what}`, async () => {
      await using monitor = new FakeMonitor({ answer: () => answer });
      using client = await QmpClient.connect(monitor.path, { timeoutMs: 30_000 });
      await assert.rejects(client.status(), (error) => {
        assert.ok(error instanceof QmpError, String(error));
        assert.equal(error.code, code);
        return true;
      });
    });
  }

  it("is an error if nobody is there, or it greets otherwise, or never answers", async () => {
    const codeOf = async (path: string, timeoutMs: number): Promise<string> => {
      try {
        using _ = await QmpClient.connect(path, { timeoutMs });
        return "none";
      } catch (error) {
        return error instanceof QmpError ? error.code : String(error);
      }
    };
    assert.equal(await codeOf("/tmp/vfiokit-nobody-is-there", 60_000), "connect");
    await using other = new FakeMonitor({
      greeting: '{"hello": 1}',
      answer: () => ({ returns: {} }),
    });
    assert.equal(await codeOf(other.path, 60_000), "protocol");
    // Events are no answer, however many come.
    await using silent = new FakeMonitor({
      answer: () => ({ returns: {} }),
      capabilities: { raw: '{"event": "X"}\n'.repeat(1000) },
    });
    assert.equal(await codeOf(silent.path, 20), "timeout");
  });
});

describe("while a virtual machine is paused", () => {
  it("its device is saved, and both go on", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    const { value, running, pausedMs } = await whilePaused(
      device,
      monitor,
      () => save(device, nowhere(), { leave: "stop" }),
    );
    assert.ok(value.devices[0]!.phases.length > 0);
    assert.deepEqual([running, pausedMs !== null], [true, true]);
    assert.deepEqual(vmm.monitor.commands, ["query-status", "stop", "cont"]);
    assert.equal((await device.state()).state, "running");
  });

  it("its device stays stopped if it was paused before", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    await monitor.execute("stop");
    const report = await whilePaused(
      device,
      monitor,
      () => save(device, nowhere(), { leave: "stop" }),
    );
    assert.deepEqual([report.running, report.pausedMs], [false, null]);
    assert.equal((await device.state()).state, "stop");
    assert.deepEqual([vmm.running, vmm.monitor.commands.at(-1)], [false, "query-status"]);
  });

  for (const state of ["stop-and-copy", "running"] as const) {
    it(`a failure that leaves the device in ${state} ends with both going on`, async () => {
      await using device = await openDevice("sim:mlx5?size=64KiB");
      await using vmm = new FakeVmm(device);
      using monitor = await QmpClient.connect(vmm.monitor.path);
      const work = whilePaused(device, monitor, async () => {
        await device.setState(state);
        throw new Error("the disk is full");
      });
      await assert.rejects(work, /the disk is full/);
      assert.equal((await device.state()).state, "running");
      assert.equal(vmm.running, true);
    });
  }

  it("a device that cannot go back leaves it paused, and that is said", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    const work = whilePaused(device, monitor, async () => {
      await device.setState("resuming");
      throw new Error("cut");
    });
    await assert.rejects(work, (error) => {
      assert.ok(error instanceof PausedVmError);
      assert.deepEqual([error.code, error.deviceState], ["left-paused", "resuming"]);
      assert.match(error.message, /^cut; .* stays paused$/);
      return true;
    });
    assert.equal(vmm.running, false);
  });

  it("a monitor that does not continue it leaves it paused, and that is said", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    vmm.refused = "cont";
    const work = whilePaused(device, monitor, () => Promise.resolve(1));
    await assert.rejects(work, (error) => {
      assert.ok(error instanceof PausedVmError);
      assert.deepEqual([error.code, error.deviceState], ["left-paused", "stop"]);
      return true;
    });
  });

  it("a device that does not stop is another VMM's, and is not touched", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device, false);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    let used = false;
    const work = whilePaused(device, monitor, () => Promise.resolve(used = true));
    await assert.rejects(work, (error) => {
      assert.ok(error instanceof PausedVmError);
      assert.equal(error.code, "not-its-vmm");
      return true;
    });
    assert.deepEqual([used, vmm.running, (await device.state()).state], [false, true, "running"]);
  });
});

describe("a repair", () => {
  it("lets a machine go on whose device was left in the middle of a save", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    await monitor.execute("stop");
    await device.setState("stop-and-copy");
    assert.deepEqual(await repairVm(device, monitor), {
      from: "stop-copy",
      state: "running",
      rolledBack: false,
      continued: true,
    });
    assert.deepEqual(await repairVm(device, monitor), {
      from: "running",
      state: "running",
      rolledBack: false,
      continued: false,
    });
  });

  it("leaves a machine paused whose device holds half a state", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    await monitor.execute("stop");
    await device.setState("resuming");
    await assert.rejects(repairVm(device, monitor), /it is resuming\. .* stays paused/);
    assert.equal(vmm.running, false);
  });

  it("lets a machine stay paused that was paused before", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    await monitor.execute("stop");
    await device.setState("stop-and-copy");
    const { state, continued } = await repairVm(device, monitor, { stayPaused: true });
    assert.deepEqual([state, continued, vmm.running], ["stop", false, false]);
  });

  it("takes the device of a machine that runs to running", async () => {
    await using device = await openDevice("sim:mlx5?size=64KiB");
    await using vmm = new FakeVmm(device, false);
    using monitor = await QmpClient.connect(vmm.monitor.path);
    await device.setState("stop");
    const { from, state } = await repairVm(device, monitor);
    assert.deepEqual([from, state], ["stop", "running"]);
  });
});
