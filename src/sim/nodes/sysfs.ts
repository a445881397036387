/**
 * The file tree (/sys, /dev, /proc) of a simulated kernel, laid out as in kernel 6.1.
 */

import { ConfigFile } from "../os/config_file.ts";
import type { SimGroup } from "./group.ts";
import type { OpenFile } from "../os/open_file.ts";
import { Tree } from "../os/tree.ts";
import { type MdevType, PERSONALITIES, type Personality } from "../personalities.ts";

/** Opens a node of /dev. */
export type Node = () => OpenFile;

/** How the nodes of /dev are opened. */
export interface Openers {
  /** /dev/vfio/vfio. */
  readonly container: Node;
  /** /dev/vfio/N. */
  readonly group: (group: SimGroup) => OpenFile;
  /** /dev/iommu. */
  readonly iommufd: Node;
  /** /dev/vfio/devices/vfioN, by its path. */
  readonly cdev: (path: string, group: SimGroup) => OpenFile;
}

/** Properties of the kernel and its process that the tree shows. */
export interface Settings {
  /** Whether there are /dev/iommu and a node per device. */
  readonly cdevs: boolean;
  /** Bytes that the process may lock; null for no limit. */
  readonly memlock: bigint | null;
  /** Whether the IOMMU remaps interrupts. */
  readonly remapsInterrupts: boolean;
  /** Whether /dev has the container node. */
  readonly containerNode: boolean;
  /** Whether /dev has the iommufd node. */
  readonly iommuNode: boolean;
}

/** A device that a host driver holds, in the group of a VFIO device. */
interface HostDevice {
  readonly address: (index: number) => string;
  readonly ids: readonly [number, number, number, number];
  readonly pciClass: number;
  readonly driver: string;
}

/** The host device that each of these faults adds to the group. */
const HOST_DEVICES: Readonly<Record<"group-not-viable" | "isa-bridge", HostDevice>> = {
  "group-not-viable": {
    address: (index) => `0000:00:1f.${index % 8}`,
    ids: [0x8086, 0x293e, 0x1af4, 0x1100],
    pciClass: 0x040300,
    driver: "snd_hda_intel",
  },
  "isa-bridge": {
    address: (index) => `0000:00:1e.${index % 8}`,
    ids: [0x8086, 0x2918, 0x1af4, 0x1100],
    pciClass: 0x060100,
    driver: "lpc_ich",
  },
};
const RELEASE = "6.12.0-sim";
/** The PCI bus of the first device; each virtual function has its own bus. */
const FIRST_BUS = 0x3b;

/** The bus name of the kernel's device with this index, counting from 0. */
export function deviceName({ mdev }: Personality, index: number): string {
  return mdev === null
    ? `0000:${(FIRST_BUS + index).toString(16)}:00.1`
    : `76666b69-7400-4000-8000-${String(index + 1).padStart(12, "0")}`;
}

/** The file tree of a kernel with these groups. */
export function fileTree(
  groups: readonly SimGroup[],
  openers: Openers,
  { cdevs, memlock, remapsInterrupts, containerNode, iommuNode }: Settings,
): Tree<Node> {
  const tree = new Tree<Node>();
  for (const path of ["/proc", "/sys/bus/pci/devices", "/sys/bus/mdev/devices"]) tree.folder(path);
  tree.folder("/sys/kernel/iommu_groups");
  tree.file("/proc/self/limits", limits(memlock));
  tree.file("/proc/sys/kernel/osrelease", `${RELEASE}\n`);
  tree.file(`/lib/modules/${RELEASE}/modules.alias`, moduleAliases());
  tree.file(`/lib/modules/${RELEASE}/modules.builtin.modinfo`, "");
  tree.file("/proc/interrupts", interrupts(remapsInterrupts));
  tree.folder("/sys/class/misc/vfio");
  if (containerNode) tree.device("/dev/vfio/vfio", openers.container);
  if (cdevs) tree.folder("/sys/class/misc/iommu");
  if (cdevs && iommuNode) tree.device("/dev/iommu", openers.iommufd);
  groups.forEach((group, index) => {
    const { faults } = group.device;
    const hasNode = faults.standing("no-device-node") === undefined;
    if (group.listed) {
      tree.folder(`/sys/class/vfio/${group.number}`);
      if (hasNode) tree.device(`/dev/vfio/${group.number}`, () => openers.group(group));
    }
    const { mdev } = group.device.personality;
    const path = mdev === null
      ? addVirtualFunction(tree, group, index)
      : addMdev(tree, group, mdev, index);
    addVfioDevice(tree, path, index, cdevs);
    const node = `/dev/vfio/devices/vfio${index}`;
    if (cdevs && hasNode) tree.device(node, () => openers.cdev(node, group));
    for (const [fault, hostDevice] of Object.entries(HOST_DEVICES)) {
      if (faults.standing(fault as keyof typeof HOST_DEVICES) === undefined) continue;
      addHostDevice(tree, group, hostDevice, index);
    }
  });
  return tree;
}

