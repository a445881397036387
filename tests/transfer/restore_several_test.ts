import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { IdentityError } from "../../src/transfer/identity/identity_error.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { until } from "../_until.ts";
import {
  failure,
  memorySink,
  memorySource,
  statesOf,
  type TeamSetup,
  withTeam,
} from "./_several.ts";

const SIZE = "size=256KiB&chunk=16KiB";

/** A checkpoint of devices of these kinds, seeded by their number, and the checksums of their states. */
async function saved(
  ...kinds: string[]
): Promise<{ bytes: Uint8Array<ArrayBuffer>; sums: number[] }> {
  const sink = memorySink();
  let sums: number[] = [];
  await withTeam(
    kinds.map((kind, index) => `${kind}?${SIZE}&seed=${1 + index}`),
    async ({ devices, sims }) => {
      await save(devices, sink, { precopy: {} });
      sums = sims.map((device) => device.checksum());
    },
  );
  return { bytes: sink.bytes, sums };
}

function others(...kinds: string[]): string[] {
  return kinds.map((kind, index) => `${kind}?${SIZE}&seed=${11 + index}`);
}

function checksums({ sims }: TeamSetup): number[] {
  return sims.map((device) => device.checksum());
}

describe("restore()", () => {
  it("restores from a file and from a pipe, whatever that gives at a time", async () => {
    const kinds = ["mlx5", "trapped", "qat", "stop-copy-only"];
    const { bytes, sums } = await saved(...kinds);
    for (const piece of [0, 1000, 65_536]) {
      await withTeam(others(...kinds), async (team) => {
        const report = await restore(team.devices, memorySource(bytes, piece));
        assert.deepEqual(checksums(team), sums);
        assert.deepEqual(report.devices.map(({ state }) => state), kinds.map(() => "running"));
        for (const { phases } of [report, ...report.devices]) {
          assert.deepEqual(
            phases.map((phase) => [phase.name, Object.keys(phase).sort()]),
            [["resuming", ["bytes", "name", "seconds", "transactions"]]],
          );
        }
        assert.equal(report.bytes, report.devices.reduce((sum, device) => sum + device.bytes, 0));
      });
    }
  });

  it("has all of v2 judged, and in P2P, before the first device runs", async () => {
    const kinds = ["mlx5", "trapped", "qat", "stop-copy-only"];
    const { bytes } = await saved(...kinds);
    await withTeam(others(...kinds), async ({ devices, arcs }) => {
      await restore(devices, memorySource(bytes));
      assert.deepEqual(arcs, [
        ...["0 RUNNING_P2P", "2 RUNNING_P2P"],
        ...["0 STOP", "0 RESUMING", "1 100b", "2 STOP", "2 RESUMING", "3 STOP", "3 RESUMING"],
        ...["0 STOP", "2 STOP", "3 STOP"],
        ...["0 RUNNING_P2P", "2 RUNNING_P2P"],
        "1 001b",
        ...["0 RUNNING", "2 RUNNING", "3 RUNNING"],
      ]);
    });
  });

  it("leaves them stopped if asked", async () => {
    const { bytes } = await saved("mlx5", "trapped");
    await withTeam(others("mlx5", "trapped"), async ({ devices }) => {
      const report = await restore(devices, memorySource(bytes), { leave: "stop" });
      assert.deepEqual(report.devices.map(({ state }) => state), ["stop", "stop"]);
    });
  });

  it("takes a checkpoint of one device", async () => {
    const { bytes, sums } = await saved("mlx5");
    await withTeam(others("mlx5"), async (team) => {
      await restore(team.devices, memorySource(bytes));
      assert.deepEqual(checksums(team), sums);
    });
  });

  it("goes on though one of them is slow, and takes all in the end", async () => {
    await using from = await openDevices(["sim:mlx5?size=8MiB&seed=1", "sim:qat?size=8MiB&seed=2"]);
    const sink = memorySink();
    await save(from, sink);
    await using to = await openDevices([
      "sim:mlx5?size=8MiB&seed=3",
      "sim:qat?size=8MiB&seed=4&fault=block:400ms:2&fault=block:300ms:5",
    ]);
    const report = await restore(to, memorySource(sink.bytes, 1 << 16));
    assert.deepEqual(report.devices.map(({ state }) => state), ["running", "running"]);
  });
});

