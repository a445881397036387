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

/** The folder of devices that are served. */
const DEVICES = `/sys/devices/${BUS}`;

/** Whether a path in sysfs is that of a device that is served. */
export function isServed(path: string): boolean {
  return path.startsWith(`${DEVICES}/`);
}

/** The tree of a device that is known by this name, in which slashes become `!` as in Linux. */
export function sysfsTree(name: string, extension: Extension | null): Tree<never> {
  const tree = new Tree<never>();
  const { bus = BUS, driver = BUS, mdevType } = extension ?? {};
  const device = `${DEVICES}/${name.replaceAll("/", "!")}`;
  tree.folder(device);
  tree.folder(`/sys/bus/${bus}/drivers/${driver}`);
  tree.link(`${device}/subsystem`, `/sys/bus/${bus}`);
  tree.link(`${device}/driver`, `/sys/bus/${bus}/drivers/${driver}`);
  if (mdevType !== undefined) tree.link(`${device}/mdev_type`, `${DEVICES}/${mdevType}`);
  const made = `${device}/vfio-dev/vfio0`;
  tree.folder(made);
  tree.file(`${made}/dev`, "511:0\n");
  tree.link(`${made}/device`, device);
  tree.link(`${made}/subsystem`, "/sys/class/vfio-dev");
  tree.link("/sys/class/vfio-dev/vfio0", made);
  return tree;
}

/** The name of a socket's file, which can be a folder's. */
export function socketName(socket: string): string {
  const name = socket.slice(socket.lastIndexOf("/") + 1);
  return name === "" || name === "." || name === ".." ? "socket" : name;
}
