/**
 * The rules that a driver is seen to break: one table, a code each.
 *
 * @module
 */

/** How much a note weighs. */
export type DriverNoteKind =
  /** The driver breaks a rule. */
  | "mistake"
  /** Known drivers do this: the rule reads otherwise, and nothing comes of it. */
  | "practice";

/** A rule that a driver can break. */
export interface DriverRule {
  /** How much it weighs. */
  readonly kind: DriverNoteKind;
  /** The rule, in a sentence. */
  readonly rule: string;
  /** Where it is written: header and struct, ioctl or document. */
  readonly source: string;
}

/** The stable word for what a driver did. */
export type DriverNoteCode =
  /** v1: an iteration had no data, with bytes pending. */
  | "data-size-zero"
  /** v1: pending_bytes of a stopped device was 0, and then more. */
  | "pending-returned"
  /** v1: pending_bytes of a stopped device was 0 before all of it was given. */
  | "pending-dropped"
  /** v2: STOP_COPY gave no data at all. */
  | "stop-copy-empty";

const V1 = "linux/vfio.h of Linux 5.8, struct vfio_device_migration_info";

/** Each code's rule. */
export const DRIVER_RULES: Readonly<Record<DriverNoteCode, DriverRule>> = {
  "data-size-zero": {
    kind: "mistake",
    rule: "an iteration that begins with pending_bytes above 0 has data",
    source: `${V1}, data_size`,
  },
  "pending-returned": {
    kind: "mistake",
    rule: "a stopped device whose pending_bytes is 0 has given its whole state",
    source: `${V1}, pending_bytes`,
  },
  "pending-dropped": {
    kind: "mistake",
    rule: "pending_bytes of a stopped device comes down by the data that is read, and by no more",
    source: `${V1}, pending_bytes`,
  },
  "stop-copy-empty": {
    kind: "mistake",
    rule: "in STOP_COPY the device's internal state can be read out, up to the end of the stream",
    source: "linux/vfio.h, enum vfio_device_mig_state, STOP -> STOP_COPY",
  },
};
