/**
 * mtty, the kernel's own sample device: serial ports with a register file each.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { libcKernel } from "../../../src/kernel/libc/libc_kernel.ts";
import { parseDeviceName } from "../../../src/vfio/open/device_name.ts";
import { openVfioDevice } from "../../../src/vfio/open/open.ts";

const TYPES = "/sys/class/mdev_bus/mtty/mdev_supported_types";

/** Why there is no such device; null where there is. */
export function lacksMtty(): string | null {
  return existsSync(TYPES) ? null : "the kernel's sample device is not built for this kernel";
}

/** Registers by their offset in a port's BAR (uapi/linux/serial_reg.h). */
const DATA = 0;
const SCRATCH = 7;
/** A BAR is the region of its number, and a region begins at its number times this. */
const REGION = 2 ** 40;

/** What is in a port: its scratch register, and what was sent and not yet read back. */
export interface Port {
  /** A byte. */
  readonly scratch: number;
  /** Up to 15 of them. */
  readonly sent: readonly number[];
}

/** A device of one or two serial ports. Closing it does not change what is in it. */
export class Mtty implements Disposable {
  /** The name to open it by. */
  readonly uuid: string = randomUUID();
  /** How many serial ports it has. */
  readonly ports: 1 | 2;

  /** Makes a device. */
  constructor(ports: 1 | 2) {
    this.ports = ports;
    writeFileSync(`${TYPES}/mtty-${ports}/create`, this.uuid);
  }

  #registers<T>(use: (access: (offset: number, value?: number) => number) => T): T {
    const kernel = libcKernel();
    using device = openVfioDevice(kernel, parseDeviceName(this.uuid));
    return use((offset, value) => {
      const byte = new Uint8Array([value ?? 0]);
      if (value === undefined) kernel.pread(device.fd.number, byte, offset);
      else kernel.pwrite(device.fd.number, byte, offset);
      return byte[0]!;
    });
  }

  /** Fills a port. */
  fill(port: number, { scratch, sent }: Port): void {
    this.#registers((access) => {
      access(port * REGION + SCRATCH, scratch);
      for (const byte of sent) access(port * REGION + DATA, byte);
    });
  }

  /** Reads a port, and takes out the first `count` bytes of what was sent. */
  drain(port: number, count: number): Port {
    return this.#registers((access) => ({
      scratch: access(port * REGION + SCRATCH),
      sent: Array.from({ length: count }, () => access(port * REGION + DATA)),
    }));
  }

  /** Takes it away. */
  [Symbol.dispose](): void {
    writeFileSync(`/sys/bus/mdev/devices/${this.uuid}/remove`, "1\n");
  }
}
