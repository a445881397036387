/**
 * The bugs that the guest driver can have, named as the simulator's: each shows, on a real kernel,
 * as the probes of the simulator's tests say.
 *
 * @module
 */

import assert from "node:assert/strict";
import { libcKernel } from "../../../../src/kernel/libc/libc_kernel.ts";
import { SysError } from "../../../../src/kernel/sys_error.ts";
import type { BugName } from "../../../../src/sim/faults/bug_table.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
  vfioDeviceInfo,
} from "../../../../src/uapi/mod.ts";
import { parseDeviceName } from "../../../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../../../src/vfio/open/open.ts";
import { LogCalls } from "../../../migration/v2_cases/log_calls.ts";
import { V2Calls } from "../../../migration/v2_cases/calls.ts";
import type { BugCase } from "../../../sim/bugs/_case.ts";
import type { V2BugClient } from "../../../sim/bugs/_clients.ts";
import { V2_FEATURE_CASES } from "../../../sim/bugs/v2_feature_cases.ts";
import { V2_PRECOPY_CASES } from "../../../sim/bugs/v2_precopy_cases.ts";
import { V2_RESTORE_CASES } from "../../../sim/bugs/v2_restore_cases.ts";
import { V2_SAVE_CASES } from "../../../sim/bugs/v2_save_cases.ts";
import { V2_STATE_CASES } from "../../../sim/bugs/v2_state_cases.ts";
import { type DeviceType, type GuestDevice, lacks, withDevice } from "../device.ts";
import type { Case } from "../harness.ts";

const RUNNING = 2;
const STOP = 1;
const STOP_COPY = 3;
const RESUMING = 4;
const PRE_COPY = 6;

