/**
 * What /sys shows of the one device that there is: what its server says of it.
 */

import { Tree } from "../../sim/os/tree.ts";
import type { Extension } from "../wire/extension.ts";

/** The node of the device. */
export const DEVICE_NODE = "/dev/vfio/devices/vfio0";
/** The folder of what VFIO made of the device. */
export const DEVICE_LINK = "/sys/class/vfio-dev/vfio0/device";

/** The bus, and the driver, of a device whose server names none. */
const BUS = "vfio-user";

/** The tree of a device that is known by its socket's name. */
export function sysfsTree(socket: string, extension: Extension | null): Tree<never> {
  const tree = new Tree<never>();
  const { bus = BUS, driver = BUS, mdevType } = extension ?? {};
  const device = `/sys/devices/${BUS}/${nameOf(socket)}`;
  tree.folder(device);
  tree.folder(`/sys/bus/${bus}/drivers/${driver}`);
  tree.link(`${device}/subsystem`, `/sys/bus/${bus}`);
  tree.link(`${device}/driver`, `/sys/bus/${bus}/drivers/${driver}`);
  if (mdevType !== undefined) tree.link(`${device}/mdev_type`, `/sys/devices/${BUS}/${mdevType}`);
  const made = `${device}/vfio-dev/vfio0`;
  tree.folder(made);
  tree.file(`${made}/dev`, "511:0\n");
  tree.link(`${made}/device`, device);
  tree.link(`${made}/subsystem`, "/sys/class/vfio-dev");
  tree.link("/sys/class/vfio-dev/vfio0", made);
  return tree;
}

/** The socket's name, which can be a folder's. */
function nameOf(socket: string): string {
  const name = socket.slice(socket.lastIndexOf("/") + 1);
  return name === "" || name === "." || name === ".." ? "socket" : name;
}
