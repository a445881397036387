/**
 * Traces of real drivers: they have the kernel's own calls and answers, and they can be replayed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readTrace, type TraceEvent } from "../../../../src/trace/mod.ts";
import { type DeviceType, lacks, type Settings, withDevice } from "../device.ts";
import type { Case } from "../harness.ts";
import { bun, deno, expectExit, type Runtime, vfiokit } from "../programs.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };

/** What a save of a device must have asked of the kernel, in this order, by request or register. */
const V1_CALLS = [
  ...["VFIO_GROUP_GET_DEVICE_FD", "VFIO_DEVICE_GET_INFO", "VFIO_DEVICE_GET_REGION_INFO"],
  ...["device_state", "pending_bytes", "data_offset", "data_size", "data", "device_state"],
];
const V2_CALLS = [
  ...["VFIO_GROUP_GET_DEVICE_FD", "VFIO_DEVICE_GET_INFO", "MIGRATION", "MIG_DEVICE_STATE"],
  ...["MIG_DEVICE_STATE", "read", "MIG_DEVICE_STATE"],
];

const TYPES: readonly (readonly [DeviceType, Runtime, readonly string[]])[] = [
  ["trapped", deno, V1_CALLS],
  ["v2", bun, V2_CALLS],
];

function nameOf({ feature, register, request, call }: TraceEvent): string {
  return feature ?? register ?? request ?? call;
}

/** The calls of a trace, all of which must be whole. */
function callsOf(path: string): TraceEvent[] {
  using trace = readTrace(path);
  assert.match(trace.header.kernel!, /^\d+\.\d+/);
  const calls: TraceEvent[] = [];
  for (const line of trace.lines()) {
    if (line.type === "call") calls.push(line);
    else if (line.type === "thread") assert.equal(line.kernel, "linux");
  }
  return calls;
}

export const cases: readonly Case[] = TYPES.map(([type, runtime, wanted]): Case => ({
  name:
    `trace: save: ${type}: has the kernel's calls and answers, and is replayed without the device`,
  lacks: () => lacks(type),
  run: async (folder) => {
    const [trace, saved, again] = ["trace", "saved", "again"].map((name) => `${folder}/${name}`);
    let uuid = "";
    await withDevice(type, SMALL, async (device) => {
      uuid = device.uuid;
      const options = ["--trace", trace!, "--trace-data"];
      await expectExit(0, [...vfiokit(runtime), "save", uuid, "-o", saved!, ...options]);
    });
    const calls = callsOf(trace!);
    let at = 0;
    for (const event of calls) if (nameOf(event) === wanted[at]) at++;
    assert.equal(at, wanted.length, `no ${wanted[at]} behind ${wanted.slice(0, at)}`);
    const data = calls.filter(({ register, file, call }) =>
      register === "data" || (file === "data fd" && call === "read")
    );
    const bytes = data.reduce((sum, event) => sum + (event.data?.length ?? 0), 0);
    assert.ok(bytes >= SMALL.size!, `${bytes} bytes`);
    // Linux answers what a program asks before it knows: the probe of what the driver lacks.
    assert.ok(calls.some(({ errno, errnoNumber }) => errno !== undefined && errnoNumber! > 0));
    assert.ok(calls.every(({ duration }) => duration >= 0));
    // The device is gone: all answers come out of the trace.
    await expectExit(0, [...vfiokit(runtime), "save", `replay:${trace}`, "-o", again!]);
    const shown = await expectExit(0, [...vfiokit(runtime), "trace", "show", trace!, "--json"]);
    assert.equal(shown.stdout.trimEnd().split("\n").length, calls.length);
  },
}));
