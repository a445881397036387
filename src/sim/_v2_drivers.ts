/**
 * How the simulated v2 drivers differ.
 */

import type { ErrnoName } from "../kernel/errno.ts";
import {
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from "../uapi/constants.ts";
import type { LogHardware } from "./_dma_log.ts";
import type { PersonalityName } from "./personalities.ts";

/** A v2 driver's ways. */
export interface V2Driver {
  /** VFIO_MIGRATION_*. */
  readonly flags: number;
  /**
   * What PRE_COPY yields: `images`, the whole state and then what changed; or
   * `preface`, only what the destination looks at first.
   */
  readonly precopy: "images" | "preface";
  /** What a read in PRE_COPY gives with nothing there: an errno, or null for 0 bytes. */
  readonly drained: ErrnoName | null;
  /** Milliseconds from one look at what changed to the next, at least. */
  readonly looksEvery: number;
  /** Whether the data begins with a record that may be skipped, telling the state's size. */
  readonly tellsSize: boolean;
  /** Whether poll tells when there is data. */
  readonly polls: boolean;
  /** How a state that does not fit is refused. */
  readonly mismatch: ErrnoName;
  /** How data behind the end is refused. */
  readonly tooLong: ErrnoName;
  /** Whether a header that was refused is forgotten: what follows is taken, and the step to STOP. */
  readonly forgives: boolean;
  /** Whether there is MIG_DATA_SIZE. */
  readonly dataSize: boolean;
  /**
   * How often in a pre-copy there is new initial data; null for a driver of a kernel without
   * MIG_PRECOPY_INFOv2.
   */
  readonly reinits: number | null;
  /** The device's own log of what it writes to; null where it has none. */
  readonly log: LogHardware | null;
}

const P2P = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
const ALL = P2P | VFIO_MIGRATION_PRE_COPY;

const IMAGES = {
  flags: ALL,
  precopy: "images",
  drained: "ENOMSG",
  looksEvery: 0,
  tellsSize: false,
  polls: false,
  mismatch: "EINVAL",
  tooLong: "EINVAL",
  forgives: false,
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
  "mlx5": { ...IMAGES, tellsSize: true, polls: true, log: LOG },
  "virtio": { ...IMAGES, looksEvery: 100 },
  "qat": PREFACE,
  "hisi": {
    ...PREFACE,
    flags: VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY,
    mismatch: "EFAULT",
  },
  "mtty": { ...PREFACE, mismatch: "EFAULT", forgives: true },
  "pds": { ...PREFACE, flags: P2P, log: { ...LOG, oneRange: true } },
  "stop-copy-only": { ...PREFACE, flags: VFIO_MIGRATION_STOP_COPY, dataSize: false },
};