describe("restore() refuses, before a device is touched,", () => {
  const KINDS = ["mlx5", "qat"];

  /** Restores into devices of these kinds, which must not come to any state. */
  async function refused(
    bytes: Uint8Array,
    kinds: readonly string[],
    says: RegExp,
    cause: abstract new (...args: never[]) => Error,
    force = false,
  ): Promise<void> {
    for (const piece of [0, 1 << 20]) {
      await withTeam(others(...kinds), async ({ devices, arcs }) => {
        const error = await failure(
          restore(devices, memorySource(bytes, piece), { force }),
          devices,
        );
        assert.match(error!.message, says);
        assert.ok(error!.cause instanceof cause, String(error!.cause));
        assert.deepEqual([arcs, error!.failed], [[], []]);
      });
    }
  }

  it("another number of devices, forced or not", async () => {
    const [two, one] = [await saved(...KINDS), await saved("mlx5")];
    const { bytes } = two;
    await refused(bytes, ["mlx5"], /it holds 2 devices, and 1 was given/, IdentityError);
    await refused(bytes, [...KINDS, "qat"], /2 devices, and 3 were given/, IdentityError, true);
    await refused(one.bytes, KINDS, /it holds 1 device, and 2 were given/, IdentityError, true);
  });

  it("other devices or another order, and says which differ", async () => {
    const { bytes } = await saved(...KINDS);
    await refused(bytes, ["mlx5", "virtio"], /device 1 .*the driver is "qat/, IdentityError);
    await refused(
      bytes,
      ["qat", "mlx5"],
      /in another order: they were saved as .+, .+/,
      IdentityError,
    );
    await refused(
      bytes,
      ["mlx5", "trapped"],
      /device 1 .*the protocol is "v2"/,
      IdentityError,
      true,
    );
  });

  it("a checkpoint that is none", async () => {
    await refused(new Uint8Array(100), KINDS, /not those of a checkpoint/, CheckpointError);
  });

  it("a device that does not migrate, or is in a state in which no migration begins", async () => {
    const { bytes } = await saved(...KINDS);
    await withTeam([...others("mlx5"), "none"], async ({ devices, arcs }) => {
      const error = await failure(restore(devices, memorySource(bytes)), devices);
      assert.deepEqual([statesOf(error), arcs], [["running", null], []]);
    });
    await withTeam(others(...KINDS), async ({ devices, arcs }) => {
      await devices[0]!.setState("pre-copy");
      arcs.length = 0;
      const error = await failure(restore(devices, memorySource(bytes)), devices);
      assert.deepEqual([statesOf(error), arcs], [["pre-copy", "running"], []]);
      await devices[0]!.recover();
    });
  });
});

describe("restore() of one device", () => {
  it("refuses a checkpoint of several, forced or not, before the device is touched", async () => {
    const { bytes } = await saved("mlx5", "mlx5");
    await withTeam(others("mlx5"), async ({ devices: [device], arcs }) => {
      for (const force of [false, true]) {
        await assert.rejects(restore(device!, memorySource(bytes), { force }), (error: Error) => {
          assert.ok(error.cause instanceof IdentityError);
          assert.match(error.message, /it holds 2 devices, and 1 was given/);
          return true;
        });
      }
      assert.deepEqual(arcs, []);
    });
  });
});

describe("restore() that fails", () => {
  const KINDS = ["mlx5", "trapped", "qat"];

  it("finds a file bad before a device is touched, and resets all if a pipe is", async () => {
    const { bytes } = await saved(...KINDS);
    for (const at of [bytes.length - 100, bytes.length >> 1, 3 * bytes.length >> 2]) {
      const bad = bytes.slice();
      bad[at]! ^= 1;
      for (const broken of [bad, bytes.subarray(0, at)]) {
        await withTeam(others(...KINDS), async (team) => {
          const { devices, arcs } = team;
          const before = checksums(team);
          const file = await failure(restore(devices, memorySource(broken)), devices);
          assert.ok(file!.cause instanceof CheckpointError);
          assert.deepEqual(arcs, []);
          const pipe = await failure(restore(devices, memorySource(broken, 4096)), devices);
          assert.deepEqual(statesOf(pipe), ["running", "running", "running"]);
          assert.deepEqual(pipe!.devices.map(({ recovery }) => recovery), [
            "reset",
            "reset",
            "reset",
          ]);
          assert.equal(pipe!.code, (pipe!.cause as CheckpointError).code);
          assert.deepEqual(checksums(team), before);
        });
      }
    }
  });

  it("resets all if it is interrupted, also while a pipe gives nothing", async () => {
    const { bytes } = await saved(...KINDS);
    for (const share of [0.3, 0.6, 0.9]) {
      await withTeam(others(...KINDS), async (team) => {
        const { devices, arcs } = team;
        const resuming = (): boolean =>
          arcs.filter((arc) => / RESUMING| 100b/.test(arc)).length === 3;
        const before = checksums(team);
        const abort = new AbortController();
        const stalling = {
          seekable: false,
          stream: () =>
            new ReadableStream<Uint8Array<ArrayBuffer>>({
              start(controller): void {
                controller.enqueue(bytes.slice(0, bytes.length * share));
              },
              async pull(): Promise<void> {
                await until(resuming, "all devices are in RESUMING");
                abort.abort(new Error("Ctrl-C"));
              },
            }),
        };
        const { signal } = abort;
        const error = await failure(restore(devices, stalling, { signal }), devices);
        assert.deepEqual([error!.code, error!.failed], ["cancelled", []]);
        assert.deepEqual(error!.devices.map(({ recovery }) => recovery), [
          "reset",
          "reset",
          "reset",
        ]);
        assert.deepEqual(checksums(team), before);
      });
    }
  });

  it("resets those that were accepted if one was not, and v1 that runs already", async () => {
    const { bytes } = await saved(...KINDS);
    // The arcs of 2: RUNNING_P2P, STOP, RESUMING, STOP, RUNNING_P2P, RUNNING.
    for (const arc of [4, 5, 6]) {
      const specs = others(...KINDS);
      specs[2] += `&fault=transition:${arc}:EINVAL`;
      await withTeam(specs, async (team) => {
        const { devices } = team;
        const before = checksums(team);
        const error = await failure(restore(devices, memorySource(bytes)), devices);
        assert.deepEqual(statesOf(error), ["running", "running", "running"]);
        assert.deepEqual(error!.devices.map(({ recovery }) => recovery), [
          "reset",
          "reset",
          "reset",
        ]);
        assert.deepEqual(error!.failed.map(({ name }) => name), [devices[2]!.name]);
        assert.deepEqual(checksums(team), before);
      });
    }
  });

  it("leaves them as they are if that is wanted", async () => {
    const { bytes } = await saved(...KINDS);
    const specs = others(...KINDS);
    specs[0] += "&fault=write:1:EFAULT";
    await withTeam(specs, async ({ devices }) => {
      const error = await failure(restore(devices, memorySource(bytes)), devices);
      assert.deepEqual(statesOf(error), ["resuming", "resuming", "resuming"]);
      assert.match(error!.message, /device 0 \(.*incompatible \(EFAULT\)/);
      assert.equal(error!.hint!.remedy, "reset");
      for (const device of devices) await device.reset();
    }, { onError: "leave" });
  });
});
