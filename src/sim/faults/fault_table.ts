/**
 * The faults that a simulated device can have: one table.
 */

/** The events that faults wait for; a fault strikes the Nth time that its event happens. */
export type FaultEvent =
  /** v1: device_state is written; v2: the driver is asked to take an arc of the state machine. */
  | "state-write"
  | "state-read"
  /** v1: pending_bytes is read in stop-and-copy. */
  | "pending-read"
  | "data-read"
  | "data-write"
  /** v1: data_offset is read; v2: the data fd is read or written. */
  | "transaction"
  /** v1: data_size is read; v2: MIG_DATA_SIZE is read. */
  | "size-read"
  | "size-write"
  | "precopy-info"
  | "reset"
  | "open"
  | "device-fd"
  | "map"
  | "unmap"
  | "dirty-start"
  | "dirty-get"
  | "dirty-stop"
  | "log-start"
  | "log-report"
  | "log-stop"
  | "close";

/** A kind of fault. */
export interface FaultKind {
  /** The devices that can have it: those of one protocol, of either, PCI functions, or any. */
  readonly to: "v1" | "v2" | "migratable" | "function" | "any";
  /** The event it waits for; null if it holds all the time. */
  readonly event: FaultEvent | null;
  /** The fields after the name, separated by `:`. Fields in brackets may be left out. */
  readonly form: "" | "N" | "[N]" | "N|always" | "ERRNO" | "N:ERRNO" | "DURATION[:N|always]";
  /** The effect, as the help shows it. */
  readonly text: string;
}

/** The name of a fault. */
export type FaultName =
  | "transition"
  | "error-state"
  | "late-error"
  | "state-late"
  | "state-read"
  | "stop-at-open"
  | "reserved-lost"
  | "odd-flags"
  | "no-stop-copy"
  | "fd-extra"
  | "block"
  | "gone"
  | "offset-zero"
  | "offset-unaligned"
  | "lie-offset"
  | "lie-size"
  | "lie-wrap"
  | "data-size-zero"
  | "data-size-small"
  | "pending-grows"
  | "stuck"
  | "no-data"
  | "never-drains"
  | "initial-never-zero"
  | "initial-zero"
  | "initial-stays"
  | "dirty-first"
  | "drained-zero"
  | "precopy-flags"
  | "precopy-info"
  | "read"
  | "short-read"
  | "write"
  | "short-write"
  | "load"
  | "eintr-partial"
  | "reset"
  | "reset-ignored"
  | "mmap"
  | "region-size-zero"
  | "caps-loop"
  | "caps-outside"
  | "caps-odd"
  | "caps-truncated"
  | "open"
  | "node-late"
  | "device-late"
  | "open-container"
  | "open-iommufd"
  | "group-status"
  | "set-container"
  | "set-iommu"
  | "device-fd"
  | "bind"
  | "ioas-alloc"
  | "attach"
  | "device-info"
  | "no-container-node"
  | "no-iommu-node"
  | "no-device-node"
  | "group-busy"
  | "group-not-viable"
  | "isa-bridge"
  | "firmware-region"
  | "unsafe-interrupts"
  | "type1-only"
  | "no-dirty-capability"
  | "draft-dirty-flag"
  | "map"
  | "unmap"
  | "dirty-start"
  | "dirty-get"
  | "dirty-stop"
  | "log-start"
  | "log-report"
  | "log-stop"
  | "close"
  | "log-error"
  | "no-log-report";

