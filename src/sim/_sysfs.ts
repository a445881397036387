/**
 * /sys and /dev of a simulated kernel, laid out as kernel 6.1 does.
 */

import type { ContainerFile } from "./_container.ts";
import type { Group, GroupFile } from "./_group.ts";
import { Tree } from "./_tree.ts";

/** What opening a node of /dev does. */
export type Node = () => ContainerFile | GroupFile;

const HOST_DRIVER = "snd_hda_intel";

/** The file tree of a kernel with these groups. */
export function fileTree(
  groups: readonly Group[],
  openContainer: () => ContainerFile,
  openGroup: (group: Group) => GroupFile,
  memlock: bigint | null,
): Tree<Node> {
  const tree = new Tree<Node>();
  for (const path of ["/proc", "/sys/bus/pci/devices", "/sys/bus/mdev/devices"]) tree.folder(path);
  tree.folder("/sys/kernel/iommu_groups");
  tree.file("/proc/self/limits", limits(memlock));
  tree.device("/dev/vfio/vfio", openContainer);
  groups.forEach((group, index) => {
    tree.device(`/dev/vfio/${group.number}`, () => openGroup(group));
    const parent = `/sys/devices/pci0000:00/0000:00:${(0x10 + index).toString(16)}.0`;
    addParent(tree, parent, group);
    addMdev(tree, parent, group, index);
    if (group.device.faults.standing("group-not-viable") !== undefined) {
      addSpoiler(tree, group, index);
    }
  });
  return tree;
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

function addPciFunction(
  tree: Tree<Node>,
  path: string,
  ids: readonly [number, number, number, number],
  pciClass: number,
  driver: string,
): void {
  const address = path.slice(path.lastIndexOf("/") + 1);
  tree.file(`${path}/vendor`, hex(ids[0], 4));
  tree.file(`${path}/device`, hex(ids[1], 4));
  tree.file(`${path}/subsystem_vendor`, hex(ids[2], 4));
  tree.file(`${path}/subsystem_device`, hex(ids[3], 4));
  tree.file(`${path}/class`, hex(pciClass, 6));
  tree.link(`${path}/subsystem`, "/sys/bus/pci");
  tree.link(`/sys/bus/pci/devices/${address}`, path);
  tree.folder(`/sys/bus/pci/drivers/${driver}`);
  tree.link(`/sys/bus/pci/drivers/${driver}/${address}`, path);
  tree.link(`${path}/driver`, `/sys/bus/pci/drivers/${driver}`);
}

/** The physical device whose driver makes mediated ones. */
function addParent(tree: Tree<Node>, path: string, { device }: Group): void {
  const { ids, pciClass, parentDriver, mdevType, typeName } = device.personality;
  addPciFunction(tree, path, ids, pciClass, parentDriver);
  tree.link(`/sys/class/mdev_bus/${path.slice(path.lastIndexOf("/") + 1)}`, path);
  const type = `${path}/mdev_supported_types/${mdevType}`;
  tree.file(`${type}/name`, `${typeName}\n`);
  tree.file(`${type}/device_api`, "vfio-pci\n");
  tree.file(`${type}/available_instances`, "0\n");
  tree.link(`${type}/devices/${device.name}`, `${path}/${device.name}`);
}

function addMdev(tree: Tree<Node>, parent: string, group: Group, index: number): void {
  const { name, personality } = group.device;
  const path = `${parent}/${name}`;
  const iommu = `/sys/kernel/iommu_groups/${group.number}`;
  tree.link(`${path}/subsystem`, "/sys/bus/mdev");
  tree.link(`${path}/driver`, `/sys/bus/mdev/drivers/${personality.driver}`);
  tree.link(`${path}/mdev_type`, `${parent}/mdev_supported_types/${personality.mdevType}`);
  tree.link(`${path}/iommu_group`, iommu);
  tree.folder(`${path}/vfio-dev/vfio${index}`);
  tree.folder(`/sys/bus/mdev/drivers/${personality.driver}`);
  tree.link(`/sys/bus/mdev/drivers/${personality.driver}/${name}`, path);
  tree.link(`/sys/bus/mdev/devices/${name}`, path);
  tree.link(`${iommu}/devices/${name}`, path);
  // Since 5.16 an emulated group bears this name as well; its node in /dev has no prefix.
  if (!group.device.dma.hardware) tree.file(`${iommu}/name`, "vfio-noiommu\n");
}

/** A second device in the group, which a host driver has. */
function addSpoiler(tree: Tree<Node>, group: Group, index: number): void {
  const address = `0000:00:1f.${index % 8}`;
  const path = `/sys/devices/pci0000:00/${address}`;
  addPciFunction(tree, path, [0x8086, 0x293e, 0x1af4, 0x1100], 0x040300, HOST_DRIVER);
  const iommu = `/sys/kernel/iommu_groups/${group.number}`;
  tree.link(`${path}/iommu_group`, iommu);
  tree.link(`${iommu}/devices/${address}`, path);
}
