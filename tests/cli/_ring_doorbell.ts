/**
 * The program of a lent device (fd:3): rings its doorbell, which makes the device write to an IOVA
 * of the memory that the program inherits, and prints what is there then.
 */

import * as fs from "node:fs";
import process from "node:process";
import { kernelFor } from "../../src/vfio/open/kernel_for.ts";
import { openVfioDevice, parseDeviceName } from "../../src/vfio/mod.ts";
import { doorbell } from "../sim/_doorbell.ts";

const name = parseDeviceName("fd:3");
const kernel = kernelFor(name);
const iova = BigInt(process.argv[2]!);
{
  using device = openVfioDevice(kernel, name);
  const { offset } = device.region(2);
  kernel.pwrite(device.fd.number, doorbell(iova, 4, 65), offset);
}
const [mapping] = JSON.parse(process.env["VFIOKIT_MAPPINGS"]!) as { iova: string }[];
const bytes = new Uint8Array(4);
const memory = Number(process.env["VFIOKIT_MEMORY_FD"]);
fs.readSync(memory, bytes, 0, bytes.length, Number(iova - BigInt(mapping!.iova)));
console.log(new TextDecoder().decode(bytes));
