/**
 * QEMU's edu device behind the emulated IOMMU, bound to vfio-pci: what a
 * passed-through device is like.
 *
 * @module
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const DEVICES = "/sys/bus/pci/devices";
const EDU = "0x1234:0x11e8";

function find(): string {
  const id = (address: string): string =>
    ["vendor", "device"].map((name) => readFileSync(`${DEVICES}/${address}/${name}`, "utf8").trim())
      .join(":");
  const address = readdirSync(DEVICES).find((address) => id(address) === EDU);
  if (address === undefined) throw new Error(`Cannot find the PCI device ${EDU}`);
  return address;
}

function bind(address: string): void {
  if (existsSync(`${DEVICES}/${address}/driver`)) return;
  writeFileSync(`${DEVICES}/${address}/driver_override`, "vfio-pci\n");
  writeFileSync("/sys/bus/pci/drivers_probe", `${address}\n`);
}

/** There is one such device, and a group can be opened once. */
let free: Promise<unknown> = Promise.resolve();

/** Lends the device, by its PCI address, to one at a time. */
export function withEdu(use: (address: string) => Promise<void>): Promise<void> {
  const used = free.then(async () => {
    const address = find();
    bind(address);
    await use(address);
  });
  free = used.catch(() => {});
  return used;
}
