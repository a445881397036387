import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_PRECOPY_INFO_REINIT,
  vfioPrecopyInfo,
} from "../../src/uapi/mod.ts";
import { V2Client } from "../sim/_v2_client.ts";
import { bytesOf, collect, stateOf, withSim } from "./_sim.ts";

const MIB = 1 << 20;
const OPT_IN = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2;

/** The precopy info: the flags, whether there are initial bytes, and dirty ones. */
function look(client: V2Client, flags = 0): [number, boolean, boolean] {
  const arg = vfioPrecopyInfo.pack({ flags });
  client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, arg);
  const info = vfioPrecopyInfo.unpack(arg);
  return [info.flags, info.initial_bytes > 0n, info.dirty_bytes > 0n];
}

/** Reads what pre-copy has now; only the driver knows how it says that there is no more. */
function drain(client: V2Client): number {
  let read = 0;
  for (;;) {
    try {
      const { length } = client.read(MIB);
      if (length === 0) return read;
      read += length;
    } catch {
      return read;
    }
  }
}

describe("new initial data in a simulated pre-copy", () => {
  for (const name of ["mlx5", "virtio", "qat", "hisi", "mtty"]) {
    it(`is announced once by sim:${name}, to a caller that asked for it`, () => {
      using client = V2Client.of(`${name}?size=256KiB&reinit=1`);
      client.feature(OPT_IN);
      client.go(VFIO_DEVICE_STATE_PRE_COPY);
      assert.deepEqual(look(client), [0, true, false]);
      const first = drain(client);
      assert.deepEqual(look(client), [VFIO_PRECOPY_INFO_REINIT, true, false]);
      assert.deepEqual(look(client), [0, true, false]);
      const second = drain(client);
      assert.ok(first > 0 && second > 0, `${first}, ${second}`);
      assert.deepEqual(look(client), [0, false, false]);
    });

    it(`is dirty bytes of sim:${name} to any other caller, and flags are echoed`, () => {
      using client = V2Client.of(`${name}?size=256KiB&reinit=1`);
      client.go(VFIO_DEVICE_STATE_PRE_COPY);
      drain(client);
      assert.deepEqual(look(client, 1), [1, false, true]);
      assert.deepEqual(client.device.violations, ["the precopy info was asked for with flags 1"]);
    });
  }

  it("may be asked for once while the device is open", () => {
    const kernel = new SimKernel("mlx5?size=64KiB&reinit=1");
    const announced = (optIn: boolean): number => {
      using client = new V2Client(kernel);
      if (optIn) client.feature(OPT_IN);
      client.go(VFIO_DEVICE_STATE_PRE_COPY, VFIO_DEVICE_STATE_RUNNING, VFIO_DEVICE_STATE_PRE_COPY);
      drain(client);
      return look(client)[0];
    };
    assert.equal(announced(true), VFIO_PRECOPY_INFO_REINIT);
    assert.equal(announced(false), 0);
  });
});

describe("precopy() of a device with new initial data", () => {
  for (const name of ["mlx5", "virtio", "qat", "hisi", "mtty"]) {
    it(`goes on until that is read, too: sim:${name}`, async () => {
      const specs = [`${name}?size=1MiB&seed=1&reinit=2`, `${name}?size=1MiB&seed=2`];
      await withSim(specs, async ({ devices: [from, to], sims }) => {
        const transactions = await collect(precopy(from!));
        const images = name === "mlx5" || name === "virtio";
        const read = bytesOf(transactions);
        // Three times all of it: a preface of 40 bytes, or the state.
        assert.ok(images ? read >= 3 * MIB : read === 120, String(read));
        await from!.recover();
        const sink = resume(to!);
        await precopy(from!).pipeTo(sink, { preventClose: true });
        await stopAndCopy(from!).pipeTo(sink);
        assert.equal(sims[0]!.checksum(), sims[1]!.checksum());
      });
    });
  }

  it("waits for it whatever the threshold and the downtime allow", async () => {
    await withSim(["mlx5?size=1MiB&reinit=1"], async ({ devices: [device] }) => {
      const limits = { threshold: 64 * MIB, downtimeMs: 3_600_000 };
      const read = bytesOf(await collect(precopy(device!, limits)));
      assert.ok(read >= 2 * MIB && read < 3 * MIB, String(read));
      await device!.recover();
    });
  });

  it("ends at max-rounds however often there is more", async () => {
    await withSim(["mlx5?size=256KiB&reinit=1000000"], async ({ devices: [device] }) => {
      const read = bytesOf(await collect(precopy(device!, { maxRounds: 5 })));
      assert.ok(read >= MIB && read < 2 * MIB, String(read));
      assert.equal(await stateOf(device!), "pre-copy");
      await device!.recover();
    });
  });

  it("sends flags 0, and believes what comes back only after the feature was taken", async () => {
    for (const [spec, taken] of [["mlx5?size=64KiB", false], ["mlx5?size=64KiB&reinit=0", true]]) {
      const sim = new SimKernel(spec as string);
      const sets: boolean[] = [];
      // A driver that leaves rubbish in the flags.
      const kernel: Kernel = new Proxy(sim, {
        get(target, key): unknown {
          const value = Reflect.get(target, key);
          if (key !== "ioctl") return typeof value === "function" ? value.bind(target) : value;
          return (fd: number, request: number, arg?: Uint8Array<ArrayBuffer> | number): number => {
            const view = typeof arg === "object" ? new DataView(arg.buffer, arg.byteOffset) : null;
            if (request === VFIO_DEVICE_FEATURE && view?.getUint32(4, true) === OPT_IN) {
              sets.push(true);
            }
            const result = target.ioctl(fd, request, arg);
            if (request === VFIO_MIG_GET_PRECOPY_INFO && !taken) view!.setUint32(4, 1, true);
            return result;
          };
        },
      });
      await using device = await openDevice(sim.devices[0]!.path, { kernel });
      // Believed, the flag would begin a new round at each look, and the first one end it.
      const read = bytesOf(await collect(precopy(device, { maxRounds: 1 })));
      assert.ok(read > 64 * 1024, String(read));
      assert.deepEqual(sets, taken ? [true] : []);
      assert.deepEqual(sim.devices[0]!.violations, []);
      await device.recover();
    }
  });
});
