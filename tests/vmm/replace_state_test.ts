import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, it } from "node:test";
import {
  createCheckpointFile,
  type Device,
  MigrationError,
  openCheckpointFile,
  openDevice,
  restore,
  save,
} from "../../mod.ts";
import { changedParts, partsOf } from "../../src/vmm/config_space.ts";
import { repairVm, whilePaused } from "../../src/vmm/paused_vm.ts";
import { PausedVmError } from "../../src/vmm/paused_vm_error.ts";
import { QmpClient } from "../../src/vmm/qmp/qmp_client.ts";
import { replaceState, type StateReplacement } from "../../src/vmm/replace_state.ts";
import { FakeVmm } from "./_fake_vmm.ts";

/** The checksum of the device's state, in its window. */
async function sumOf(device: Device): Promise<number> {
  return new DataView((await device.readRegion(0, 24, 4)).buffer).getUint32(0, true);
}

/** A device whose VMM is paused, a checkpoint of another state of it, and the steps to load that. */
class Scene implements AsyncDisposable {
  readonly folder: string;
  readonly device: Device;
  readonly vmm: FakeVmm;
  readonly monitor: QmpClient;
  /** The checksum before, and that of the checkpoint. */
  readonly sums: readonly [before: number, saved: number];

  private constructor(
    folder: string,
    device: Device,
    vmm: FakeVmm,
    monitor: QmpClient,
    sums: readonly [number, number],
  ) {
    [this.folder, this.device, this.vmm, this.monitor] = [folder, device, vmm, monitor];
    this.sums = sums;
  }

  static async make(): Promise<Scene> {
    const folder = mkdtempSync(`${tmpdir()}/vfiokit-`);
    await using other = await openDevice("sim:mlx5?size=64KiB&seed=2");
    await save(other, await createCheckpointFile(`${folder}/a`), { leave: "stop" });
    const device = await openDevice("sim:mlx5?size=64KiB&seed=1", { onError: "leave" });
    const vmm = new FakeVmm(device);
    const monitor = await QmpClient.connect(vmm.monitor.path);
    const sums = [await sumOf(device), await sumOf(other)] as const;
    assert.notEqual(...sums);
    return new Scene(folder, device, vmm, monitor, sums);
  }

  /** The steps of the command line. */
  steps(): StateReplacement<unknown> {
    const load = async (file: string): Promise<unknown> => {
      await using source = await openCheckpointFile(`${this.folder}/${file}`);
      return await restore(this.device, source, { leave: "stop" });
    };
    return {
      keep: async () =>
        await save(this.device, await createCheckpointFile(`${this.folder}/kept`), {
          leave: "stop",
        }),
      load: () => load("a"),
      loadKept: () => load("kept"),
    };
  }

  replace(steps: Partial<StateReplacement<unknown>> = {}): Promise<unknown> {
    const all = { ...this.steps(), ...steps };
    return whilePaused(this.device, this.monitor, () => replaceState(this.device, all));
  }

  /** What the VMM and the device do in the end. */
  async end(): Promise<{ running: boolean; state: string; sum: number }> {
    const { state } = await this.device.state();
    return { running: this.vmm.running, state, sum: await sumOf(this.device) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.monitor.close();
    await this.vmm[Symbol.asyncDispose]();
    await this.device.close();
    rmSync(this.folder, { recursive: true });
  }
}

function isPausedError(code: string, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PausedVmError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, words);
    return true;
  };
}

/** A load that leaves the device with half a state. */
async function half(device: Device): Promise<never> {
  await device.setState("resuming");
  throw new Error("cut");
}

