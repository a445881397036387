/**
 * How a device is named: PCI address, mdev UUID, VFIO device, sysfs path, open fd, simulated.
 *
 * @module
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { registerErrorClass } from "../../base/error_transfer.ts";
import { printable } from "../../base/printable.ts";

/** A name that was understood; nothing has been looked up yet. */
export type DeviceName =
  /** A PCI function, `0000:3b:00.1`. */
  | { readonly kind: "pci"; readonly address: string }
  /** A mediated device, by its UUID. */
  | { readonly kind: "mdev"; readonly uuid: string }
  /** What VFIO made of it, and its own character device is named after: `vfio7`. */
  | { readonly kind: "vfio"; readonly name: string }
  /** An IOMMU group, which is no device, by its node in /dev/vfio or its folder below /sys. */
  | { readonly kind: "group"; readonly number: number; readonly path: string }
  /** A folder below /sys. */
  | { readonly kind: "sysfs"; readonly path: string }
  /** A VFIO device fd that another program opened: borrowed. */
  | { readonly kind: "fd"; readonly fd: number }
  /** A device of the simulated kernel; `spec` is what follows `sim:`. */
  | { readonly kind: "sim"; readonly spec: string }
  /** A device of another process, by the path of its vfio-user server's socket. */
  | { readonly kind: "vfio-user"; readonly path: string }
  /** What a trace recorded: the calls of one thread, by default of the first. */
  | { readonly kind: "replay"; readonly path: string; readonly thread: number | null };

/**
 * A device name (or VF token) that cannot be one: a mistake in the call, not in the system.
 *
 * @example
 * ```ts
 * import { DeviceNameError, parseDeviceName } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * assert.throws(() => parseDeviceName("3b:00"), DeviceNameError);
 * ```
 */
export class DeviceNameError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `DeviceNameError`. */
  override readonly name = "DeviceNameError";
  /** Always `bad-name`. */
  readonly code = "bad-name" as const;

  /** Makes the error. */
  constructor(message: string) {
    super(printable(message));
  }
}

const PCI = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])$/i;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** A VFIO device: its name, its node, its folder. */
const VFIO = /^(?:\/dev\/vfio\/devices\/|\/sys\/class\/vfio-dev\/)?(vfio[0-9]{1,9})\/?$/;
/** A group: its node, what VFIO made of it, the kernel's own folder. */
const GROUP =
  /^(?:\/dev\/vfio\/(?:noiommu-)?|\/sys\/class\/vfio\/(?:noiommu-)?|\/sys\/kernel\/iommu_groups\/)([0-9]{1,9})\/?$/;
/** What devices are put into, or bound to. */
const SPACES: Readonly<Record<string, string>> = {
  "/dev/vfio/vfio": "the node of VFIO's containers",
  "/dev/iommu": "the node of iommufd",
};
const MAX_FD = 0x7fff_ffff;

/**
 * Reads a device name. Addresses and UUIDs come out in lower case, as sysfs
 * spells them; a PCI address without a domain is in domain 0000. A group is
 * understood, too, so that it can be said which devices it has.
 *
 * @throws {DeviceNameError} If the text is none of the forms.
 *
 * @example
 * ```ts
 * import { parseDeviceName } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parseDeviceName("3B:00.1"), { kind: "pci", address: "0000:3b:00.1" });
 * assert.deepEqual(parseDeviceName("fd:3"), { kind: "fd", fd: 3 });
 * assert.deepEqual(parseDeviceName("/dev/vfio/devices/vfio7"), { kind: "vfio", name: "vfio7" });
 * assert.throws(() => parseDeviceName("eth0"), /Cannot use "eth0" as a device name/);
 * ```
 */
