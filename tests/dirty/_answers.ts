/**
 * What the programs that ask a kernel have in common: the device, named on the
 * command line, and the answers as lines of JSON.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { kernelFor, nameIn } from "../../src/vfio/open/kernel_for.ts";
import { readSysfsDevice, type SysfsDevice, sysfsPath } from "../../src/vfio/sysfs/sysfs.ts";
import type { AskedOf, Row } from "./type1_cases/case.ts";
import { dmaThroughFile } from "./type1_cases/device_dma.ts";

/** A device to ask about, which nobody else uses. */
export interface AskedDevice extends AskedOf {
  readonly kernel: Kernel;
  readonly sysfs: SysfsDevice;
  /** Its group's node. */
  readonly group: string;
}

/**
 * The device on the command line: `DEVICE [--hardware] [--dma FILE]`.
 *
 * @param simulated The version that a simulated kernel answers as.
 */
export function askedDevice(simulated: string): AskedDevice {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { hardware: { type: "boolean", default: false }, dma: { type: "string" } },
  });
  const [text] = positionals;
  if (text === undefined || positionals.length > 1) {
    throw new TypeError("Cannot ask: name one device");
  }
  const name = parseDeviceName(text);
  const kernel = kernelFor(name);
  const sysfs = readSysfsDevice(kernel, sysfsPath(nameIn(kernel, name)));
  if (sysfs === null || sysfs.group === null) {
    throw new TypeError(`Cannot ask about "${text}": there is no such device in an IOMMU group`);
  }
  const release = kernel.name === "sim" ? simulated : kernel.readText("/proc/sys/kernel/osrelease");
  return {
    kernel,
    sysfs,
    version: /^\d+\.\d+/.exec(release)![0],
    group: sysfs.group.path,
    hardware: values.hardware,
    dma: values.dma === undefined ? null : dmaThroughFile(kernel, values.dma),
  };
}

/** Prints the rows; where one is not as expected, the process will end with 1. */
export function printRows(rows: Iterable<Row>): void {
  for (const row of rows) {
    const ok = row.got === row.expected;
    if (!ok) process.exitCode = 1;
    console.log(JSON.stringify({ ...row, ok }));
  }
}
