/**
 * The properties in which the simulated v2 drivers differ.
 */

import type { ErrnoName } from "../kernel/errno_names.ts";
import {
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../uapi/constants.ts";
import type { PersonalityName } from "./personalities.ts";

/** The limits of the hardware behind a log. */
export interface LogHardware {
  /** The smallest page size that it logs by, in bytes. */
  readonly leastPage: bigint;
  /** The largest page size, in bytes. */
  readonly mostPage: bigint;
  /** How many ranges it takes. If there are more, ranges with the smallest gaps are joined. */
  readonly maxRanges: number;
  /** The largest total size of the ranges, in bytes. */
  readonly maxBytes: bigint;
  /** Whether a report must lie within one of the ranges. */
  readonly oneRange: boolean;
}

/** The properties of a v2 driver. */
export interface V2Driver {
  /** VFIO_MIGRATION_*. */
  readonly flags: number;
  /**
   * What PRE_COPY yields. `images`: the whole state, then images of what changed.
   * `preface`: only the record that the destination checks first.
   */
  readonly precopy: "images" | "preface";
  /** The errno of a read in PRE_COPY if there is no data; null if the read returns 0 bytes. */
  readonly drained: ErrnoName | null;
  /** The least time between two scans for changes, in milliseconds. */
  readonly scanInterval: number;
  /** Whether the data begins with a record of the state's size, which may be skipped. */
  readonly sizeRecord: boolean;
  /** Whether poll reports if there is data. */
  readonly polls: boolean;
  /** The errno for a state that does not fit the device. */
  readonly mismatch: ErrnoName;
  /** The errno for data after the end. */
  readonly tooLong: ErrnoName;
  /**
   * Whether the driver forgets that it refused a header: it then takes the data that follows, and
   * the step to STOP.
   */
  readonly forgetsMismatch: boolean;
  /** Whether it has MIG_DATA_SIZE. */
  readonly dataSize: boolean;
  /**
   * How often new initial data appears during pre-copy; null for a kernel without
   * MIG_PRECOPY_INFOv2.
   */
  readonly reinits: number | null;
  /** The device's own DMA log; null if it has none. */
  readonly log: LogHardware | null;
}

const P2P = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
const ALL = P2P | VFIO_MIGRATION_PRE_COPY;

const IMAGES = {
  flags: ALL,
  precopy: "images",
  drained: "ENOMSG",
  scanInterval: 0,
  sizeRecord: false,
  polls: false,
  mismatch: "EINVAL",
  tooLong: "EINVAL",
  forgetsMismatch: false,
  dataSize: true,
  reinits: null,
  log: null,
} as const;

const PREFACE = {
  ...IMAGES,
  precopy: "preface",
  drained: null,
  tooLong: "ENOMEM",
} as const;

const LOG: LogHardware = {
  leastPage: 1n << 12n,
  mostPage: 1n << 21n,
  maxRanges: 16,
  maxBytes: 1n << 42n,
  oneRange: false,
};

/** The v2 drivers, by personality. */
export const V2_DRIVERS: Readonly<Partial<Record<PersonalityName, V2Driver>>> = {
  "mlx5": { ...IMAGES, sizeRecord: true, polls: true, log: LOG },
  "virtio": { ...IMAGES, scanInterval: 100 },
  "qat": PREFACE,
  "hisi": {
    ...PREFACE,
    flags: VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY,
    mismatch: "EFAULT",
  },
  "mtty": { ...PREFACE, mismatch: "EFAULT", forgetsMismatch: true },
  "pds": { ...PREFACE, flags: P2P, log: { ...LOG, oneRange: true } },
  "stop-copy-only": { ...PREFACE, flags: VFIO_MIGRATION_STOP_COPY, dataSize: false },
};
