/**
 * A device that another thread of this process has open: requests of several threads take turns on
 * its one connection.
 */

import { answer } from "../../sim/os/answer.ts";
import { refuse } from "../../sim/os/refusal.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ServerConnection, type SharedConnection } from "./connection.ts";
import { DataFile } from "./data_file.ts";
import { DeviceFile } from "./device_file.ts";
import { OwnMemory } from "./own_memory.ts";
import { RemoteDevice } from "./remote_device.ts";

/**
 * The calls that another thread can make: ioctls of the device, and reads of the migration data
 * that the device's own thread began. The device stays open as long as that thread has it open.
 */
export function joinDevice(shared: SharedConnection): Pick<Kernel, "ioctl" | "read"> {
  const connection = ServerConnection.join(shared);
  const device = new DeviceFile({
    label: shared.path,
    connection,
    memory: new OwnMemory(),
    install: () => refuse("EMFILE"),
    fileOf: () => undefined,
  });
  const data = new DataFile(new RemoteDevice(connection), "stop-copy");
  return {
    ioctl: (fd, request, arg = 0) =>
      answer("ioctl", `0x${request.toString(16)} on fd ${fd}`, () => device.ioctl(request, arg)),
    read: (fd, into) => answer("read", `fd ${fd}`, () => data.read(into)),
  };
}
