/**
 * QEMU's edu devices behind the emulated IOMMU, bound to vfio-pci: what a
 * passed-through device is like. One is alone in its IOMMU group, two are
 * functions of one slot.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { probe } from "../../../mod.ts";

const DEVICES = "/sys/bus/pci/devices";
const EDU = "0x1234:0x11e8";
/** Where qemu.ts puts them. */
const ALONE = "0000:00:0f.0";
const SIBLINGS = ["0000:00:10.0", "0000:00:10.1"] as const;

function requireEdu(address: string): void {
  const ids = ["vendor", "device"]
    .map((name) => readFileSync(`${DEVICES}/${address}/${name}`, "utf8").trim());
  assert.equal(ids.join(":"), EDU, `${address} is not edu`);
}

function bind(address: string): void {
  requireEdu(address);
  if (existsSync(`${DEVICES}/${address}/driver`)) return;
  // By what the tool prints, as it stands.
  const { hint } = probe(address, { open: false }).reasons[0]!;
  execFileSync("sh", ["-ec", hint]);
  assert.ok(existsSync(`${DEVICES}/${address}/driver`), `not bound by: ${hint}`);
}

/** There is one of each, and a group can be opened once. */
let free: Promise<unknown> = Promise.resolve();

function lend(addresses: readonly string[], use: () => Promise<void>): Promise<void> {
  const used = free.then(async () => {
    addresses.forEach(bind);
    await use();
  });
  free = used.catch(() => {});
  return used;
}

/** Lends the device that is alone, by its PCI address, to one at a time. */
export function withEdu(use: (address: string) => Promise<void>): Promise<void> {
  return lend([ALONE], () => use(ALONE));
}

/** Lends the two of one group, to one at a time. */
export function withSiblings(
  use: (first: string, second: string) => Promise<void>,
): Promise<void> {
  return lend(SIBLINGS, () => use(...SIBLINGS));
}

/** A driver of the guest's module that is not VFIO's, and takes any function. */
export const HOST_DRIVER = "vfiokit_host";

function rebind(address: string, driver: string): void {
  requireEdu(address);
  const folder = `${DEVICES}/${address}`;
  if (existsSync(`${folder}/driver`)) writeFileSync(`${folder}/driver/unbind`, `${address}\n`);
  writeFileSync(`${folder}/driver_override`, `${driver}\n`);
  writeFileSync("/sys/bus/pci/drivers_probe", `${address}\n`);
}

/** Lends the first of the two of one group, while a driver of the host has the second. */
export function withHostDriver(
  use: (address: string, holder: string) => Promise<void>,
): Promise<void> {
  const [address, holder] = SIBLINGS;
  return lend([address], async () => {
    rebind(holder, HOST_DRIVER);
    try {
      await use(address, holder);
    } finally {
      rebind(holder, "vfio-pci");
    }
  });
}
