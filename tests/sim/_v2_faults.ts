/**
 * One check per fault of a v2 device's migration.
 */

import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import type { FaultName } from "../../src/sim/faults/fault_plan.ts";
import { ERROR, nextHop, RESUMING, RUNNING, STOP, STOP_COPY } from "../../src/sim/v2/v2_states.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_MIGRATION_STOP_COPY,
  vfioPrecopyInfo,
} from "../../src/uapi/mod.ts";
import { napsOf } from "../_virtual_clock.ts";
import { bytes, text } from "./_client.ts";
import type { V2Client } from "./_v2_client.ts";
import { LogCalls } from "../migration/v2_cases/log_calls.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

type Act = (make: (query: string) => V2Client) => void;

/** The effect that the device's user sees, per fault. */
export const V2_ACTS: Readonly<Partial<Record<FaultName, Act>>> = {
  "transition": (make) => {
    using client = make("fault=transition:2:EBUSY");
    // With P2P, the second arc is the one after RUNNING_P2P.
    refused("EBUSY", () => client.go(STOP, STOP_COPY));
    const reached = client.v2State;
    client.go(STOP_COPY);
    assert.ok(reached !== RUNNING && reached !== STOP_COPY);
  },
  "error-state": (make) => {
    using client = make("fault=error-state:1");
    refused("EIO", () => client.go(STOP));
    assert.equal(client.v2State, ERROR);
    client.reset();
    assert.equal(client.v2State, RUNNING);
  },
  "late-error": (make) => {
    using client = make("fault=late-error:1");
    client.go(nextHop(RUNNING, STOP, client.flags)!);
    assert.equal(client.v2State, ERROR);
  },
  "state-read": (make) => {
    using client = make("fault=state-read:2:EIO");
    client.v2State;
    refused("EIO", () => client.v2State);
    client.v2State;
  },
  "state-late": (make) => {
    using client = make("fault=state-late:1");
    const next = nextHop(RUNNING, STOP, client.flags)!;
    client.go(next);
    assert.deepEqual([client.v2State, client.v2State], [RUNNING, next]);
  },
  "odd-flags": (make) => {
    using client = make("fault=odd-flags");
    assert.equal(client.flags & ~7, 256);
  },
  "no-stop-copy": (make) => {
    using client = make("fault=no-stop-copy");
    assert.equal(client.flags & VFIO_MIGRATION_STOP_COPY, 0);
  },
  "fd-extra": (make) => {
    using client = make("fault=fd-extra:1");
    client.go(nextHop(RUNNING, STOP, client.flags)!);
    assert.equal(client.given, true);
  },
  "data-size-small": (make) => {
    using client = make("fault=data-size-small");
    assert.equal(client.dataSize, 655);
  },
  "no-data": (make) => {
    using client = make("fault=no-data");
    client.go(STOP_COPY);
    assert.equal(client.read(16).length, 0);
  },
  "initial-zero": (make) => {
    using client = make("fault=initial-zero");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    const { initial, dirty } = client.info();
    assert.equal(initial, 0);
    assert.ok(dirty > 0);
  },
  "initial-stays": (make) => {
    using client = make("fault=initial-stays");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    const { initial } = client.info();
    client.read(16);
    assert.equal(client.info().initial, initial);
  },
  "dirty-first": (make) => {
    using client = make("fault=dirty-first");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    assert.deepEqual([client.info().dirty, client.info().dirty], [4096, 0]);
  },
  "drained-zero": (make) => {
    using client = make("fault=drained-zero");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    client.read(1 << 20);
    assert.equal(client.read(16).length, 0);
  },
  "precopy-flags": (make) => {
    using client = make("fault=precopy-flags");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    const info = vfioPrecopyInfo.pack({});
    client.kernel.ioctl(client.data, VFIO_MIG_GET_PRECOPY_INFO, info);
    assert.equal(vfioPrecopyInfo.unpack(info).flags, 2);
  },
  "block": (make) => {
    using client = make("fault=block:60ms:2");
    client.go(STOP_COPY);
    client.read(8);
    assert.deepEqual(napsOf(() => client.read(8)), [60]);
    assert.deepEqual(napsOf(() => client.read(8)), []);
    using slow = make("fault=block:60ms:always");
    slow.go(STOP_COPY);
    assert.deepEqual(napsOf(() => (slow.read(8), slow.read(8))), [60, 60]);
  },
  "eintr-partial": (make) => {
    using client = make("fault=eintr-partial:1");
    client.go(STOP_COPY);
    refused("EINTR", () => client.read(8));
    assert.ok(client.read(8).length > 0);
  },
  "reset-ignored": (make) => {
    using client = make("fault=reset-ignored:1");
    client.go(STOP);
    client.reset();
    assert.equal(client.v2State, STOP);
    client.reset();
    assert.equal(client.v2State, RUNNING);
  },
  "gone": (make) => {
    using client = make("fault=gone:1");
    client.go(STOP_COPY);
    refused("ENODEV", () => client.read(8));
    refused("ENODEV", () => client.v2State);
    refused("ENODEV", () => client.reset());
    const { kernel, group, device } = client;
    refused("ENODEV", () => kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, text(device.path)));
  },
  "data-size-zero": (make) => {
    using client = make("fault=data-size-zero:2");
    assert.deepEqual([client.dataSize, client.dataSize, client.dataSize], [0, 0, 65536]);
  },
  "never-drains": (make) => {
    using client = make("fault=never-drains");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    for (let i = 0; i < 64; i += 1) assert.equal(client.read(65536).length, 65536);
    assert.ok(client.info().dirty > 0);
    client.go(STOP_COPY);
    client.readAll();
  },
  "initial-never-zero": (make) => {
    using client = make("fault=initial-never-zero");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    const { initial } = client.info();
    client.read(initial + 65536);
    assert.equal(client.info().initial, 4096);
  },
  "precopy-info": (make) => {
    using client = make("fault=precopy-info:1:EIO");
    client.go(VFIO_DEVICE_STATE_PRE_COPY);
    refused("EIO", () => client.info());
    client.info();
  },
  "read": (make) => {
    using client = make("fault=read:2:EIO");
    client.go(STOP_COPY);
    client.read(16);
    refused("EIO", () => client.read(16));
    assert.equal(client.read(16).length, 16);
  },
  "short-read": (make) => {
    using client = make("fault=short-read:1");
    client.go(STOP_COPY);
    assert.equal(client.read(16).length, 8);
    assert.equal(client.read(16).length, 16);
  },
  "write": (make) => {
    using client = make("fault=write:1:EAGAIN&fault=write:2:EIO");
    client.go(RESUMING);
    refused("EAGAIN", () => client.write(bytes(16)));
    refused("EIO", () => client.write(bytes(16)));
  },
  "short-write": (make) => {
    using client = make("fault=short-write:1");
    client.go(RESUMING);
    assert.equal(client.write(bytes(15)), 8);
  },
  "log-start": (make) => {
    using client = make("fault=log-start:1:EOPNOTSUPP");
    using log = new LogCalls(client);
    refused("EOPNOTSUPP", () => log.start([[0n, 4096n]]));
    log.start([[0n, 4096n]]);
  },
  "log-report": (make) => {
    using client = make("fault=log-report:2:EIO");
    using log = new LogCalls(client);
    log.start([[0n, 4096n]]);
    log.report(0n, 4096n);
    refused("EIO", () => log.report(0n, 4096n));
    log.report(0n, 4096n);
  },
  "log-stop": (make) => {
    using client = make("fault=log-stop:1:EIO");
    using log = new LogCalls(client);
    log.start([[0n, 4096n]]);
    refused("EIO", () => log.stop());
    log.report(0n, 4096n);
    log.stop();
    refused("EINVAL", () => log.report(0n, 4096n));
  },
  "log-error": (make) => {
    using client = make("fault=log-error:2");
    using log = new LogCalls(client);
    log.start([[0n, 4096n]]);
    log.report(0n, 4096n);
    refused("EIO", () => log.report(0n, 4096n));
    refused("EIO", () => log.report(0n, 4096n));
    log.stop();
    log.start([[0n, 4096n]]);
    log.report(0n, 4096n);
  },
  "no-log-report": (make) => {
    using client = make("fault=no-log-report");
    using log = new LogCalls(client);
    log.start([[0n, 4096n]]);
    refused("EOPNOTSUPP", () => log.report(0n, 4096n));
    log.stop();
  },
};