/** Every fault: its name in `fault=NAME[:…]`, when it strikes, and what it does. */
export const FAULTS: Readonly<Record<FaultName, FaultKind>> = {
  "transition": {
    to: "migratable",
    event: "state-write",
    form: "N:ERRNO",
    text: "the Nth write of device_state (v2: the Nth arc) fails; the state does not change",
  },
  "error-state": {
    to: "migratable",
    event: "state-write",
    form: "N",
    text: "the Nth write of device_state (v2: the Nth arc) fails with EIO, and the device goes " +
      "to ERROR",
  },
  "late-error": {
    to: "v2",
    event: "state-write",
    form: "N",
    text: "the Nth arc succeeds, and right after it the device goes to ERROR",
  },
  "state-late": {
    to: "migratable",
    event: "state-write",
    form: "N",
    text: "after the Nth write of device_state (v2: the Nth arc), the next read still returns " +
      "the old state",
  },
  "state-read": {
    to: "migratable",
    event: "state-read",
    form: "N:ERRNO",
    text: "the Nth read of the state fails",
  },
  "stop-at-open": {
    to: "v1",
    event: null,
    form: "",
    text: "device_state reads STOP after open and reset, although the device runs",
  },
  "reserved-lost": {
    to: "v1",
    event: "state-write",
    form: "N",
    text: "the Nth write of device_state clears its bits 3 to 31",
  },
  "odd-flags": {
    to: "v2",
    event: null,
    form: "",
    text: "the MIGRATION feature has a flag that no header defines",
  },
  "no-stop-copy": {
    to: "v2",
    event: null,
    form: "",
    text: "the MIGRATION feature lacks VFIO_MIGRATION_STOP_COPY",
  },
  "fd-extra": {
    to: "v2",
    event: "state-write",
    form: "N",
    text: "the Nth arc returns an fd even if none is due",
  },
  "block": {
    to: "migratable",
    event: "transaction",
    form: "DURATION[:N|always]",
    text:
      "the Nth read of data_offset (v2: the Nth read or write of the data fd), or each, blocks " +
      "for DURATION; N is 1 by default",
  },
  "gone": {
    to: "migratable",
    event: "transaction",
    form: "N",
    text: "the device is gone from the Nth read of data_offset on (v2: the Nth read or write " +
      "of the data fd): every call but close fails with ENODEV",
  },
  "offset-zero": { to: "v1", event: "transaction", form: "[N]", text: "data_offset reads 0" },
  "offset-unaligned": {
    to: "v1",
    event: "transaction",
    form: "[N]",
    text: "while saving, data_offset lies 8 bytes after the start of a page in the mapped area",
  },
  "lie-offset": {
    to: "v1",
    event: "transaction",
    form: "[N]",
    text: "data_offset lies outside the region",
  },
  "lie-size": {
    to: "v1",
    event: "size-read",
    form: "[N]",
    text: "data_size reaches beyond the end of the region",
  },
  "lie-wrap": {
    to: "v1",
    event: "size-read",
    form: "[N]",
    text: "data_offset + data_size exceeds 2^64",
  },
  "data-size-zero": {
    to: "migratable",
    event: "size-read",
    form: "N|always",
    text: "data_size (v2: MIG_DATA_SIZE) reads 0 the first N times, or always, although there " +
      "is data",
  },
  "data-size-small": {
    to: "v2",
    event: null,
    form: "",
    text: "MIG_DATA_SIZE reports a hundredth of the state's size",
  },
  "pending-grows": {
    to: "v1",
    event: "pending-read",
    form: "N",
    text: "the Nth read of pending_bytes in stop-and-copy returns a page more than the one before",
  },
  "no-data": {
    to: "migratable",
    event: null,
    form: "",
    text: "there is no state to read: pending_bytes is 0 (v2: the data fd is at its end at once)",
  },
  "stuck": {
    to: "v1",
    event: null,
    form: "",
    text: "pending_bytes never shrinks in stop-and-copy",
  },
  "never-drains": {
    to: "v2",
    event: null,
    form: "",
    text: "PRE_COPY never runs out of data: the whole state changes whenever all of it was read",
  },
  "initial-never-zero": {
    to: "v2",
    event: null,
    form: "",
    text: "initial_bytes stays above 0 even if everything was read",
  },
  "initial-zero": {
    to: "v2",
    event: null,
    form: "",
    text: "initial_bytes is 0 from the start: all data counts as dirty_bytes",
  },
  "initial-stays": {
    to: "v2",
    event: null,
    form: "",
    text: "initial_bytes does not shrink until all initial data was read",
  },
  "dirty-first": {
    to: "v2",
    event: null,
    form: "",
    text: "dirty_bytes is a page at first, although nothing is dirty",
  },
  "drained-zero": {
    to: "v2",
    event: null,
    form: "",
    text: "a read in PRE_COPY with no data left returns 0 bytes instead of ENOMSG",
  },
  "precopy-flags": {
    to: "v2",
    event: null,
    form: "",
    text: "the precopy info has a flag that no header defines",
  },
  "precopy-info": {
    to: "v2",
    event: "precopy-info",
    form: "N:ERRNO",
    text: "the Nth VFIO_MIG_GET_PRECOPY_INFO fails",
  },
  "read": {
    to: "migratable",
    event: "data-read",
    form: "N:ERRNO",
    text: "the Nth read of data fails",
  },
  "short-read": {
    to: "migratable",
    event: "data-read",
    form: "N",
    text: "the Nth read of data returns half of the bytes",
  },
  "write": {
    to: "migratable",
    event: "data-write",
    form: "N:ERRNO",
    text: "the Nth write of data fails",
  },
  "short-write": {
    to: "migratable",
    event: "data-write",
    form: "N",
    text: "the Nth write of data accepts half of the bytes",
  },
  "eintr-partial": {
    to: "v2",
    event: "transaction",
    form: "N",
    text: "the Nth read or write of the data fd moves half of the bytes and fails with EINTR, " +
      "without reporting how many",
  },
  "load": {
    to: "v1",
    event: "size-write",
    form: "N:ERRNO",
    text: "the Nth write of data_size fails",
  },
  "reset": {
    to: "any",
    event: "reset",
    form: "N:ERRNO",
    text: "the Nth VFIO_DEVICE_RESET fails",
  },
  "reset-ignored": {
    to: "migratable",
    event: "reset",
    form: "N|always",
    text: "the first N VFIO_DEVICE_RESET, or all of them, succeed but change nothing",
  },
  "mmap": { to: "v1", event: null, form: "ERRNO", text: "mmap of the device fails" },
  "region-size-zero": {
    to: "v1",
    event: null,
    form: "",
    text: "the migration region has size 0",
  },
  "caps-loop": {
    to: "v1",
    event: null,
    form: "",
    text: "the region's capability chain loops",
  },
  "caps-outside": {
    to: "v1",
    event: null,
    form: "",
    text: "a capability lies outside the region info",
  },
  "caps-odd": { to: "v1", event: null, form: "", text: "a capability lies at an odd offset" },
  "caps-truncated": { to: "v1", event: null, form: "", text: "the last capability is cut off" },
  "map": { to: "any", event: "map", form: "N:ERRNO", text: "the Nth VFIO_IOMMU_MAP_DMA fails" },
  "unmap": {
    to: "any",
    event: "unmap",
    form: "N:ERRNO",
    text: "unmapping fails at the Nth mapping; the mappings before it are gone",
  },
  "dirty-start": {
    to: "any",
    event: "dirty-start",
    form: "N:ERRNO",
    text: "the Nth start of dirty page tracking fails",
  },
  "dirty-get": {
    to: "any",
    event: "dirty-get",
    form: "N:ERRNO",
    text: "the Nth read of dirty pages fails",
  },
  "dirty-stop": {
    to: "any",
    event: "dirty-stop",
    form: "N:ERRNO",
    text: "the Nth stop of dirty page tracking fails",
  },
  "log-start": {
    to: "v2",
    event: "log-start",
    form: "N:ERRNO",
    text: "the Nth start of the device's own log fails",
  },
  "log-report": {
    to: "v2",
    event: "log-report",
    form: "N:ERRNO",
    text: "the Nth report of the device's own log fails",
  },
  "log-stop": {
    to: "v2",
    event: "log-stop",
    form: "N:ERRNO",
    text: "the Nth stop of the device's own log fails",
  },
  "close": {
    to: "any",
    event: "close",
    form: "N:ERRNO",
    text: "the Nth time that the device is closed, close fails, although the device is closed",
  },
  "log-error": {
    to: "v2",
    event: "log-report",
    form: "N",
    text: "the device's own log breaks at the Nth report: that report and all later ones fail " +
      "with EIO",
  },
  "no-log-report": {
    to: "v2",
    event: null,
    form: "",
    text: "reports of the device's own log fail with EOPNOTSUPP, as in kernels without iommufd",
  },
  "draft-dirty-flag": {
    to: "any",
    event: null,
    form: "",
    text: "the IOMMU info has the flag of a draft instead of the migration capability",
  },
  "open": { to: "any", event: null, form: "ERRNO", text: "opening its group or node fails" },
  "node-late": {
    to: "any",
    event: "open",
    form: "N",
    text:
      "the first N opens of its group or node fail with ENOENT, as right after binding a driver",
  },
  "device-late": {
    to: "any",
    event: "device-fd",
    form: "N",
    text: "the first N VFIO_GROUP_GET_DEVICE_FD fail with ENODEV, as right after binding a driver",
  },
  "open-container": {
    to: "any",
    event: null,
    form: "ERRNO",
    text: "opening /dev/vfio/vfio fails",
  },
  "open-iommufd": { to: "any", event: null, form: "ERRNO", text: "opening /dev/iommu fails" },
  "group-status": { to: "any", event: null, form: "ERRNO", text: "VFIO_GROUP_GET_STATUS fails" },
  "set-container": {
    to: "any",
    event: null,
    form: "ERRNO",
    text: "VFIO_GROUP_SET_CONTAINER fails",
  },
  "set-iommu": { to: "any", event: null, form: "ERRNO", text: "VFIO_SET_IOMMU fails" },
  "device-fd": { to: "any", event: null, form: "ERRNO", text: "VFIO_GROUP_GET_DEVICE_FD fails" },
  "bind": { to: "any", event: null, form: "ERRNO", text: "VFIO_DEVICE_BIND_IOMMUFD fails" },
  "ioas-alloc": { to: "any", event: null, form: "ERRNO", text: "IOMMU_IOAS_ALLOC fails" },
  "attach": {
    to: "any",
    event: null,
    form: "ERRNO",
    text: "VFIO_DEVICE_ATTACH_IOMMUFD_PT fails",
  },
  "device-info": { to: "any", event: null, form: "ERRNO", text: "VFIO_DEVICE_GET_INFO fails" },
  "no-container-node": {
    to: "any",
    event: null,
    form: "",
    text: "/dev/vfio/vfio is missing, although sysfs shows it, as in an OS container's /dev",
  },
  "no-iommu-node": {
    to: "any",
    event: null,
    form: "",
    text:
      "/dev/iommu is missing, although sysfs shows it with cdev=1, as in an OS container's /dev",
  },
  "no-device-node": {
    to: "any",
    event: null,
    form: "",
    text: "the nodes of its group and of the device are missing, although sysfs shows them, as " +
      "in an OS container's /dev",
  },
  "group-busy": { to: "any", event: null, form: "", text: "another process has the group open" },
  "group-not-viable": {
    to: "any",
    event: null,
    form: "",
    text: "a device of the group is bound to a host driver",
  },
  "isa-bridge": {
    to: "any",
    event: null,
    form: "",
    text: "the group has an ISA bridge bound to a host driver (lpc_ich), so it is not viable",
  },
  "firmware-region": {
    to: "function",
    event: null,
    form: "",
    text: "firmware keeps memory mapped for it (an RMRR), so the kernel refuses its group",
  },
  "unsafe-interrupts": {
    to: "function",
    event: null,
    form: "",
    text: "the IOMMU does not remap interrupts, so the kernel refuses the device",
  },
  "type1-only": {
    to: "any",
    event: null,
    form: "",
    text: "the IOMMU driver has TYPE1 but not TYPE1v2",
  },
  "no-dirty-capability": {
    to: "any",
    event: null,
    form: "",
    text: "the IOMMU info has no migration capability",
  },
};
