/**
 * What the cases about devices' own nodes stand on: whether the kernel has
 * them, and devices to show them with.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { type DeviceType, type GuestDevice, lacks, withPair } from "./device.ts";
import { withEdu } from "./edu.ts";
import type { Case } from "./harness.ts";

export const PAGE = 4096n;
export const MAPS = [{ iova: 0x100000n, size: 64n * PAGE }, { iova: 1n << 32n, size: 16n * PAGE }];

/** Why nothing of this can be shown here. */
export function lacksCdevs(): string | null {
  if (!existsSync("/dev/iommu")) return "this kernel has no /dev/iommu (CONFIG_IOMMUFD)";
  return /^ *\d+ vfio-dev$/m.test(readFileSync("/proc/devices", "utf8"))
    ? null
    : "this kernel has no character devices of devices (CONFIG_VFIO_DEVICE_CDEV)";
}

/** A case of this file, with a pair of the guest driver's devices. */
export function withCdevs(
  name: string,
  type: DeviceType,
  run: (first: GuestDevice, second: GuestDevice, folder: string) => Promise<void>,
): Case {
  return {
    name: `cdev: ${name}`,
    lacks: () => lacksCdevs() ?? lacks(type),
    run: (folder) => withPair(type, { size: 1 << 20 }, (...pair) => run(...pair, folder)),
  };
}

/** A case with QEMU's edu, behind the emulated IOMMU. */
export function withFunction(name: string, run: (address: string) => Promise<void>): Case {
  return { name: `cdev: behind an IOMMU: ${name}`, lacks: lacksCdevs, run: () => withEdu(run) };
}

export function refusal<T extends Error>(
  kind: new (...args: never[]) => T,
  run: () => Disposable,
): T {
  try {
    run()[Symbol.dispose]();
  } catch (error) {
    assert.ok(error instanceof kind, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it was opened" });
}
