import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno, SysError } from "../../src/kernel/sys_error.ts";
import { PERSONALITIES, type PersonalityName } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_BUS_MASTER,
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY as LOW_POWER,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE as MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE as MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 as MIG_PRECOPY_INFO_V2,
  VFIO_DEVICE_FEATURE_MIGRATION as MIGRATION,
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_PROBE as PROBE,
  VFIO_DEVICE_FEATURE_SET as SET,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_MIGRATION_P2P as P2P,
  VFIO_MIGRATION_PRE_COPY as PRE_COPY,
  VFIO_MIGRATION_STOP_COPY as STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";
import { bytes } from "./_device_client.ts";
import { V2Client } from "./_v2_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

const V2 = (Object.keys(PERSONALITIES) as PersonalityName[])
  .filter((name) => PERSONALITIES[name].protocol === "v2");

describe("VFIO_DEVICE_FEATURE of a simulated device", () => {
  it("is checked in the kernel's order", () => {
    using client = V2Client.of("mlx5");
    const { kernel, fd } = client;
    refused("EFAULT", () => kernel.ioctl(fd, VFIO_DEVICE_FEATURE, 0));
    refused("EFAULT", () => kernel.ioctl(fd, VFIO_DEVICE_FEATURE, bytes(7)));
    refused("EINVAL", () => client.feature(MIGRATION | GET, 8, 7));
    refused("EINVAL", () => client.feature(MIGRATION | GET | 1 << 19, 8));
    refused("EINVAL", () => client.feature(MIGRATION | GET | SET, 8));
    // An unknown feature is refused before other errors of the call.
    refused("ENOTTY", () => client.feature(1000));
    refused("EINVAL", () => client.feature(MIGRATION | SET, 8));
    refused("EINVAL", () => client.feature(MIGRATION | SET | PROBE));
    refused("EINVAL", () => client.feature(MIGRATION | GET | SET | PROBE));
    client.feature(MIGRATION | GET | PROBE);
    client.feature(MIGRATION | PROBE);
    client.feature(MIG_DEVICE_STATE | GET | SET | PROBE);
    refused("EINVAL", () => client.feature(MIGRATION));
    refused("EINVAL", () => client.feature(MIGRATION | GET, 7));
    // argsz claims more bytes than the buffer has.
    refused("EFAULT", () => client.feature(MIGRATION | GET, 0, 16));
    refused("EFAULT", () => client.feature(MIG_DEVICE_STATE | GET, 4, 16));
    assert.deepEqual(client.device.violations, []);
  });

  it("fails with ENOTTY for a feature that the device does not have", () => {
    const migration = [MIGRATION, MIG_DEVICE_STATE, MIG_DATA_SIZE];
    for (const name of Object.keys(PERSONALITIES) as PersonalityName[]) {
      using client = V2Client.of(name);
      const { protocol, mdev } = PERSONALITIES[name];
      const has = (feature: number): boolean => {
        try {
          client.feature(feature | PROBE);
          return true;
        } catch (error) {
          assert.ok(isErrno(error, "ENOTTY"));
          return false;
        }
      };
      const expected = protocol !== "v2"
        ? []
        : name === "stop-copy-only"
        ? migration.slice(0, 2)
        : migration;
      assert.deepEqual(migration.filter(has), expected, name);
      assert.equal(has(LOW_POWER), mdev === null, name);
      assert.equal(has(VFIO_DEVICE_FEATURE_PCI_VF_TOKEN), false);
      assert.equal(has(VFIO_DEVICE_FEATURE_BUS_MASTER), false);
    }
  });

  it("has MIG_PRECOPY_INFOv2 if the spec asks for a kernel 7.1", () => {
    const answer = (spec: string, flags: number): string => {
      using client = V2Client.of(spec);
      try {
        client.feature(MIG_PRECOPY_INFO_V2 | flags);
        return "taken";
      } catch (error) {
        assert.ok(error instanceof SysError);
        return error.code;
      }
    };
    assert.equal(answer("mlx5", SET | PROBE), "ENOTTY");
    assert.equal(answer("mlx5?reinit=0", SET | PROBE), "taken");
    assert.equal(answer("mlx5?reinit=0", SET), "taken");
    assert.equal(answer("mlx5?reinit=0", GET), "EINVAL");
    // Without PRE_COPY there is no precopy info.
    assert.equal(answer("pds?reinit=0", SET | PROBE), "EINVAL");
  });

  it("returns each driver's flags", () => {
    const flags = Object.fromEntries(V2.map((name) => {
      using client = V2Client.of(name);
      return [name, client.flags];
    }));
    assert.deepEqual(flags, {
      "mlx5": STOP_COPY | P2P | PRE_COPY,
      "qat": STOP_COPY | P2P | PRE_COPY,
      "hisi": STOP_COPY | PRE_COPY,
      "virtio": STOP_COPY | P2P | PRE_COPY,
      "pds": STOP_COPY | P2P,
      "mtty": STOP_COPY | P2P | PRE_COPY,
      "stop-copy-only": STOP_COPY,
    });
  });

  it("returns the state without an fd", () => {
    using client = V2Client.of("pds");
    client.go(VFIO_DEVICE_STATE_STOP_COPY);
    assert.ok(client.data >= 0);
    const answer = vfioDeviceFeatureMigState.unpack(client.feature(MIG_DEVICE_STATE | GET, 8));
    assert.deepEqual(answer, { device_state: VFIO_DEVICE_STATE_STOP_COPY, data_fd: -1 });
  });

  it("writes back the requested state and no fd if a step failed", () => {
    using client = V2Client.of("stop-copy-only?fault=transition:2:EBUSY");
    const payload = vfioDeviceFeatureMigState.pack({
      device_state: VFIO_DEVICE_STATE_STOP_COPY,
      data_fd: 77,
    });
    refused("EBUSY", () => client.feature(MIG_DEVICE_STATE | SET, payload));
    assert.deepEqual(vfioDeviceFeatureMigState.unpack(payload), {
      device_state: VFIO_DEVICE_STATE_STOP_COPY,
      data_fd: -1,
    });
    assert.notEqual(client.v2State, VFIO_DEVICE_STATE_STOP_COPY);
  });

  it("accepts a step to the current state, and returns no fd", () => {
    using client = V2Client.of("mlx5");
    client.go(VFIO_DEVICE_STATE_RUNNING);
    assert.equal(client.data, -1);
    client.go(VFIO_DEVICE_STATE_STOP_COPY, VFIO_DEVICE_STATE_STOP_COPY);
    const open = client.kernel.openObjects.filter((label) => label.includes("save fd"));
    assert.equal(open.length, 1);
  });

  it("leaves the bytes after the feature's struct alone", () => {
    using client = V2Client.of("mlx5");
    const arg = bytes(vfioDeviceFeature.size + 8 + 32);
    vfioDeviceFeature.pack({ argsz: arg.length, flags: MIGRATION | GET }, arg);
    client.kernel.ioctl(client.fd, VFIO_DEVICE_FEATURE, arg);
    assert.deepEqual([...arg.subarray(16)], Array(32).fill(0));
  });
});
