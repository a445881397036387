/**
 * The reasons why a device's driver is not suitable, with their stable codes, and commands that
 * bind the right one.
 *
 * @module
 */

import { blocks } from "./reason.ts";
import {
  lacksMigration,
  migratesFrom,
  type VariantDriver,
  type VariantFinding,
  type VfioDriver,
} from "../sysfs/variant_driver.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import type { Reason } from "./unsupported.ts";

export type { VariantDriver, VariantFinding, VfioDriver };

/** What a driver of the bus is called that takes any device, and migrates none. */
const PLAIN: Readonly<Record<string, VfioDriver>> = {
  pci: { module: "vfio-pci", driver: "vfio-pci" },
  platform: { module: "vfio-platform", driver: "vfio-platform" },
};

/** `not-bound-to-vfio`: another driver has it, or none. */
export function notBound(device: SysfsDevice, variant: VariantDriver): Reason {
  const { name, bus, driver } = device;
  if (device.vgpuType !== null) return noVgpu(device, device.vgpuType);
  const message = driver === null
    ? `No driver is bound to ${name}`
    : `${name} is bound to the driver "${driver}", which is not a VFIO driver`;
  const reason = (hint: string): Reason => blocks("not-bound-to-vfio", message, hint);
  if (bus === "mdev") return reason("Load the module that drives mdevs of its type");
  const plain = PLAIN[bus];
  if (plain === undefined) return reason(`Bind it to the VFIO driver of the ${bus} bus`);
  if (isPhysical(device)) return reason(useVirtualFunction(device));
  if (variant.kind === "known") return reason(bindingCommands(device, variant));
  const commands = bindingCommands(device, plain, bus === "pci" && variant.plainIsThere);
  if (variant.kind === "no-migration") return reason(`${commands} # no VFIO driver migrates it`);
  return reason(
    `${commands} # to migrate it, name its vendor's VFIO driver in place of ${plain.module}`,
  );
}

/** `no-vgpu-type`, or a vGPU that its vendor's driver has not made a VFIO device of. */
function noVgpu({ name, driver, path }: SysfsDevice, type: string): Reason {
  const folder = `${path}/nvidia`;
  if (type === "0") {
    return blocks(
      "no-vgpu-type",
      `${name} has no vGPU type (nvidia/current_vgpu_type is 0), so its driver ` +
        `${driver === null ? "" : `"${driver}" `}makes no VFIO device of it`,
      `See which types it can have: cat ${folder}/creatable_vgpu_types; and choose one, by its ` +
        `number: echo NUMBER > ${folder}/current_vgpu_type`,
    );
  }
  return blocks(
    "not-bound-to-vfio",
    `${name} has the vGPU type ${type}, and its driver ` +
      `${driver === null ? "is not bound" : `"${driver}" has made no VFIO device of it`}`,
    "See whether the vendor's vGPU manager runs, and the kernel's log; the function stays with " +
      "its vendor's driver",
  );
}

/** Whether it is a physical function that can have virtual ones. */
function isPhysical({ virtualFunction, totalVfs }: SysfsDevice): boolean {
  return !virtualFunction && (totalVfs ?? 0) > 0;
}

/** What to do with a physical function: it may be what the machine's network hangs on. */
function useVirtualFunction({ path, name, driver }: SysfsDevice): string {
  const drive = driver === null || driver === "vfio-pci"
    ? "give it to its vendor's own driver"
    : `leave it to "${driver}"`;
  return `The virtual functions of ${name} are what migrates, not itself: ${drive}, make some ` +
    `(echo 1 > ${path}/sriov_numvfs), and name one of them (ls -d ${path}/virtfn*)`;
}

/**
 * Gives a device to another driver. A driver's name is not always its module's:
 * where it is not there yet, the shell finds it, spelled with - or _. Nothing is
 * taken from the device before the new driver is there.
 */
function bindingCommands(
  { name, bus, driver }: SysfsDevice,
  to: VfioDriver,
  isThere = to.driver !== null,
): string {
  const folder = `/sys/bus/${bus}/devices/${name}`;
  const glob = to.module.replaceAll(/[-_]/g, "[-_]");
  const named = to.driver === null
    ? `basename /sys/bus/${bus}/drivers/${glob}`
    : `echo ${to.driver}`;
  const steps = [
    ...(isThere ? [] : [`modprobe ${to.module}`]),
    `${named} > ${folder}/driver_override`,
    ...(driver === null ? [] : [`echo ${name} > ${folder}/driver/unbind`]),
    `echo ${name} > /sys/bus/${bus}/drivers_probe`,
  ];
  return steps.join(" && ");
}

/** `no-migration`: neither protocol. */
export function noMigration(device: SysfsDevice | null, driver: string | null): Reason {
  const message =
    `The device has no migration region${driver === null ? "" : ` (driver "${driver}")`}, ` +
    "and does not speak the v2 protocol";
  return blocks("no-migration", message, migrationHint(device, driver));
}

function migrationHint(device: SysfsDevice | null, driver: string | null): string {
  if (driver !== null && lacksMigration(driver, null)) {
    const since = migratesFrom(driver);
    return since === null
      ? `The driver "${driver}" migrates in no release of Linux that is known here`
      : `The driver "${driver}" migrates from Linux ${since} on`;
  }
  if (driver?.replaceAll("-", "_") === "mlx5_vfio_pci") {
    const pf = device?.physicalFunction ?? "PF";
    return "Its migration is switched off, or its firmware has none. See which of the ports of " +
      `its physical function it is (devlink port show), and turn it on while no driver is bound ` +
      `to it: devlink port function set pci/${pf}/PORT migratable enable`;
  }
  return "Look for a newer driver, or for a setting that turns migration on";
}

/** `needs-variant-driver`: plain vfio-pci has it, which migrates nothing. */
export function needsVariantDriver(device: SysfsDevice, variant: VariantDriver): Reason {
  const plain = `${device.name} is bound to plain vfio-pci, which does not migrate`;
  const reason = (more: string, hint: string): Reason =>
    blocks("needs-variant-driver", `${plain}${more}`, hint);
  if (isPhysical(device)) {
    return blocks(
      "physical-function",
      `${device.name} is a physical function, with up to ${device.totalVfs} virtual ones: those ` +
        "migrate, not itself",
      useVirtualFunction(device),
    );
  }
  switch (variant.kind) {
    case "known":
      return reason(
        `; the VFIO driver made for it is "${variant.driver ?? variant.module}"`,
        bindingCommands(device, variant),
      );
    case "no-migration": {
      const since = migratesFrom(variant.module);
      return reason(
        `; the VFIO driver made for it, "${variant.driver ?? variant.module}", does not either`,
        since === null
          ? "Look for a newer kernel, or for a VFIO driver of its vendor"
          : `It migrates from Linux ${since} on`,
      );
    }
    case "none":
      return reason(
        `; kernel ${variant.release} has no VFIO driver made for it`,
        "Look for a newer kernel, or for a VFIO driver of its vendor",
      );
    case "unknown":
      return reason(
        ": that takes the VFIO driver of its vendor. Whether this kernel has it is unknown" +
          (variant.unread.length === 0 ? "" : `: ${variant.unread.join(", ")} cannot be read`),
        variant.listed.length === 0
          ? "See which ones there are: grep vfio_pci: /lib/modules/$(uname -r)/modules.alias; in " +
            "a container, look on the host"
          : `It may be one that is there: ${variant.listed.join(", ")}`,
      );
  }
}
