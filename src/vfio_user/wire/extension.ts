/**
 * vfiokit's extension of vfio-user. It carries what the protocol has no message for: v1 devices,
 * the P2P states, MIG_DATA_SIZE, PRECOPY_INFO, and what sysfs says of a device. The client offers
 * it as the capability `vfiokit`, and it is in force if the server's reply has that capability too;
 * others ignore it. docs/vfio-user.md describes it.
 *
 * @module
 */

import { malformed } from "./wire_error.ts";

/** The extension's version. */
export const EXTENSION_VERSION = 1;

/** The longest name, in characters. */
const NAME_MAX = 64;
/** A name as sysfs has it: printable ASCII without a slash. */
const NAME = /^[!-.0-~]+$/;

/** The capability `vfiokit`. */
export interface Extension {
  /** {@linkcode EXTENSION_VERSION}; a side that knows none of the other's versions sends none. */
  readonly version: number;
  /** A reply: the bus that the device is on, as in sysfs: `pci`, `mdev`. */
  readonly bus?: string;
  /** A reply: its driver. */
  readonly driver?: string;
  /** A reply: the type of a mediated device. */
  readonly mdevType?: string;
}

/**
 * Reads the capability.
 *
 * @returns null for a version that is unknown here.
 * @throws {WireError} If a field is of the wrong type, too long, or no name.
 *
 * @example
 * ```ts
 * import { parseExtension } from "./extension.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(parseExtension({ version: 1, bus: "pci" }), { version: 1, bus: "pci" });
 * assert.equal(parseExtension({ version: 2 }), null);
 * assert.throws(() => parseExtension({ version: 1, bus: "../pci" }), /bus/);
 * ```
 */
export function parseExtension(fields: Readonly<Record<string, unknown>>): Extension | null {
  if (fields["version"] !== EXTENSION_VERSION) return null;
  const names = ["bus", "driver", "mdevType"].flatMap((name) => {
    const value = fields[name];
    if (value === undefined) return [];
    if (typeof value !== "string" || value.length > NAME_MAX || !NAME.test(value)) {
      throw malformed(`vfiokit.${name} of VFIO_USER_VERSION is no name`);
    }
    return [[name, value]];
  });
  return { version: EXTENSION_VERSION, ...Object.fromEntries(names) };
}
