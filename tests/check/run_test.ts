import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BusyError, cleanupErrors, UnsupportedError } from "../../mod.ts";
import { check, CheckError, CHECKS, ThreadError } from "../../src/check/mod.ts";
import { openFds } from "../../src/kernel/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { DeviceNameError } from "../../src/vfio/mod.ts";

const SMALL = "sim:mlx5?size=64KiB";

describe("a run of checks", () => {
  it("runs on a thread, and lists what it will do first", async () => {
    const run = check(SMALL, { only: ["identity"] });
    const { device, checks, safety } = await run.plan();
    assert.deepEqual([device.protocol, device.kernel, safety], ["v2", "sim", "default"]);
    const ids: string[] = [];
    for await (const { id } of run) ids.push(id);
    assert.deepEqual(ids, checks.map(({ id }) => id));
  });

  it("closes the device when the caller stops early", async () => {
    const kernel = new SimKernel(SMALL);
    for await (const _ of check(SMALL, { kernel })) break;
    assert.deepEqual(kernel.openObjects, []);
    assert.deepEqual(openFds(), []);
  });

  it("reports a check that hangs, with the call", async () => {
    const run = check("sim:mlx5?size=64KiB&fault=block:86400s", {
      only: ["v2.arc.resuming-to-stop"],
      safety: "reset",
      timeoutMs: 5000,
    });
    const [verdict] = await Array.fromAsync(run);
    assert.equal(verdict!.outcome, "fail");
    assert.match(verdict!.seen!, /hangs in the kernel: read\(/);
    assert.notEqual(run.lost, null);
  });

  it("ends when it is aborted, and closes the device", async () => {
    const kernel = new SimKernel(SMALL);
    const controller = new AbortController();
    const reason = new Error("enough");
    await assert.rejects(async () => {
      for await (const _ of check(SMALL, { kernel, signal: controller.signal })) {
        controller.abort(reason);
      }
    }, reason);
    assert.deepEqual(kernel.openObjects, []);
  });

  it("refuses a device without migration", async () => {
    for (const name of ["sim:none", "sim:vfio-pci"]) {
      await assert.rejects(check(name).plan(), UnsupportedError);
    }
  });

  it("refuses two devices of different kinds, and a simulated one with a real one", async () => {
    await assert.rejects(
      check("sim:mlx5", { second: "sim:qat" }).plan(),
      (error) => error instanceof CheckError && error.code === "different-kinds",
    );
    await assert.rejects(check("sim:mlx5", { second: "3b:00.1" }).plan(), DeviceNameError);
  });

  it("refuses a device that another process has open", async () => {
    await assert.rejects(check("sim:mlx5?fault=group-busy").plan(), BusyError);
  });

  it("brings the device back to RUNNING when a check is aborted", async () => {
    const kernel = new SimKernel(SMALL);
    const controller = new AbortController();
    const modules = [new URL("_vendor_checks.ts", import.meta.url).href];
    const run = check(SMALL, { kernel, only: ["acme.stops"], modules, signal: controller.signal });
    await run.plan();
    const states: (number | null)[] = [];
    // The check itself aborts, in STOP.
    (globalThis as { abortCheck?: () => void }).abortCheck = (): void => {
      states.push(kernel.devices[0]!.deviceState);
      controller.abort(new Error("enough"));
    };
    await assert.rejects(Array.fromAsync(run), /enough/);
    assert.deepEqual([...states, kernel.devices[0]!.deviceState], [1, 2]);
    assert.deepEqual(kernel.openObjects, []);
  });

  it("refuses the name of no check", async () => {
    await assert.rejects(
      check(SMALL, { only: ["arc"] }).plan(),
      (error) => error instanceof CheckError && error.code === "no-such-check",
    );
  });

  it("takes a vendor's checks from a module", async () => {
    const modules = [new URL("_vendor_checks.ts", import.meta.url).href];
    const run = check(SMALL, { only: ["acme.state-size", "acme.never"], modules });
    const verdicts = await Array.fromAsync(run);
    assert.deepEqual(verdicts.map(({ id, outcome }) => [id, outcome]), [
      ["acme.state-size", "pass"],
      ["acme.never", "fail"],
    ]);
    assert.equal(verdicts[1]!.rule.text, "It never passes.");
  });

  it("ends if its thread does", { timeout: 60_000 }, async () => {
    const modules = [new URL("_vendor_checks.ts", import.meta.url).href];
    const run = check(SMALL, { only: ["acme.ends-its-thread"], modules });
    await assert.rejects(Array.fromAsync(run), (error) => {
      assert.ok(error instanceof ThreadError);
      assert.match(error.message, /^Cannot go on checking: the thread has ended: /);
      assert.deepEqual(cleanupErrors(error), []);
      return true;
    });
  });

  it("has an id for each check", () => {
    assert.equal(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  });
});
