/**
 * vfio-user: devices of other processes, driven over a socket.
 *
 * @module
 */

export type { Capabilities } from "./wire/capabilities.ts";
export type { Extension } from "./wire/extension.ts";
export { isChannel } from "./client/channel.ts";
export { DEFAULT_TIMEOUT_MS, type SharedConnection } from "./client/connection.ts";
export { joinDevice } from "./client/joined_device.ts";
export { VfioUserKernel, type VfioUserOptions } from "./client/kernel.ts";
export { DEVICE_LINK, DEVICE_NODE, isServed } from "./client/sysfs_tree.ts";
