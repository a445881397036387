/**
 * vfio-user: devices of other processes, driven over a socket.
 *
 * @module
 */

export { DEFAULT_TIMEOUT_MS } from "./client/connection.ts";
export { VfioUserKernel, type VfioUserOptions } from "./client/kernel.ts";
export { DEVICE_LINK, DEVICE_NODE } from "./client/sysfs_tree.ts";