/** modules.alias: plain vfio-pci for every PCI function, and the variant drivers. */
function moduleAliases(): string {
  const id = (value: number): string => value.toString(16).toUpperCase().padStart(8, "0");
  const variants = Object.values(PERSONALITIES)
    .filter(({ protocol, mdev }) => protocol === "v2" && mdev === null)
    .map(({ ids, driver }) =>
      `alias vfio_pci:v${id(ids[0])}d${id(ids[1])}sv*sd*bc*sc*i* ${driver}\n`
    );
  return ["alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n", ...variants].join("");
}

/** /proc/interrupts of a machine whose IOMMU remaps interrupts, or does not. */
function interrupts(remapped: boolean): string {
  const prefix = remapped ? "IR-" : "";
  return [
    "           CPU0       CPU1",
    `  9:          0          4  ${prefix}IO-APIC   9-fasteoi   acpi`,
    ` 24:          0          0  ${prefix}PCI-MSI-0000:00:02.0   0-edge   PCIe PME`,
    "",
  ].join("\n");
}

function limits(memlock: bigint | null): string {
  const row = (name: string, soft: string, hard: string, unit: string): string =>
    [name.padEnd(25), soft.padEnd(20), hard.padEnd(20), unit.padEnd(10)].join(" ");
  const lockable = memlock === null ? "unlimited" : String(memlock);
  return [
    row("Limit", "Soft Limit", "Hard Limit", "Units"),
    row("Max locked memory", lockable, lockable, "bytes"),
    "",
  ].join("\n");
}

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, "0")}\n`;
}

/** What sysfs shows of a PCI function. */
interface PciFunction {
  /** Vendor, device, subsystem vendor, subsystem device. */
  readonly ids: readonly [number, number, number, number];
  readonly pciClass: number;
  readonly driver: string;
}

function addPciFunction(
  tree: Tree<Node>,
  path: string,
  { ids, pciClass, driver }: PciFunction,
): void {
  const address = path.slice(path.lastIndexOf("/") + 1);
  tree.file(`${path}/vendor`, hex(ids[0], 4));
  tree.file(`${path}/device`, hex(ids[1], 4));
  tree.file(`${path}/subsystem_vendor`, hex(ids[2], 4));
  tree.file(`${path}/subsystem_device`, hex(ids[3], 4));
  tree.file(`${path}/class`, hex(pciClass, 6));
  tree.device(`${path}/config`, () => new ConfigFile(ids, pciClass));
  tree.link(`${path}/subsystem`, "/sys/bus/pci");
  tree.link(`/sys/bus/pci/devices/${address}`, path);
  tree.folder(`/sys/bus/pci/drivers/${driver}`);
  tree.link(`/sys/bus/pci/drivers/${driver}/${address}`, path);
  tree.link(`${path}/driver`, `/sys/bus/pci/drivers/${driver}`);
}

function joinGroup(tree: Tree<Node>, path: string, group: SimGroup): string {
  const iommu = `/sys/kernel/iommu_groups/${group.number}`;
  tree.link(`${path}/iommu_group`, iommu);
  tree.link(`${iommu}/devices/${path.slice(path.lastIndexOf("/") + 1)}`, path);
  tree.file(`${iommu}/reserved_regions`, reservedRegions(group));
  return iommu;
}

/** The IOMMU's window of interrupt messages, and the memory that firmware keeps mapped. */
function reservedRegions({ device: { dma, faults } }: SimGroup): string {
  const line = (start: number, end: number, type: string): string =>
    `0x${start.toString(16).padStart(16, "0")} 0x${end.toString(16).padStart(16, "0")} ${type}\n`;
  if (!dma.hardware) return "";
  const direct = faults.standing("firmware-region") === undefined
    ? ""
    : line(0x7b800000, 0x7fffffff, "direct");
  return direct + line(0xfee00000, 0xfeefffff, "msi");
}

/** Adds a virtual function and its physical function; returns the path of the former. */
function addVirtualFunction(tree: Tree<Node>, group: SimGroup, index: number): string {
  const { name, personality } = group.device;
  const { ids, pciClass, driver, parentDriver } = personality;
  const bus = `/sys/devices/pci0000:3a/0000:3a:${index.toString(16).padStart(2, "0")}.0`;
  const path = `${bus}/${name}`;
  const physical = `${bus}/${name.slice(0, -1)}0`;
  const physicalIds = [ids[0], ids[1] - 1, ids[2], ids[3]] as const;
  addPciFunction(tree, physical, { ids: physicalIds, pciClass, driver: parentDriver });
  tree.link(`${physical}/virtfn0`, path);
  addPciFunction(tree, path, { ids, pciClass, driver });
  tree.link(`${path}/physfn`, physical);
  joinGroup(tree, path, group);
  return path;
}

/** Adds the vfio-dev entry of a device that is bound to a VFIO driver. */
function addVfioDevice(tree: Tree<Node>, path: string, index: number, hasNode: boolean): void {
  const folder = `${path}/vfio-dev/vfio${index}`;
  tree.folder(folder);
  tree.link(`${folder}/device`, path);
  tree.link(`${folder}/subsystem`, "/sys/class/vfio-dev");
  tree.link(`/sys/class/vfio-dev/vfio${index}`, folder);
  // The device number of its node; before 6.6 there is no node.
  if (hasNode) tree.file(`${folder}/dev`, `511:${index}\n`);
}

/** Adds a mediated device and its parent device; returns the path of the former. */
function addMdev(tree: Tree<Node>, group: SimGroup, type: MdevType, index: number): string {
  const { name, personality } = group.device;
  const address = `0000:00:${(0x10 + index).toString(16)}.0`;
  const parent = `/sys/devices/pci0000:00/${address}`;
  const path = `${parent}/${name}`;
  const types = `${parent}/mdev_supported_types/${type.id}`;
  const { ids, pciClass, parentDriver } = personality;
  addPciFunction(tree, parent, { ids, pciClass, driver: parentDriver });
  tree.link(`/sys/class/mdev_bus/${address}`, parent);
  tree.file(`${types}/name`, `${type.name}\n`);
  tree.file(`${types}/device_api`, "vfio-pci\n");
  tree.file(`${types}/available_instances`, "0\n");
  tree.link(`${types}/devices/${name}`, path);
  tree.link(`${path}/subsystem`, "/sys/bus/mdev");
  tree.link(`${path}/driver`, `/sys/bus/mdev/drivers/${personality.driver}`);
  tree.link(`${path}/mdev_type`, types);
  tree.folder(`/sys/bus/mdev/drivers/${personality.driver}`);
  tree.link(`/sys/bus/mdev/drivers/${personality.driver}/${name}`, path);
  tree.link(`/sys/bus/mdev/devices/${name}`, path);
  if (!group.listed) return path;
  const iommu = joinGroup(tree, path, group);
  // Since 5.16 an emulated group has this name too; its node in /dev has no prefix.
  if (!group.device.dma.hardware) tree.file(`${iommu}/name`, "vfio-noiommu\n");
  return path;
}

/** A second device in the group, bound to a host driver. */
function addHostDevice(
  tree: Tree<Node>,
  group: SimGroup,
  { address, ids, pciClass, driver }: HostDevice,
  index: number,
): void {
  const path = `/sys/devices/pci0000:00/${address(index)}`;
  addPciFunction(tree, path, { ids, pciClass, driver });
  joinGroup(tree, path, group);
}