/** The result of a call, or the name of its errno. */
function said(call: () => unknown): unknown {
  try {
    return call() ?? "done";
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

/** What a probe sees of a device, opened for it alone. */
type Look = (device: GuestDevice) => unknown;

interface Shown {
  readonly name: BugName;
  readonly type: DeviceType;
  readonly look: Look;
  /** The answers; undefined where they depend on the size of the state, and must only differ. */
  readonly clean?: unknown;
  readonly buggy?: unknown;
}

function shows({ name, type, look, clean, buggy }: Shown): Case {
  const seen = async (bug: string): Promise<unknown> => {
    let answer: unknown;
    await withDevice(type, { size: 256 << 10, chunk: 64 << 10, bug }, async (device) => {
      answer = await look(device);
      device.forgetViolations();
    });
    return answer;
  };
  return {
    name: `bug: ${name}`,
    lacks: () => lacks(type),
    run: async () => {
      const [plain, broken] = [await seen(""), await seen(name)];
      if (clean !== undefined) assert.deepEqual(plain, clean, "clean");
      if (buggy !== undefined) assert.deepEqual(broken, buggy, "with the bug");
      assert.notDeepEqual(plain, broken);
    },
  };
}

/** Probes a v2 device by its calls. */
const byCalls = (probe: (calls: V2Calls) => unknown): Look => ({ uuid }) => {
  const kernel = libcKernel();
  using device = openVfioDevice(kernel, parseDeviceName(uuid));
  using calls = new V2Calls(kernel, device.fd.number);
  return probe(calls);
};

/** The simulator's probes that need nothing but the calls of a device. */
const CASES: Readonly<Record<string, BugCase<V2BugClient>>> = {
  ...V2_FEATURE_CASES,
  ...V2_PRECOPY_CASES,
  ...V2_RESTORE_CASES,
  ...V2_SAVE_CASES,
  ...V2_STATE_CASES,
};

/** Bugs whose probe answers as on the simulator. */
const AS_SIMULATED: readonly BugName[] = [
  "stop-copy-to-running",
  "combined-refused",
  "error-accepted",
  "unknown-state",
  "precopy-after-stop-copy",
  "refusal-with-eio",
  "refusal-stops",
  "same-state-refused",
  "state-lags",
  "failed-restore-runs",
  "stop-gives-fd",
  "stop-copy-ends-fd",
  "end-fails",
  "end-repeats",
  "end-enomsg",
  "end-unpolled",
  "small-read-zeroed",
  "changes-while-stopped",
  "old-fd-data",
  "old-fd-end",
  "poll-silent",
  "first-read-eagain",
  "early-close",
  "precopy-info-missing",
  "precopy-info-anywhere",
  "fd-ioctl",
  "initial-never-zero",
  "drained-end",
  "precopy-flags",
  "precopy-once",
  "reset-keeps-resuming",
  "reset-stops",
  "reset-busy",
  "reset-while-running",
];

/** Bugs whose probe answers with sizes, which are other ones here. */
const WITH_SIZES: readonly BugName[] = [
  "data-size-while-running",
  "data-size-zero",
  "data-size-small",
  "data-size-huge",
  "initial-zero",
  "initial-grows",
  "dirty-first",
  "precopy-counts-half",
];

const simulated: readonly Case[] = [...AS_SIMULATED, ...WITH_SIZES].map((name) => {
  const { probe, clean, buggy } = CASES[name]!;
  const look = byCalls((calls) => probe(calls as unknown as V2BugClient));
  const exact = AS_SIMULATED.includes(name);
  return shows({ name, type: "v2-full", look, ...(exact ? { clean, buggy } : {}) });
});

/** Reads all of the device's data, and begins a restore. */
function savedThenResuming(calls: V2Calls): Uint8Array<ArrayBuffer> {
  calls.go(STOP_COPY);
  const data = calls.readAll();
  calls.go(STOP, RESUMING);
  return data;
}

/** The answers of the writes, and of the step to STOP, for data that is made of the device's own. */
const restored = (
  change: (data: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
  length = 65536,
): Look =>
  byCalls((calls) => {
    const data = change(savedThenResuming(calls));
    const written = said(() => calls.writeAll(data, length));
    return [written, said(() => calls.go(STOP))];
  });

const longer = (data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
  const more = new Uint8Array(data.length + 10);
  more.set(data);
  return more;
};

const restores: readonly Case[] = [
  shows({
    name: "write-sixteen",
    type: "v2",
    look: restored((data) => data, 15),
    clean: ["done", "done"],
    buggy: ["EINVAL", "EINVAL"],
  }),
  shows({
    name: "cut-accepted",
    type: "v2",
    look: restored((data) => data.slice(0, -40)),
    clean: ["done", "EINVAL"],
    buggy: ["done", "done"],
  }),
  shows({
    name: "nothing-accepted",
    type: "v2",
    look: restored(() => new Uint8Array(0)),
    clean: ["done", "EINVAL"],
    buggy: ["done", "done"],
  }),
  shows({
    name: "excess-accepted",
    type: "v2",
    look: restored(longer),
    clean: ["ENOMEM", "EINVAL"],
    buggy: ["done", "done"],
  }),
  shows({
    name: "refused-write-forgotten",
    type: "v2",
    look: restored(longer),
    clean: ["ENOMEM", "EINVAL"],
    buggy: ["ENOMEM", "done"],
  }),
  shows({
    name: "late-write",
    type: "v2",
    look: byCalls((calls) => {
      calls.writeAll(savedThenResuming(calls));
      calls.go(STOP);
      return said(() => calls.write(new Uint8Array(9)));
    }),
    clean: "ENODEV",
    buggy: 9,
  }),
  shows({
    name: "restore-spoils",
    type: "v2",
    look: byCalls((calls) => {
      const data = savedThenResuming(calls);
      calls.writeAll(data);
      calls.go(STOP, STOP_COPY);
      return Buffer.compare(data, calls.readAll()) === 0;
    }),
    clean: true,
    buggy: false,
  }),
  shows({
    name: "missing-state",
    type: "v2",
    look: byCalls((calls) => said(() => calls.go(PRE_COPY))),
    clean: "EINVAL",
    buggy: "done",
  }),
];

const PAGES = 64n << 12n;

/** Probes the log of a device. */
const byLog = (probe: (log: LogCalls) => unknown): Look =>
  byCalls((calls) => {
    using log = new LogCalls(calls);
    return probe(log);
  });

/** Starts the log; answers the page size. */
const startLog = (log: LogCalls): number => Number(log.start([[0n, PAGES]]));

const logs: readonly Case[] = [
  shows({
    name: "log-twice",
    type: "v2-p2p",
    look: byLog((log) => [startLog(log), said(() => startLog(log))]),
    clean: [4096, "EINVAL"],
    buggy: [4096, 4096],
  }),
  shows({
    name: "log-odd-page",
    type: "v2-p2p",
    look: byLog(startLog),
    clean: 4096,
    buggy: 12288,
  }),
  shows({
    name: "log-stop-ignored",
    type: "v2-p2p",
    look: byLog((log) => {
      startLog(log);
      log.stop();
      return said(() => startLog(log));
    }),
    clean: 4096,
    buggy: "EINVAL",
  }),
];

/** The registers of a v1 device, whose migration region is region 9. */
class Registers {
  readonly #fd: number;
  readonly #kernel = libcKernel();

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(at: number, width: 4 | 8): number {
    const bytes = new Uint8Array(width);
    this.#kernel.pread(this.#fd, bytes, 9 * 2 ** 40 + at);
    const view = new DataView(bytes.buffer);
    return width === 4 ? view.getUint32(0, true) : Number(view.getBigUint64(0, true));
  }

  write(at: number, width: 4 | 8, value: number): void {
    const bytes = new Uint8Array(width);
    new DataView(bytes.buffer).setUint32(0, value >>> 0, true);
    this.#kernel.pwrite(this.#fd, bytes, 9 * 2 ** 40 + at);
  }

  get state(): number {
    return this.read(0, 4) & 7;
  }

  set(state: number): unknown {
    return said(() => this.write(0, 4, (this.read(0, 4) & ~7) | state));
  }

  readData(at: number, length: number): number {
    return this.#kernel.pread(this.#fd, new Uint8Array(length), 9 * 2 ** 40 + at);
  }

  reset(): unknown {
    return said(() => void this.#kernel.ioctl(this.#fd, VFIO_DEVICE_RESET));
  }
}

const byRegisters = (probe: (registers: Registers) => unknown): Look => ({ uuid }) => {
  using device = openVfioDevice(libcKernel(), parseDeviceName(uuid));
  return probe(new Registers(device.fd.number));
};

const V1_STOP = 0;
const V1_RUNNING = 1;
const V1_STOP_AND_COPY = 2;
const V1_PRE_COPY = 3;
const V1_RESUMING = 4;

/** The answer to a write of device_state, and the state then. */
const step = (state: number): Look =>
  byRegisters((registers) => [registers.set(state), registers.state]);

/** The answers of pending_bytes, twice, when all was read. */
function atEnd(registers: Registers): unknown {
  registers.set(V1_STOP_AND_COPY);
  for (let round = 0; round < 50; round += 1) {
    const pending = registers.read(8, 8);
    if (pending === 0 || pending === 4096) return [pending, registers.read(8, 8)];
    const offset = registers.read(16, 8);
    registers.readData(offset, registers.read(24, 8));
  }
  return "no end";
}

const v1 = (
  name: BugName,
  look: Look,
  clean: unknown,
  buggy: unknown,
): Case => shows({ name, type: "trapped", look, clean, buggy });

const registers: readonly Case[] = [
  v1("starts-stopped", byRegisters(({ state }) => state), V1_RUNNING, V1_STOP),
  v1(
    "reserved-lost",
    byRegisters((r) => [r.set(V1_STOP), r.read(0, 4) >>> 3 === 0]),
    ["done", false],
    ["done", true],
  ),
  v1("accepts-101", step(5), ["EINVAL", V1_RUNNING], ["done", 5]),
  v1("accepts-111", step(7), ["EINVAL", V1_RUNNING], ["done", 7]),
  v1("refused-write-stops", step(5), ["EINVAL", V1_RUNNING], ["EINVAL", V1_STOP]),
  v1("precopy-refused", step(V1_PRE_COPY), ["done", V1_PRE_COPY], ["EINVAL", V1_RUNNING]),
  v1(
    "only-from-precopy",
    step(V1_STOP_AND_COPY),
    ["done", V1_STOP_AND_COPY],
    ["EINVAL", V1_RUNNING],
  ),
  v1("stop-refused", step(V1_STOP), ["done", V1_STOP], ["EINVAL", V1_RUNNING]),
  v1(
    "register-lags",
    byRegisters((r) => [r.set(V1_STOP), r.state, r.state]),
    ["done", V1_STOP, V1_STOP],
    ["done", V1_RUNNING, V1_STOP],
  ),
  v1(
    "v1-reset-ignored",
    byRegisters((r) => [r.set(V1_STOP), r.reset(), r.state]),
    ["done", "done", V1_RUNNING],
    ["done", "done", V1_STOP],
  ),
  v1(
    "v1-reset-busy",
    byRegisters((r) => [r.set(V1_STOP), r.reset(), r.state]),
    ["done", "done", V1_RUNNING],
    ["done", "EBUSY", V1_STOP],
  ),
  v1("pending-writable", byRegisters((r) => said(() => r.write(8, 8, 0))), "EINVAL", "done"),
  v1("offset-writable", byRegisters((r) => said(() => r.write(16, 8, 0))), "EINVAL", "done"),
  v1(
    "reserved-stores",
    byRegisters((r) => [said(() => r.write(4, 4, 0x1234)), r.read(4, 4)]),
    ["EINVAL", 0],
    ["done", 0x1234],
  ),
  v1("pending-stays", byRegisters(atEnd), [0, 0], [4096, 4096]),
  v1("pending-returns", byRegisters(atEnd), [0, 0], [0, 4096]),
  ...(["offset-outside", "offset-zero"] as const).map((name) =>
    shows({
      name,
      type: "trapped",
      look: byRegisters((r) => [r.set(V1_STOP_AND_COPY), r.read(8, 8) > 0, r.read(16, 8)]),
    })
  ),
  ...(["size-outside", "size-once"] as const).map((name) =>
    shows({
      name,
      type: "trapped",
      look: byRegisters((r) => {
        r.set(V1_STOP_AND_COPY);
        r.read(8, 8);
        r.read(16, 8);
        return [r.read(24, 8), r.read(24, 8)];
      }),
    })
  ),
  v1(
    "partial-accepted",
    byRegisters((r) => [r.set(V1_RESUMING), r.set(V1_RUNNING)]),
    ["done", "EINVAL"],
    ["done", "done"],
  ),
];

/** The fields of VFIO_DEVICE_GET_INFO, twice. */
const infos: Look = ({ uuid }) => {
  const kernel = libcKernel();
  using device = openVfioDevice(kernel, parseDeviceName(uuid));
  return [0, 1].map(() => {
    const arg = vfioDeviceInfo.pack({});
    kernel.ioctl(device.fd.number, VFIO_DEVICE_GET_INFO, arg);
    const { flags, num_regions } = vfioDeviceInfo.unpack(arg);
    return [flags & 1, num_regions];
  });
};

/** The state when the device is opened again that was closed in STOP. */
const reopened: Look = (device) => {
  byCalls((calls) => calls.go(STOP))(device);
  return byCalls((calls) => calls.v2State)(device);
};

/** The bugs. */
export const cases: readonly Case[] = [
  ...simulated,
  ...restores,
  ...logs,
  ...registers,
  shows({ name: "no-reset-flag", type: "trapped", look: infos, buggy: [[0, 10], [0, 10]] }),
  shows({ name: "info-changes", type: "trapped", look: infos }),
  shows({ name: "close-keeps-state", type: "v2", look: reopened, clean: RUNNING, buggy: STOP }),
];