export function parseDeviceName(text: string): DeviceName {
  if (text.startsWith("sim:")) return { kind: "sim", spec: text.slice("sim:".length) };
  if (text.startsWith("vfio-user:")) return { kind: "vfio-user", path: parseSocket(text) };
  if (text.startsWith("replay:")) return parseReplay(text);
  if (text.startsWith("fd:")) return { kind: "fd", fd: parseFd(text) };
  const pci = PCI.exec(text);
  if (pci !== null) {
    return { kind: "pci", address: `${pci[1] ?? "0000"}:${pci[2]}`.toLowerCase() };
  }
  if (UUID.test(text)) return { kind: "mdev", uuid: text.toLowerCase() };
  const vfio = VFIO.exec(text)?.[1];
  if (vfio !== undefined) return { kind: "vfio", name: vfio };
  const group = GROUP.exec(text)?.[1];
  if (group !== undefined) return { kind: "group", number: Number(group), path: text };
  if (text.startsWith("/sys/")) return { kind: "sysfs", path: text };
  const quoted = JSON.stringify(text);
  if (text.startsWith("pid:")) {
    throw new DeviceNameError(
      `Cannot use ${quoted} here: a device that another process drives can only be looked at`,
    );
  }
  if (Object.hasOwn(SPACES, text)) {
    throw new DeviceNameError(
      `Cannot use ${quoted} as a device name: it is ${SPACES[text]}, and no device`,
    );
  }
  throw new DeviceNameError(
    `Cannot use ${quoted} as a device name: expected a PCI address (0000:3b:00.1), an mdev UUID, ` +
      `a VFIO device (vfio7, /dev/vfio/devices/vfio7), a path below /sys, fd:N, sim:…, vfio-user:SOCKET, or replay:FILE`,
  );
}

/**
 * A name as a user would write it.
 *
 * @example
 * ```ts
 * import { formatDeviceName } from "./device_name.ts";
 * import { parseDeviceName } from "vfiokit/vfio";
 * import assert from "node:assert/strict";
 *
 * assert.equal(formatDeviceName(parseDeviceName("fd:3")), "fd:3");
 * ```
 */
export function formatDeviceName(name: DeviceName): string {
  switch (name.kind) {
    case "pci":
      return name.address;
    case "mdev":
      return name.uuid;
    case "vfio":
      return name.name;
    case "group":
    case "sysfs":
      return name.path;
    case "fd":
      return `fd:${name.fd}`;
    case "sim":
      return `sim:${name.spec}`;
    case "vfio-user":
      return `vfio-user:${name.path}`;
    case "replay":
      return `replay:${name.path}${name.thread === null ? "" : `#${name.thread}`}`;
  }
}

/**
 * Checks an SR-IOV VF token and gives it back in lower case.
 *
 * @throws {DeviceNameError} If the text is not a UUID.
 */
export function parseVfToken(text: string): string {
  if (UUID.test(text)) return text.toLowerCase();
  throw new DeviceNameError(`Cannot use ${JSON.stringify(text)} as a VF token: it is not a UUID`);
}

function parseSocket(text: string): string {
  const path = text.slice("vfio-user:".length);
  if (path !== "" && !path.includes("\0")) return path;
  throw new DeviceNameError(
    `Cannot use ${
      JSON.stringify(text)
    } as a device name: expected vfio-user:SOCKET, the path of a server's socket`,
  );
}

function parseReplay(text: string): DeviceName {
  const [, path = "", thread] = /^replay:(.*?)(?:#([0-9]{1,4}))?$/s.exec(text) ?? [];
  if (path === "") {
    throw new DeviceNameError(
      `Cannot use ${JSON.stringify(text)} as a device name: expected replay:FILE, a trace, or ` +
        "replay:FILE#N, its thread N",
    );
  }
  return { kind: "replay", path, thread: thread === undefined ? null : Number(thread) };
}

function parseFd(text: string): number {
  const digits = text.slice("fd:".length);
  const fd = /^[0-9]{1,10}$/.test(digits) ? Number(digits) : Infinity;
  if (fd <= MAX_FD) return fd;
  throw new DeviceNameError(
    `Cannot use ${
      JSON.stringify(text)
    } as a device name: expected fd:N, N a number from 0 to ${MAX_FD}`,
  );
}
