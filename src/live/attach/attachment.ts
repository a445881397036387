/**
 * What the owner of a device hands over, as it stands in its first message.
 */

import { FieldError, type Fields } from "../../checkpoint/metadata/json_fields.ts";
import type { MemoryFile, ProtectedMemory, ProtectedRange } from "../../dirty/mod.ts";
import { IOVA_END, type IovaMapping } from "../../vfio/dma/iova.ts";

/** Most ranges in a message. */
const MAX_RANGES = 1024;

/** The device of another process, by the fds that it sent. */
export interface OwnersDevice {
  /** The device's fd. */
  readonly device: number;
  /** Its group's; null without one. */
  readonly group: number | null;
  /** Its container's; null without one. */
  readonly container: number | null;
  /** Its iommufd's; null without one. */
  readonly iommufd: number | null;
  /** The IOAS in that iommufd; null without one. */
  readonly ioas: number | null;
  /** The ranges that the owner has mapped for it, and their memory. */
  readonly mappings: readonly (IovaMapping & MemoryFile)[];
}

/** What an owner hands over, and offers. */
export interface Attachment {
  /** Its device; null if it was lent one. */
  readonly device: OwnersDevice | null;
  /** Whether it reports what it writes. */
  readonly dirty: boolean;
  /** Memory that it write-protects, so that what it writes can be found; null if it does not. */
  readonly protectedMemory: ProtectedMemory | null;
  /** Whether it can throttle the device. */
  readonly throttle: boolean;
}

/** Reads an `attach` message; `fds` came with it. Throws FieldError. */
export function readAttachment(fields: Fields, fds: readonly number[]): Attachment {
  const has = (key: string): boolean => (fields.value(key) ?? null) !== null;
  const offers = (key: string): boolean => has(key) && fields.flag(key);
  const given = (from: Fields, key: string): number => {
    const fd = fds[from.count(key)];
    if (fd !== undefined) return fd;
    throw new FieldError(`${from.name(key)} is not one of the ${fds.length} fds that came with it`);
  };
  const ifGiven = (key: string): number | null => has(key) ? given(fields, key) : null;
  const device = ifGiven("device");
  const parts = {
    ...{ group: ifGiven("group"), container: ifGiven("container"), iommufd: ifGiven("iommufd") },
    ioas: has("ioas") ? fields.count("ioas", 0xffff_ffff) : null,
  };
  demandPairs(parts);
  return {
    device: device === null ? null : {
      device,
      ...parts,
      mappings: fields.list("memory", MAX_RANGES).map((part) => ({
        ...range(part),
        fd: given(part, "fd"),
        offset: part.count("offset"),
      })),
    },
    dirty: offers("dirty"),
    protectedMemory: has("pagemap")
      ? { pagemap: given(fields, "pagemap"), ranges: fields.list("mapped", MAX_RANGES).map(mapped) }
      : null,
    throttle: offers("throttle"),
  };
}

/** Refuses a part of what a device was opened by, and what goes with another part. */
function demandPairs(
  { group, container, iommufd, ioas }: Pick<
    OwnersDevice,
    "group" | "container" | "iommufd" | "ioas"
  >,
): void {
  const wrong = (group === null) !== (container === null)
    ? "group and container go together"
    : (iommufd === null) !== (ioas === null)
    ? "iommufd and ioas go together"
    : group !== null && iommufd !== null
    ? "a device has a container or an iommufd"
    : null;
  if (wrong !== null) throw new FieldError(wrong);
}

/** Reads a list of ranges; throws FieldError. */
export function readRanges(fields: Fields, key: string): IovaMapping[] {
  return fields.list(key, MAX_RANGES).map(range);
}

function mapped(fields: Fields): ProtectedRange {
  const { iova, size } = range(fields);
  const address = fields.address("address");
  if (address + size > IOVA_END) throw new FieldError(`${fields.name("address")} is wrong`);
  return { iova, size, address };
}

function range(fields: Fields): IovaMapping {
  const [iova, size] = [fields.address("iova"), fields.address("size")];
  if (size === 0n || iova + size > IOVA_END) {
    throw new FieldError(`${fields.name("size")} is wrong`);
  }
  return { iova, size };
}
