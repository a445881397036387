/**
 * Asks a kernel every type1 call of which the answer is known, with a device of
 * its own that nobody else uses; prints a line of JSON for each, with what was
 * expected and what came.
 *
 *     type1_answers.ts DEVICE [--hardware] [--dma FILE]
 *
 * `--hardware`: IOMMU hardware stands before the device. `--dma`: a file that
 * tells its driver what to write and pin, see `dmaThroughFile`; without it what
 * needs that is left out.
 *
 * Exit code 0: all as expected; 1: not.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { parseDeviceName } from "../../src/vfio/device_name.ts";
import { kernelFor, nameIn } from "../../src/vfio/kernel_for.ts";
import { readSysfsDevice, sysfsPath } from "../../src/vfio/sysfs.ts";
import { askGroup, dmaThroughFile, type Host, TYPE1_CASES } from "./type1_cases/mod.ts";

function hostOf(text: string, hardware: boolean, dma: string | undefined): Host {
  const name = parseDeviceName(text);
  const kernel = kernelFor(name);
  const device = readSysfsDevice(kernel, sysfsPath(nameIn(kernel, name)));
  if (device === null || device.group === null) {
    throw new TypeError(`Cannot ask about "${text}": there is no such device in an IOMMU group`);
  }
  const release = kernel.name === "sim" ? "6.1" : kernel.readText("/proc/sys/kernel/osrelease");
  return {
    kernel,
    version: /^\d+\.\d+/.exec(release)![0],
    group: device.group.path,
    device: device.name,
    hardware,
    dma: dma === undefined ? null : dmaThroughFile(kernel, dma),
  };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { hardware: { type: "boolean", default: false }, dma: { type: "string" } },
});
if (positionals.length !== 1) throw new TypeError("Cannot ask: name one device");
const host = hostOf(positionals[0]!, values.hardware, values.dma);
for (const group of TYPE1_CASES) {
  for (const row of askGroup(group, host)) {
    const ok = row.got === row.expected;
    if (!ok) process.exitCode = 1;
    console.log(JSON.stringify({ ...row, ok }));
  }
}
