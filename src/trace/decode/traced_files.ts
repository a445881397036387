// What the fds of a kernel are, as far as the calls show.

import {
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  vfioDeviceMigrationInfo,
} from "../../uapi/mod.ts";

/** What sort of file an fd is; it decides what a request number means. */
export type FileKind = "container" | "group" | "device" | "iommufd" | "data" | "other";

/** What a device said of a region. */
export interface RegionFacts {
  readonly index: number;
  /** Where it begins in the device's fd. */
  readonly start: number;
  readonly size: number;
  /** From its type capability; null if it has none. */
  readonly type: number | null;
  readonly subtype: number | null;
}

/** A file that an fd stands for. */
export interface TracedFile {
  /** Its path, or what it is. */
  readonly label: string | null;
  /** Null if it is not known: an fd that other code opened. */
  kind: FileKind | null;
  /** Of a device, the regions that it was asked about; another array after each answer. */
  regions: readonly RegionFacts[];
}

/** What of a region an access reaches. */
export interface Place {
  /** The region's index. */
  readonly region: number;
  /** The offset in it. */
  readonly at: number;
  /** Of the v1 migration region: the register by its C name, or `data`; else null. */
  readonly register: string | null;
}

const REGISTERS = vfioDeviceMigrationInfo.fields.filter(({ name }) => name !== "reserved");

/** The open files by fd. */
export class TracedFiles {
  readonly #files = new Map<number, TracedFile>();

  /** The file of an fd; one that is not known yet is added without a label. */
  of(fd: number): TracedFile {
    let file = this.#files.get(fd);
    if (file === undefined) {
      file = { label: null, kind: null, regions: [] };
      this.#files.set(fd, file);
    }
    return file;
  }

  /** An fd was opened. */
  opened(fd: number, label: string, kind: FileKind): void {
    this.#files.set(fd, { label, kind, regions: [] });
  }

  /** A path was opened. */
  openedPath(fd: number, path: string): void {
    this.opened(fd, path, kindOfPath(path));
  }

  /** An fd was closed. */
  closed(fd: number): void {
    this.#files.delete(fd);
  }

  /** An fd became a duplicate of another one. */
  duplicated(from: number, to: number): void {
    this.#files.set(to, this.of(from));
  }

  /** The region that a device answered about. An answer may have had no room for its type. */
  learned(fd: number, region: RegionFacts): void {
    const file = this.of(fd);
    const known = file.regions.find(({ index }) => index === region.index);
    const { type, subtype } = region.type === null && known !== undefined ? known : region;
    const others = file.regions.filter((each) => each !== known);
    file.regions = [...others, { ...region, type, subtype }];
  }
}

/** Where an access of `length` bytes at an offset of a file lies; null if that is not known. */
export function placeIn({ regions }: TracedFile, offset: number, length: number): Place | null {
  const region = regions.find(({ start, size }) => start <= offset && offset < start + size);
  if (region === undefined) return null;
  const at = offset - region.start;
  return {
    region: region.index,
    at,
    register: isMigration(region) ? register(at, length) : null,
  };
}

function isMigration({ type, subtype }: RegionFacts): boolean {
  return type === VFIO_REGION_TYPE_MIGRATION_DEPRECATED &&
    subtype === VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED;
}

/** An access that is not exactly one register's is to the data, or a violation that shows as it is. */
function register(at: number, length: number): string | null {
  const exact = REGISTERS.find(({ offset, size }) => offset === at && size === length);
  if (exact !== undefined) return exact.name;
  return at >= vfioDeviceMigrationInfo.size ? "data" : null;
}

function kindOfPath(path: string): FileKind {
  if (path === "/dev/vfio/vfio") return "container";
  if (path === "/dev/iommu") return "iommufd";
  if (path.startsWith("/dev/vfio/devices/")) return "device";
  return path.startsWith("/dev/vfio/") ? "group" : "other";
}
