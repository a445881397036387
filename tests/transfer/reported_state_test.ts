// Whatever fails at whatever step, the state that the error tells is the device's true one.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { TransferReport } from "../../src/transfer/report.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { type Device, type OnError, openDevice } from "../../src/migration/device.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import type { Recovery } from "../../src/vfio/state/recovery.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import type { StateName } from "../../src/vfio/state/states.ts";
import { canHave, parseFault } from "../../src/sim/faults/fault_plan.ts";
import { type PersonalityName, SimKernel } from "../../src/sim/mod.ts";
import { watchingReads } from "../migration/_fresh_reads.ts";
import { trueState } from "../migration/_true_state.ts";
import { memorySink, memorySource } from "./_several.ts";

const SIZE = "size=32KiB&chunk=16KiB";

/** What strikes at the Nth chance. */
const FAULTS: readonly ((nth: number) => string)[] = [
  (nth) => `transition:${nth}:EIO`,
  (nth) => `error-state:${nth}`,
  (nth) => `late-error:${nth}`,
  (nth) => `state-read:${nth}:EIO`,
  (nth) => `read:${nth}:EIO`,
  (nth) => `write:${nth}:EFAULT`,
  (nth) => `load:${nth}:EIO`,
  (nth) => `gone:${nth}`,
  (nth) => `eintr-partial:${nth}`,
  (nth) => `read:1:EIO&fault=error-state:${nth}`,
  (nth) => `read:1:EIO&fault=transition:${nth}:EBUSY`,
  (nth) => `read:1:EIO&fault=state-read:${nth}:EIO`,
  (nth) => `write:1:EFAULT&fault=state-read:${nth}:EIO`,
  (nth) => `error-state:2&fault=state-read:${nth}:EIO`,
];

/** What becomes of the resets that follow. */
const RESETS: readonly string[] = [
  "",
  "&fault=reset:1:EAGAIN&fault=reset:2:EAGAIN",
  "&fault=reset-ignored:always",
  "&fault=reset-ignored:1",
  "&fault=reset:1:EIO&fault=reset:2:EIO&fault=reset:3:EIO",
];

/** As many chances as are looked at where the work fails by itself. */
const MOST = 8;

interface Told {
  readonly state: StateName | null;
  readonly recovery: Recovery;
}

/** What an error tells of the device with this number; null where it tells nothing. */
function told(error: unknown, number: number): Told | null {
  if (error instanceof TransferError) return error.devices[number]!;
  if (error instanceof MigrationError) {
    return { state: error.deviceState, recovery: error.recovery };
  }
  return null;
}

/** The state of the device with this number, where the work reports one. */
function reported(report: unknown, number: number): StateName | null {
  const { state, devices } = (report ?? {}) as Partial<TransferReport>;
  return devices?.[number]?.state ?? state ?? null;
}

type Work = (devices: readonly Device[], checkpoint: Uint8Array) => Promise<unknown>;

const one = (work: (device: Device, checkpoint: Uint8Array) => Promise<unknown>): Work =>
(
  [device],
  checkpoint,
) => work(device!, checkpoint);

/** From a pipe: what is wrong with it shows while the device is given it. */
const pipe = (bytes: Uint8Array) => memorySource(bytes, 9000);
const cut = (bytes: Uint8Array) => pipe(bytes.subarray(0, bytes.length - 6000));

async function drain(stream: ReadableStream<unknown>): Promise<void> {
  for await (const _ of stream);
}

const ALONE: readonly (readonly [name: string, work: Work])[] = [
  ["save", one((device) => save(device, memorySink()))],
  [
    "save that leaves it stopped",
    one((device) => save(device, memorySink(), { leave: "stop" })),
  ],
  [
    "save with pre-copy",
    one((device) => save(device, memorySink(), { precopy: { maxRounds: 2 } })),
  ],
  ["restore", one((device, bytes) => restore(device, pipe(bytes)))],
  [
    "restore that leaves it stopped",
    one((device, bytes) => restore(device, pipe(bytes), { leave: "stop" })),
  ],
  ["restore of a cut stream", one((device, bytes) => restore(device, cut(bytes)))],
  [
    "phases one by one",
    one(async (device) => {
      if (device.description.precopy) await drain(precopy(device, { maxRounds: 2 }));
      await drain(stopAndCopy(device));
      await device.setState("running");
    }),
  ],
  [
    "states and a reset",
    one(async (device) => {
      await device.setState("stop");
      await device.setState("running");
      await device.reset();
    }),
  ],
];

const TOGETHER: readonly (readonly [name: string, work: Work])[] = [
  ["save", (devices) => save(devices, memorySink())],
  [
    "save with pre-copy",
    (devices) => save(devices, memorySink(), { precopy: { maxRounds: 2 } }),
  ],
  ["restore", (devices, bytes) => restore(devices, pipe(bytes))],
  [
    "restore that leaves them stopped",
    (devices, bytes) => restore(devices, pipe(bytes), { leave: "stop" }),
  ],
  ["restore of a cut stream", (devices, bytes) => restore(devices, cut(bytes))],
];

/** What the devices are restored from. */
interface Source {
  readonly checkpoint: Uint8Array;
  /** By device: the checksums of its own state, and of that which it is restored from. */
  readonly whole: readonly (readonly number[])[];
}

