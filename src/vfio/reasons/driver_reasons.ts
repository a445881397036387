/**
 * The reasons why a device's driver is not suitable, with their stable codes, and commands that
 * bind the right one.
 *
 * @module
 */

import { blocks } from "./reason_kinds.ts";
import { shellEcho, shellWord } from "../../base/shell.ts";
import {
  lacksMigration,
  migratesFrom,
  type VariantDriver,
  type VariantFinding,
  type VfioDriver,
} from "../sysfs/variant_driver.ts";
import type { Bridge } from "../sysfs/pci_header.ts";
import type { SysfsDevice } from "../sysfs/sysfs.ts";
import type { Reason } from "./unsupported_error.ts";

export type { VariantDriver, VariantFinding, VfioDriver };

/** The driver of a bus that takes any device, and migrates none. */
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
  if (device.group === null) {
    return reason("Turn the IOMMU on first: without it no VFIO driver takes the device");
  }
  if (variant.kind === "known") return reason(bindingCommands(device, variant));
  const commands = bindingCommands(device, plain, bus === "pci" && variant.plainIsThere);
  if (variant.kind === "unknown") {
    return reason(`${commands} # to migrate it, bind the VFIO driver of its vendor instead`);
  }
  const kernel = variant.kind === "none" ? ` of kernel ${variant.release}` : "";
  return reason(`${commands} # without migration: no VFIO driver${kernel} migrates it`);
}

/** `bridge`: a part of the machine that migrates nothing. */
export function bridge({ name, driver }: SysfsDevice, kind: Bridge): Reason {
  const message = `${name} is ${kind === "ISA" ? "an" : "a"} ${kind} bridge` +
    (driver === null ? "" : ` (driver "${driver}")`);
  if (kind !== "PCI") {
    return blocks(
      "bridge",
      `${message}: it has no state to migrate, and need not be bound to a VFIO driver`,
      "Name another device: ls /sys/bus/pci/devices",
    );
  }
  return blocks(
    "bridge",
    `${message}: no VFIO driver takes it, and none needs to`,
    `Name a device behind it: ls -d ${shellWord(`/sys/bus/pci/devices/${name}`)}/*:*:*.[0-7]`,
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
      `See which types it can have (cat ${shellWord(`${folder}/creatable_vgpu_types`)}), and ` +
        `choose one by its number: echo NUMBER > ${shellWord(`${folder}/current_vgpu_type`)}`,
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
export function isPhysical({ virtualFunction, totalVfs }: SysfsDevice): boolean {
  return !virtualFunction && (totalVfs ?? 0) > 0;
}

/** What to do with a physical function, which the machine's network may depend on. */
function useVirtualFunction(device: SysfsDevice): string {
  const { path, name, driver, totalVfs, numVfs } = device;
  const list = `ls -d ${shellWord(path)}/virtfn*`;
  const migrates = `The virtual functions of ${name} migrate, not ${name} itself`;
  if ((numVfs ?? 0) > 0) return `${migrates}. It has ${numVfs}; name one of them: ${list}`;
  const make = `${shellEcho("1")} > ${shellWord(`${path}/sriov_numvfs`)} && ${list}`;
  if (driver !== null && !isPlain(device)) {
    return `${migrates}. Leave it to "${driver}", and make one or more, up to ${totalVfs}: ${make}`;
  }
  return `${migrates}. Give it back to its vendor's own driver, and make one or more, up to ` +
    `${totalVfs}: ${givingBackCommands(device)} && ${make}`;
}

/** Whether a device is bound to plain vfio-pci, which takes any function and migrates none. */
export function isPlain({ bus, driver }: SysfsDevice): boolean {
  return bus === "pci" && driver === "vfio-pci";
}

/** Gives a device to the driver that takes it without being told to. */
function givingBackCommands(device: SysfsDevice): string {
  const { bus, driver } = device;
  const folder = `/sys/bus/${bus}/devices/${device.name}`;
  return [
    `modprobe "$(cat ${shellWord(`${folder}/modalias`)})"`,
    `echo > ${shellWord(`${folder}/driver_override`)}`,
    ...(driver === null ? [] : [unbind(device)]),
    probe(device),
  ].join(" && ");
}

/**
 * Gives a device to another driver. A driver's name is not always its module's: if the driver is
 * not there yet, the shell reads the name from what sysfs says of the module. Nothing is taken from
 * the device before the new driver is there, and if that does not take it, it is given back.
 */
function bindingCommands(
  device: SysfsDevice,
  to: VfioDriver,
  isThere = to.driver !== null,
): string {
  const { name, bus, driver } = device;
  const folder = `/sys/bus/${bus}/devices/${name}`;
  const override = shellWord(`${folder}/driver_override`);
  const made = shellWord(`/sys/module/${to.module.replaceAll("-", "_")}/drivers`);
  const choose = isThere && to.driver !== null ? [`${shellEcho(to.driver)} > ${override}`] : [
    `modprobe ${shellWord(to.module)}`,
    `driver=$(ls -d ${made}/${bus}:*)`,
    `echo "\${driver##*:}" > ${override}`,
  ];
  const undo = `${driver === null ? "echo" : shellEcho(driver)} > ${override}`;
  const probed = probe(device);
  return [
    ...choose,
    ...(driver === null ? [] : [unbind(device)]),
    `{ ${probed}; test -e ${shellWord(`${folder}/driver`)} || { ${undo}; ${probed}; false; }; }`,
  ].join(" && ");
}

function unbind({ name, bus }: SysfsDevice): string {
  return `${shellEcho(name)} > ${shellWord(`/sys/bus/${bus}/devices/${name}/driver/unbind`)}`;
}

function probe({ name, bus }: SysfsDevice): string {
  return `${shellEcho(name)} > ${shellWord(`/sys/bus/${bus}/drivers_probe`)}`;
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
      ? `The driver "${driver}" migrates in no known release of Linux`
      : `The driver "${driver}" migrates from Linux ${since} on`;
  }
  if (driver?.replaceAll("-", "_") === "mlx5_vfio_pci") {
    const pf = device?.physicalFunction ?? "PF";
    return "Its migration is switched off, or its firmware has none. See which of the ports of " +
      `its physical function it is (devlink port show), and turn it on while no driver is bound ` +
      `to it: devlink port function set ${shellWord(`pci/${pf}/PORT`)} migratable enable`;
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
        "migrate, and it does not",
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