describe("another state for a device of a paused VMM", () => {
  it("is loaded, and the machine goes on with it", async () => {
    await using scene = await Scene.make();
    await scene.replace();
    const sum = scene.sums[1];
    assert.deepEqual(await scene.end(), { running: true, state: "running", sum });
  });

  it("is loaded while the machine is paused, which it stays", async () => {
    await using scene = await Scene.make();
    await scene.monitor.execute("stop");
    await scene.replace();
    const sum = scene.sums[1];
    assert.deepEqual(await scene.end(), { running: false, state: "stop", sum });
  });

  it("that cannot be loaded is given up: a reset, and the former state", async () => {
    await using scene = await Scene.make();
    const { device } = scene;
    await assert.rejects(
      scene.replace({ load: () => half(device) }),
      isPausedError("rolled-back", /^cut; the device has its former state again$/),
    );
    const sum = scene.sums[0];
    assert.deepEqual(await scene.end(), { running: true, state: "running", sum });
  });

  it("that the driver refuses is given up, with the driver's error as the cause", async () => {
    await using scene = await Scene.make();
    const { device } = scene;
    const load = async (): Promise<never> => {
      await device.setState("resuming");
      throw new MigrationError("Cannot load: EINVAL; it is in RESUMING", {
        ...{ code: "state-refused", failure: "Cannot load: EINVAL", errno: "EINVAL" },
        ...{ deviceState: "resuming", recovery: "none" },
      });
    };
    await assert.rejects(scene.replace({ load }), (error) => {
      assert.ok(error instanceof PausedVmError && error.cause instanceof MigrationError);
      const { code, deviceState, lost } = error.cause;
      assert.deepEqual([code, deviceState, lost], ["state-refused", "stop", false]);
      return true;
    });
  });

  it("that changes the configuration space is given up", async () => {
    await using scene = await Scene.make();
    const read = scene.device.readRegion.bind(scene.device);
    let reads = 0;
    // The command register is another one after the load.
    scene.device.readRegion = async (index, offset, length) => {
      const bytes = await read(index, offset, length);
      if (index === 7 && ++reads === 2) bytes[4]! ^= 4;
      return bytes;
    };
    await assert.rejects(
      scene.replace(),
      isPausedError("rolled-back", /know: the command register; .* former state again$/),
    );
    const sum = scene.sums[0];
    assert.deepEqual(await scene.end(), { running: true, state: "running", sum });
  });

  it("leaves the machine paused if the former state cannot be loaded either", async () => {
    await using scene = await Scene.make();
    const { device } = scene;
    const loadKept = (): Promise<never> => Promise.reject(new Error("gone"));
    await assert.rejects(
      scene.replace({ load: () => half(device), loadKept }),
      isPausedError("left-paused", /^cut; .*: gone; the device is running\. .* stays paused$/),
    );
    assert.equal(scene.vmm.running, false);
    // The kept state repairs it.
    const report = await repairVm(device, scene.monitor, { loadKept: scene.steps().loadKept });
    assert.deepEqual(report, {
      ...{ from: "running", state: "running", rolledBack: true, continued: true },
    });
    const sum = scene.sums[0];
    assert.deepEqual(await scene.end(), { running: true, state: "running", sum });
  });

  it("is not loaded if the former one cannot be kept", async () => {
    await using scene = await Scene.make();
    const keep = (): Promise<never> => Promise.reject(new Error("the disk is full"));
    await assert.rejects(scene.replace({ keep }), /^Error: the disk is full$/);
    const sum = scene.sums[0];
    assert.deepEqual(await scene.end(), { running: true, state: "running", sum });
  });
});

describe("configuration space", () => {
  /** A header, MSI-X at 0x40, MSI at 0x50. */
  function space(): Uint8Array {
    const bytes = new Uint8Array(256);
    bytes[0x06] = 0x10;
    bytes[0x34] = 0x40;
    bytes.set([0x11, 0x50, 0x03, 0x80], 0x40);
    bytes.set([0x05, 0x00], 0x50);
    return bytes;
  }

  for (
    const [at, parts] of [
      [0x00, ["the ids"]],
      [0x05, ["the command register"]],
      [0x10, ["the BARs"]],
      [0x43, ["MSI-X"]],
      [0x54, ["MSI"]],
      [0x06, []],
      [0xf0, []],
    ] as const
  ) {
    it(`differs in ${parts.join() || "nothing"} if byte 0x${at.toString(16)} does`, () => {
      const other = space();
      other[at]! ^= 1;
      assert.deepEqual(changedParts(partsOf(space()), partsOf(other)), parts);
    });
  }

  it("is read to its end even if the capabilities make a circle", () => {
    const bytes = space();
    bytes[0x51] = 0x40;
    assert.ok(partsOf(bytes).has("MSI"));
  });
});
