/**
 * The second protocol as the kernel and the driver speak it, call by call: what
 * the toolkit and the simulator believe of them, and that every violation is
 * counted.
 *
 * @module
 */

import assert from "node:assert/strict";
import { isErrno } from "../../../../src/kernel/sys_error.ts";
import { POLLIN } from "../../../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  vfioDeviceFeatureMigState,
} from "../../../../src/uapi/mod.ts";
import { openVfioDevice } from "../../../../src/vfio/open/open.ts";
import { parseDeviceName } from "../../../../src/vfio/open/device_name.ts";
import { libcKernel } from "../../../../src/kernel/libc/libc_kernel.ts";
import { V2Calls } from "../../../migration/v2_cases/calls.ts";
import { askStateTable } from "../../../migration/v2_cases/state_table.ts";
import { GuestDevice, lacks, type Settings, V2_TYPES, withPair } from "../device.ts";
import { type Case, eachKernel } from "../harness.ts";
import { withCalls } from "../library.ts";

const SMALL: Settings = { size: 64 << 10, chunk: 16 << 10 };

const tables: readonly Case[] = V2_TYPES.map((type) => ({
  name: `v2 driver: ${type}: every pair of states goes as the table and the simulator say`,
  lacks: () => lacks(type),
  run: async () => {
    await Promise.resolve();
    const guest = new GuestDevice(type);
    try {
      guest.set(SMALL);
      askStateTable(() => {
        guest.forgetViolations();
        const kernel = libcKernel();
        const device = openVfioDevice(kernel, parseDeviceName(guest.uuid));
        const calls = new V2Calls(kernel, device.fd.number);
        return {
          calls,
          violations: () => guest.violations,
          [Symbol.dispose]: () => {
            calls.closeData();
            device.close();
          },
        };
      });
    } finally {
      guest.remove();
    }
  },
}));

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

const STATE = VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
const GET = VFIO_DEVICE_FEATURE_GET;
const SET = VFIO_DEVICE_FEATURE_SET;
const PROBE = VFIO_DEVICE_FEATURE_PROBE;

/** The order in which the kernel checks VFIO_DEVICE_FEATURE, as the simulator has it. */
function askFeatures(calls: V2Calls): void {
  refused("EINVAL", () => calls.feature(GET | STATE, 8, 7));
  refused("EINVAL", () => calls.feature(1 << 19 | GET | STATE, 8));
  refused("EINVAL", () => calls.feature(GET | SET | STATE, 8));
  refused("EINVAL", () => calls.feature(STATE, 8));
  refused("EINVAL", () => calls.feature(GET | STATE, 7));
  refused("EINVAL", () => calls.feature(SET | VFIO_DEVICE_FEATURE_MIGRATION, 8));
  refused("ENOTTY", () => calls.feature(GET | 0xfff0, 8));
  calls.feature(PROBE | GET | SET | STATE);
  calls.feature(PROBE | STATE);
  // A step that fails writes the state that was asked for, and no fd.
  const payload = vfioDeviceFeatureMigState.pack({ device_state: 9, data_fd: 5 });
  refused("EINVAL", () => calls.feature(SET | STATE, payload));
  assert.deepEqual(vfioDeviceFeatureMigState.unpack(payload), { device_state: 9, data_fd: -1 });
}

function misuse(calls: V2Calls): void {
  const { kernel } = calls;
  askFeatures(calls);
  // A stream has no positions.
  calls.go(STOP_COPY);
  refused("ESPIPE", () => kernel.pread(calls.data, new Uint8Array(8), 0));
  refused("EBADF", () => kernel.write(calls.data, new Uint8Array(8)));
  refused("ENOTTY", () => kernel.ioctl(calls.data, 0x3b64, 0));
  const image = calls.readAll();
  assert.equal(calls.read(1).length, 0);
  const first = calls.data;
  calls.go(STOP);
  refused("ENODEV", () => calls.read(1));
  assert.equal(kernel.poll(first, POLLIN, 0) & POLLIN, POLLIN);
  calls.data = -1;
  calls.go(STOP_COPY);
  kernel.close(first);
  calls.go(RESUMING);
  refused("EBADF", () => calls.read(1));
  refused("EFAULT", () => calls.write(new Uint8Array(64)));
  refused("EFAULT", () => calls.write(new Uint8Array(64)));
  refused("EINVAL", () => calls.go(STOP));
  calls.reset();
  refused("ENODEV", () => calls.write(image));
  calls.closeData();
  calls.go(RESUMING);
  calls.writeAll(image);
  refused("ENOMEM", () => calls.write(image));
  calls.reset();
  calls.closeData();
  calls.go(RESUMING);
  calls.writeAll(image.subarray(0, image.length - 1));
  refused("EINVAL", () => calls.go(RUNNING));
  assert.equal(calls.v2State, RESUMING);
}

const MISUSED = [
  "state 9 asked for in RUNNING",
  "save fd read after its end",
  "save fd read after the device left its state",
  "save fd made while 1 old data fds are open",
  "resume fd written after it had failed",
  "STOP asked for after a write had failed",
  "resume fd written after the device left its state",
  "closed in RESUMING",
];

const counted: readonly Case[] = [
  {
    name: "v2 driver: every misuse of the protocol is answered as the kernel does, and counted",
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", SMALL, async (device) => {
        await Promise.resolve();
        withCalls(device, misuse);
        assert.deepEqual(device.violations, MISUSED);
        device.forgetViolations();
      }),
  },
  {
    name: "v2 driver: a device closed with its data fd open is counted",
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", SMALL, async (device) => {
        await Promise.resolve();
        const kernel = libcKernel();
        const opened = openVfioDevice(kernel, parseDeviceName(device.uuid));
        const calls = new V2Calls(kernel, opened.fd.number);
        calls.go(STOP_COPY, STOP);
        opened.close();
        refused("ENODEV", () => calls.read(1));
        calls.closeData();
        assert.deepEqual(device.violations, [
          "closed with 1 data fds open",
          "save fd read after the device left its state",
        ]);
        device.forgetViolations();
      }),
  },
  {
    name: "v2 driver: every misuse of pre-copy is answered, and counted",
    lacks: () => lacks("v2-full"),
    run: () =>
      withPair("v2-full", SMALL, async (device) => {
        await Promise.resolve();
        withCalls(device, (calls) => {
          calls.go(PRE_COPY);
          assert.deepEqual(Object.keys(calls.info()), ["initial", "dirty"]);
          calls.info(1);
          calls.go(STOP_COPY);
          refused("EINVAL", () => calls.info());
          refused("EINVAL", () => calls.go(PRE_COPY));
          calls.go(STOP);
          refused("ENODEV", () => calls.info());
        });
        assert.deepEqual(device.violations, [
          "precopy info asked for with flags 0x1",
          "precopy info asked for outside PRE_COPY",
          "state 6 asked for in STOP_COPY",
          "save fd asked for precopy info after the device left its state",
        ]);
        device.forgetViolations();
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = eachKernel([...tables, ...counted]);