/** Runs the work on devices of one kernel; returns whether it failed. */
async function attempt(
  specs: readonly string[],
  onError: OnError,
  { checkpoint, whole }: Source,
  work: Work,
): Promise<boolean> {
  const sim = new SimKernel(...specs);
  const { kernel, blind } = watchingReads(sim);
  const devices: Device[] = [];
  const what = `${specs.join(" + ")} (${onError})`;
  let failed = false;
  try {
    for (const { path } of sim.devices) devices.push(await openDevice(path, { kernel, onError }));
    try {
      const report = await work(devices, checkpoint);
      for (const [number, device] of sim.devices.entries()) {
        const state = reported(report, number);
        if (state === null || state === "unknown" && /gone/.test(specs[number]!)) continue;
        const truth = trueState(device, devices[number]!.description.protocol!);
        assert.equal(state, truth, `${what}: device ${number} in the report`);
      }
    } catch (error) {
      failed = true;
      for (const [number, device] of sim.devices.entries()) {
        const tells = told(error, number);
        const { message } = error as Error;
        const truth = trueState(device, devices[number]!.description.protocol!);
        if (tells === null) {
          assert.equal(truth, "running", `${what}: no state is told, by "${message}"`);
          continue;
        }
        // One that is gone answers nothing any more.
        if (tells.state === "unknown" && /gone/.test(specs[number]!)) continue;
        assert.equal(tells.state, truth, `${what}: device ${number} by "${message}"`);
        if (["running", "reset", "reopened"].includes(tells.recovery)) {
          assert.equal(truth, "running", `${what}: ${tells.recovery}, by "${message}"`);
        }
        if (truth !== "running") assert.match(message, new RegExp(`\\b${truth}\\b`), what);
      }
      for (const [number, device] of sim.devices.entries()) {
        const truth = trueState(device, devices[number]!.description.protocol!);
        if (truth !== "running") continue;
        // What runs has its own state, or a whole one that its driver has judged.
        assert.ok(whole[number]!.includes(device.checksum()), `${what}: device ${number} runs`);
      }
    }
  } finally {
    for (const device of devices) await device.close();
  }
  assert.deepEqual(blind, [], what);
  for (const { violations } of sim.devices) assert.deepEqual(violations, [], what);
  assert.deepEqual(sim.openObjects, [], what);
  return failed;
}

async function sourceOf(kinds: readonly PersonalityName[]): Promise<Source> {
  const own = new SimKernel(...specsOf(kinds, 1)).devices.map((device) => device.checksum());
  const sim = new SimKernel(...specsOf(kinds, 50));
  const devices: Device[] = [];
  for (const { path } of sim.devices) devices.push(await openDevice(path, { kernel: sim }));
  const sink = memorySink();
  await save(devices, sink);
  for (const device of devices) await device.close();
  const whole = sim.devices.map((device, index) => [own[index]!, device.checksum()]);
  return { checkpoint: sink.bytes, whole };
}

function specsOf(kinds: readonly PersonalityName[], seed: number): string[] {
  return kinds.map((kind, index) => {
    const size = kind === "ice" ? "size=32KiB" : SIZE;
    return `${kind}?${size}&seed=${seed + index}`;
  });
}

/** Every fault at every step of the work, for each of the devices in turn. */
async function everyStep(
  kinds: readonly PersonalityName[],
  onError: OnError,
  work: Work,
): Promise<void> {
  const source = await sourceOf(kinds);
  for (const victim of kinds.keys()) {
    for (const fault of FAULTS) {
      const names = fault(1).split("&fault=").map((text) => parseFault(text).name);
      if (!names.every((name) => canHave(kinds[victim]!, name))) continue;
      // What becomes of a reset does not depend on all that may lead to it.
      const varied = kinds.includes("trapped") && names.length === 1 && names[0] !== "read";
      for (const reset of varied ? RESETS : [""]) {
        // A chance that does not come up leaves the work undisturbed, as do a few that do.
        for (let nth = 1, undisturbed = 0; nth <= MOST && undisturbed < 2; nth++) {
          const specs = specsOf(kinds, 1);
          specs[victim] += `&fault=${fault(nth)}${reset}`;
          const failed = await attempt(specs, onError, source, work);
          undisturbed = failed ? 0 : undisturbed + 1;
        }
      }
    }
  }
}

const KINDS: readonly PersonalityName[] = [
  ...["trapped", "ice", "nvidia-vgpu"] as const,
  ...["mlx5", "hisi", "mtty", "stop-copy-only"] as const,
];

const TEAMS: readonly (readonly PersonalityName[])[] = [
  ["mlx5", "trapped"],
  ["qat", "stop-copy-only"],
];

// No runtime changes these, and there are thousands of attempts: each has its half.
for (const onError of "Deno" in globalThis ? ["reset"] as const : ["leave"] as const) {
  describe(`if a failure is to ${onError} the device, the reported state is the true one:`, () => {
    for (const [name, work] of ALONE) {
      for (const kind of KINDS) {
        it(`${name}, ${kind}`, () => everyStep([kind], onError, work));
      }
    }
    for (const [name, work] of TOGETHER) {
      for (const kinds of TEAMS) {
        it(`${name}, ${kinds.join(" and ")}`, () => everyStep(kinds, onError, work));
      }
    }
  });
}
