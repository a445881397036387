/**
 * A checkpoint's header: what was saved, by which program, when.
 *
 * @module
 */

import { VERSION } from "../../base/version.ts";
import type { ChainLink } from "./chain_link.ts";
import type { DeviceIdentity } from "./device_identity.ts";

/** What the writer of a checkpoint says about it. */
export interface CheckpointHeader {
  /** The devices; a transaction's `device` is an index into this list. At least one, at most 64. */
  readonly devices: readonly DeviceIdentity[];
  /** When it was begun: UTC, as `Date.toISOString` writes it. */
  readonly created: string;
  /** The program that wrote it, such as `vfiokit 0.1.0`. */
  readonly tool: string;
  /** The IOMMU's page size in bytes, a power of two; null if nothing is known of one. */
  readonly iovaPageSize: number | null;
  /** Its place in a chain of checkpoints; undefined for one that stands alone. */
  readonly link?: ChainLink | undefined;
}

/** A header as read from a checkpoint: with what its encoder was asked to do. */
export interface DecodedHeader extends CheckpointHeader {
  /** Whether a restore may use it; false where it was written by the pre-copy phase alone. */
  readonly complete: boolean;
  /** The digest that the trailer carries; null for none. */
  readonly digest: "sha256" | null;
}

/** The header of a checkpoint that is begun now, by this version of vfiokit. */
export function newHeader(devices: readonly DeviceIdentity[]): CheckpointHeader {
  return {
    devices,
    created: new Date().toISOString(),
    tool: `vfiokit ${VERSION}`,
    iovaPageSize: null,
  };
}
