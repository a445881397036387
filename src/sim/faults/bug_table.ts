/**
 * The bugs that a simulated driver can have: one table. A bug breaks one rule all the time; a fault
 * (fault_table.ts) strikes once. Which devices can have which is in bug_carriers.ts.
 */

/** The drivers that can have a bug, by what they need for it. */
export type BugDrivers =
  /** Drivers of both protocols. */
  | "any"
  /** v1 drivers that follow the protocol: trapped, mapped, partitioned. */
  | "v1"
  /** Those of them whose data section can be mapped. */
  | "v1-mapped"
  /** Those of them whose data begins in the part that can be mapped. */
  | "v1-mapped-start"
  | "v2"
  /** v2 drivers with P2P, with PRE_COPY, with both, or without PRE_COPY. */
  | "v2-p2p"
  | "v2-precopy"
  | "v2-precopy-p2p"
  /** v2 drivers whose pre-copy gives the whole state, not only a record that comes first. */
  | "v2-precopy-images"
  | "v2-without-precopy"
  /** v2 drivers without P2P or without PRE_COPY. */
  | "v2-incomplete"
  /** v2 drivers whose read without data fails during pre-copy. */
  | "v2-drained"
  /** v2 drivers with poll. */
  | "v2-poll"
  /** v2 drivers with PRE_COPY, and new initial data: `reinit=N`. */
  | "v2-reinit"
  | "v2-data-size"
  | "v2-log";

/** A kind of bug. */
export interface BugKind {
  /** The drivers that can have it. */
  readonly to: BugDrivers;
  /** The number of the rule that it breaks. */
  readonly rule: number;
  /** What the driver does wrong, as the help shows it. */
  readonly text: string;
}

/** The name of a bug. */
export type BugName =
  | "argsz-unchecked"
  | "flags-unchecked"
  | "get-and-set"
  | "no-operation"
  | "unknown-feature"
  | "payload-unchecked"
  | "state-unprobed"
  | "flags-settable"
  | "flags-unknown"
  | "flags-without-stop-copy"
  | "flags-change"
  | "get-gives-fd"
  | "opens-stopped"
  | "data-size-while-running"
  | "precopy-info-v2-always"
  | "log-without-stop"
  | "config-unreadable"
  | "data-size-zero"
  | "data-size-small"
  | "data-size-huge"
  | "set-takes-no-fd"
  | "state-busy"
  | "size-settable"
  | "argsz-exact"
  | "probe-acts"
  | "stop-copy-to-running"
  | "resuming-to-stop-copy"
  | "combined-refused"
  | "error-accepted"
  | "unknown-state"
  | "missing-state"
  | "precopy-after-stop-copy"
  | "refusal-with-eio"
  | "refusal-stops"
  | "precopy-p2p-after-stop-copy"
  | "same-state-refused"
  | "same-state-fd"
  | "state-lags"
  | "running-stops-halfway"
  | "state-drifts"
  | "failed-restore-runs"
  | "precopy-without-fd"
  | "precopy-p2p-without-fd"
  | "stop-copy-without-fd"
  | "resuming-without-fd"
  | "resuming-gives-save-fd"
  | "stop-gives-fd"
  | "running-gives-fd"
  | "stop-copy-changes-fd"
  | "stop-copy-ends-fd"
  | "precopy-p2p-changes-fd"
  | "p2p-to-precopy-p2p"
  | "precopy-to-precopy-p2p"
  | "precopy-p2p-to-precopy"
  | "fd-positions"
  | "fd-leaks"
  | "saves-run-out"
  | "end-fails"
  | "end-repeats"
  | "end-enomsg"
  | "end-unpolled"
  | "read-loses-rest"
  | "small-read-zeroed"
  | "changes-while-stopped"
  | "old-fd-data"
  | "old-fd-end"
  | "old-fd-blocks"
  | "poll-silent"
  | "first-read-eagain"
  | "eintr-loses"
  | "early-close"
  | "save-fd-written"
  | "resume-fd-read"
  | "sessions-slower"
  | "refusal-ends-fd"
  | "same-state-ends-fd"
  | "fd-outlives-close"
  | "precopy-info-missing"
  | "precopy-info-once"
  | "precopy-info-argsz"
  | "precopy-info-anywhere"
  | "fd-ioctl"
  | "initial-zero"
  | "initial-grows"
  | "initial-stays"
  | "initial-never-zero"
  | "dirty-first"
  | "drained-end"
  | "drained-polled"
  | "change-unpolled"
  | "precopy-flags"
  | "reinit-dirty"
  | "reinit-empty"
  | "precopy-once"
  | "stop-copy-headless"
  | "precopy-counts-half"
  | "precopy-counts-more"
  | "precopy-drops-unread"
  | "precopy-goes-on"
  | "precopy-end-enomsg"
  | "precopy-p2p-dead-fd"
  | "precopies-run-out"
  | "restore-spoils"
  | "precopy-loses"
  | "write-sixteen"
  | "write-loses-rest"
  | "cut-accepted"
  | "nothing-accepted"
  | "damage-accepted"
  | "excess-accepted"
  | "foreign-accepted"
  | "refused-write-forgotten"
  | "late-write"
  | "restore-ignored"
  | "restores-run-out"
  | "reset-keeps-data"
  | "run-undoes-restore"
  | "resume-precopy-info"
  | "reset-keeps-resuming"
  | "reset-stops"
  | "reset-busy"
  | "reset-keeps-fd"
  | "error-left"
  | "reset-keeps-error"
  | "reset-while-running"
  | "reset-blocks-saves"
  | "close-keeps-state"
  | "dma-in-stop"
  | "dma-in-stop-copy"
  | "p2p-stops-dma"
  | "precopy-stops-dma"
  | "stays-quiet"
  | "log-empty"
  | "log-many"
  | "log-unaligned"
  | "log-overlap"
  | "log-wraps"
  | "log-twice"
  | "log-odd-page"
  | "log-report-page"
  | "log-report-off"
  | "log-stop-ignored"
  | "log-keeps"
  | "log-part-clears-all"
  | "log-clears-bits"
  | "log-overruns"
  | "log-unfolded"
  | "log-lost-by-step"
  | "log-loses-pages"
  | "log-first-range"
  | "log-kept-by-close"
  | "log-report-aligned"
  | "region-read-only"
  | "region-small"
  | "caps-endless"
  | "area-outside"
  | "area-empty"
  | "area-unaligned"
  | "region-info-argsz"
  | "region-index"
  | "irq-info-argsz"
  | "irq-index"
  | "regions-overlap"
  | "info-changes"
  | "no-reset-flag"
  | "starts-stopped"
  | "reserved-lost"
  | "accepts-101"
  | "accepts-111"
  | "refused-write-stops"
  | "error-written"
  | "precopy-refused"
  | "precopy-kept"
  | "precopy-to-end"
  | "register-lags"
  | "only-from-precopy"
  | "stop-refused"
  | "v1-reset-ignored"
  | "v1-reset-busy"
  | "halves-readable"
  | "byte-written"
  | "pending-writable"
  | "offset-writable"
  | "offset-outside"
  | "size-outside"
  | "data-unaligned"
  | "size-zero"
  | "pending-stays"
  | "pending-returns"
  | "taken-late"
  | "partial-accepted"
  | "pending-drops"
  | "offset-advances"
  | "size-once"
  | "offset-zero"
  | "reserved-stores"
  | "v1-restore-spoils"
  | "size-unchecked"
  | "v1-precopy-loses"
  | "v1-precopy-stops-dma"
  | "v1-saves-run-out"
  | "v1-restores-run-out";

const bug = (to: BugDrivers, rule: number, text: string): BugKind => ({ to, rule, text });

/** Every bug: its name in `bug=NAME`, the devices that can have it, the rule it breaks, and what it does. */
export const BUGS: Readonly<Record<BugName, BugKind>> = {
  // The device feature.
  "argsz-unchecked": bug("v2", 1, "VFIO_DEVICE_FEATURE does not look at an argsz below 8"),
  "flags-unchecked": bug("v2", 2, "VFIO_DEVICE_FEATURE takes unknown flags"),
  "get-and-set": bug("v2", 3, "a feature takes GET and SET together, as a GET"),
  "no-operation": bug("v2", 4, "a feature with neither GET, SET nor PROBE succeeds"),
  "unknown-feature": bug("v2", 5, "a feature that no header defines succeeds"),
  "payload-unchecked": bug("v2", 6, "a feature takes an argsz that is too short for its struct"),
  "state-unprobed": bug("v2", 7, "a PROBE of MIG_DEVICE_STATE fails with ENOTTY"),
  "flags-settable": bug("v2", 8, "a SET of MIGRATION succeeds"),
  "flags-unknown": bug("v2", 9, "the MIGRATION flags have a bit that no header defines"),
  "flags-without-stop-copy": bug("v2", 9, "the MIGRATION flags lack STOP_COPY"),
  "flags-change": bug("v2-p2p", 10, "outside RUNNING, the MIGRATION flags are STOP_COPY alone"),
  "get-gives-fd": bug("v2", 11, "a GET of the state returns 0 as data_fd, not -1"),
  "opens-stopped": bug("v2", 12, "the device is in STOP when it is opened"),
  "data-size-while-running": bug(
    "v2-data-size",
    13,
    "MIG_DATA_SIZE fails with EINVAL unless the device is in RUNNING",
  ),
  "precopy-info-v2-always": bug(
    "v2-without-precopy",
    14,
    "MIG_PRECOPY_INFOv2 can be set although there is no PRE_COPY",
  ),
  "log-without-stop": bug("v2-log", 15, "a PROBE of DMA_LOGGING_STOP fails with ENOTTY"),
  "config-unreadable": bug("v2", 38, "the configuration space fails with EIO while stopped"),
  "data-size-zero": bug("v2-data-size", 52, "MIG_DATA_SIZE is 0"),
  "data-size-small": bug("v2-data-size", 52, "MIG_DATA_SIZE is a hundredth of the data"),
  "data-size-huge": bug("v2-data-size", 52, "MIG_DATA_SIZE is a thousand times the data"),
  "set-takes-no-fd": bug("v2", 134, "a SET of the state with an fd in data_fd fails with EINVAL"),
  "state-busy": bug("v2", 138, "a GET of the state fails with EBUSY while a save fd is open"),
  "size-settable": bug("v2-data-size", 143, "a SET of MIG_DATA_SIZE succeeds"),
  "argsz-exact": bug("v2", 144, "MIGRATION and MIG_DEVICE_STATE refuse an argsz above 16"),
  "probe-acts": bug("v2", 145, "a PROBE of a SET of the state goes there"),

  // The state machine.
  "stop-copy-to-running": bug("v2", 18, "STOP_COPY to RUNNING is refused with EINVAL"),
  "resuming-to-stop-copy": bug("v2", 18, "RESUMING to STOP_COPY is refused with EINVAL"),
  "combined-refused": bug("v2", 18, "RUNNING to STOP_COPY is refused, but not its single steps"),
  "error-accepted": bug("v2", 19, "a SET of ERROR succeeds: the device goes there"),
  "unknown-state": bug("v2", 20, "a SET of a state that does not exist succeeds"),
  "missing-state": bug(
    "v2-incomplete",
    21,
    "a SET of a state that the driver does not have succeeds, and nothing changes",
  ),
  "precopy-after-stop-copy": bug("v2-precopy", 22, "STOP_COPY to PRE_COPY succeeds"),
  "refusal-with-eio": bug("v2-precopy", 22, "STOP_COPY to PRE_COPY fails with EIO, not EINVAL"),
  "refusal-stops": bug("v2-precopy", 22, "STOP_COPY to PRE_COPY is refused, and leads to STOP"),
  "precopy-p2p-after-stop-copy": bug(
    "v2-precopy-p2p",
    23,
    "STOP_COPY to PRE_COPY_P2P succeeds",
  ),
  "same-state-refused": bug("v2", 24, "a SET of the present state fails with EINVAL"),
  "same-state-fd": bug("v2", 24, "a SET of STOP_COPY in STOP_COPY gives a new data_fd"),
  "state-lags": bug("v2", 25, "the first GET after a SET answers the old state"),
  "running-stops-halfway": bug(
    "v2-p2p",
    25,
    "STOP_COPY to RUNNING succeeds, and leads to RUNNING_P2P",
  ),
  "state-drifts": bug("v2", 26, "after 300 ms in STOP the device is in RUNNING"),
  "failed-restore-runs": bug("v2", 27, "if RESUMING to STOP fails, the device is in RUNNING"),
  "precopy-without-fd": bug("v2-precopy", 28, "RUNNING to PRE_COPY gives no data_fd"),
  "precopy-p2p-without-fd": bug(
    "v2-precopy-p2p",
    29,
    "RUNNING_P2P to PRE_COPY_P2P gives no data_fd",
  ),
  "stop-copy-without-fd": bug("v2", 30, "STOP to STOP_COPY gives no data_fd"),
  "resuming-without-fd": bug("v2", 31, "STOP to RESUMING gives no data_fd"),
  "resuming-gives-save-fd": bug("v2", 31, "STOP to RESUMING gives the data_fd of a save"),
  "stop-gives-fd": bug("v2", 32, "the step to STOP gives a data_fd"),
  "running-gives-fd": bug("v2", 32, "the step to RUNNING gives a data_fd"),
  "stop-copy-changes-fd": bug("v2-precopy", 33, "pre-copy to STOP_COPY gives a new data_fd"),
  "stop-copy-ends-fd": bug("v2-precopy", 33, "pre-copy to STOP_COPY ends the data_fd"),
  "precopy-p2p-changes-fd": bug(
    "v2-precopy-p2p",
    34,
    "PRE_COPY to PRE_COPY_P2P gives a new data_fd",
  ),
  "p2p-to-precopy-p2p": bug(
    "v2-precopy-p2p",
    35,
    "RUNNING_P2P to PRE_COPY_P2P is refused with EINVAL",
  ),
  "precopy-to-precopy-p2p": bug(
    "v2-precopy-p2p",
    35,
    "PRE_COPY to PRE_COPY_P2P is refused with EINVAL",
  ),
  "precopy-p2p-to-precopy": bug(
    "v2-precopy-p2p",
    35,
    "PRE_COPY_P2P to PRE_COPY is refused with EINVAL",
  ),

  // Data fds, and the data of STOP_COPY.
  "fd-positions": bug("v2", 37, "a save fd can be read at an offset"),
  "fd-leaks": bug("v2", 41, "each save leaves an open file behind"),
  "saves-run-out": bug("v2", 41, "after 100 saves, no save begins any more (ENOMEM)"),
  "end-fails": bug("v2", 43, "the read at the end of STOP_COPY fails with EIO"),
  "end-repeats": bug("v2", 43, "the read after the end of STOP_COPY gives 16 more bytes"),
  "end-enomsg": bug("v2", 44, "the read at the end of STOP_COPY fails with ENOMSG"),
  "end-unpolled": bug("v2-poll", 45, "poll does not report the end of STOP_COPY"),
  "read-loses-rest": bug("v2", 46, "a read of fewer than 64 bytes loses the rest of them"),
  "small-read-zeroed": bug("v2", 46, "a read of fewer than 16 bytes gives zeros"),
  "changes-while-stopped": bug("v2", 47, "the device changes its state before each save"),
  "old-fd-data": bug("v2", 48, "a save fd gives data after its state was left"),
  "old-fd-end": bug("v2", 48, "a save fd is at its end after its state was left: no error"),
  "old-fd-blocks": bug("v2", 49, "no save begins (EBUSY) while the fd of the one before is open"),
  "poll-silent": bug("v2-poll", 50, "poll reports no data in STOP_COPY although there is some"),
  "first-read-eagain": bug("v2", 50, "the first read of each save fails with EAGAIN"),
  "eintr-loses": bug("v2", 51, "every tenth read takes its bytes, and fails with EINTR"),
  "early-close": bug("v2", 53, "STOP_COPY to STOP fails with EIO if not all data was read"),
  "save-fd-written": bug("v2", 136, "a save fd takes writes"),
  "resume-fd-read": bug("v2", 136, "a resume fd can be read: it is at its end"),
  "sessions-slower": bug("v2", 140, "each save begins 5 ms later than the one before"),
  "refusal-ends-fd": bug("v2", 146, "a SET that is refused in STOP_COPY ends the data_fd"),
  "same-state-ends-fd": bug("v2", 146, "a SET of STOP_COPY in STOP_COPY ends the data_fd"),
  "fd-outlives-close": bug("v2", 152, "a save fd gives data after its device was closed"),

  // Pre-copy.
  "precopy-info-missing": bug("v2-precopy", 54, "VFIO_MIG_GET_PRECOPY_INFO fails with ENOTTY"),
  "precopy-info-once": bug(
    "v2-precopy",
    54,
    "VFIO_MIG_GET_PRECOPY_INFO fails with EINVAL from the second time on",
  ),
  "precopy-info-argsz": bug("v2-precopy", 55, "the precopy info takes an argsz below 24"),
  "precopy-info-anywhere": bug("v2-precopy", 56, "the precopy info is answered in STOP_COPY"),
  "fd-ioctl": bug("v2", 57, "every ioctl on a save fd succeeds"),
  "initial-zero": bug("v2-precopy", 58, "initial_bytes is 0 from the start"),
  "initial-grows": bug("v2-precopy", 59, "initial_bytes is a page more each time it is asked for"),
  "initial-stays": bug(
    "v2-precopy-images",
    59,
    "initial_bytes stays until all initial data was read",
  ),
  "initial-never-zero": bug("v2-precopy", 59, "initial_bytes is a page when all data was read"),
  "dirty-first": bug("v2-precopy", 60, "dirty_bytes is a page when pre-copy begins"),
  "drained-end": bug("v2-drained", 61, "a read without data in pre-copy returns 0"),
  "drained-polled": bug("v2-poll", 62, "poll always reports data in pre-copy"),
  "change-unpolled": bug("v2-poll", 62, "poll reports no data once a read gave ENOMSG"),
  "precopy-flags": bug("v2-precopy", 63, "the precopy info has a flag that no header defines"),
  "reinit-dirty": bug("v2-reinit", 64, "dirty_bytes is not 0 with VFIO_PRECOPY_INFO_REINIT"),
  "reinit-empty": bug("v2-reinit", 64, "initial_bytes is 0 with VFIO_PRECOPY_INFO_REINIT"),
  "precopy-once": bug("v2-precopy", 65, "a second pre-copy fails with EBUSY"),
  "stop-copy-headless": bug("v2", 66, "STOP_COPY without pre-copy lacks the first 64 bytes"),
  "precopy-counts-half": bug("v2-precopy-images", 135, "the precopy info counts half of the bytes"),
  "precopy-counts-more": bug("v2-precopy", 135, "the precopy info counts a page that never comes"),
  "precopy-drops-unread": bug("v2-precopy", 147, "what was not read in pre-copy never comes"),
  "precopy-goes-on": bug(
    "v2-precopy-images",
    65,
    "a second pre-copy begins where the first was left",
  ),
  "precopy-end-enomsg": bug(
    "v2-precopy",
    44,
    "after pre-copy, the read at the end of STOP_COPY fails with ENOMSG",
  ),
  "precopy-p2p-dead-fd": bug(
    "v2-precopy-p2p",
    34,
    "in PRE_COPY_P2P a read of the data_fd fails with ENODEV",
  ),
  "precopies-run-out": bug(
    "v2-precopy",
    41,
    "after 100 times, no pre-copy begins any more (ENOMEM)",
  ),

  // Restoring.
  "restore-spoils": bug("v2", 67, "the device changes a page once it was restored"),
  "precopy-loses": bug(
    "v2-precopy-images",
    67,
    "what changes after it was read in pre-copy is not read again",
  ),
  "write-sixteen": bug("v2", 68, "a write of fewer than 16 bytes fails with EINVAL"),
  "write-loses-rest": bug("v2", 68, "of a write above 4096 bytes, the rest is lost"),
  "cut-accepted": bug("v2", 69, "data that is cut is accepted"),
  "nothing-accepted": bug("v2", 70, "no data at all is accepted"),
  "damage-accepted": bug("v2", 71, "data with a damaged head is accepted, and ignored"),
  "excess-accepted": bug("v2", 72, "bytes after the end are accepted, and ignored"),
  "foreign-accepted": bug("v2", 73, "the data of another kind or size of device is accepted"),
  "refused-write-forgotten": bug("v2", 74, "RESUMING to STOP succeeds after a refused write"),
  "late-write": bug("v2", 75, "a resume fd takes writes after RESUMING was left"),
  "restore-ignored": bug("v2", 76, "the data of a restore is checked, and not loaded"),
  "restores-run-out": bug("v2", 41, "after 100 restores, none begins any more (ENOMEM)"),
  "reset-keeps-data": bug(
    "v2",
    77,
    "what was written before a reset in RESUMING stays in front of the next data",
  ),
  "run-undoes-restore": bug(
    "v2",
    76,
    "the device changes a page at the first step to RUNNING after a restore",
  ),
  "resume-precopy-info": bug("v2", 56, "the precopy info of a resume fd succeeds"),

  // Reset, error, close.
  "reset-keeps-resuming": bug("v2", 77, "VFIO_DEVICE_RESET leaves a device in RESUMING"),
  "reset-stops": bug("v2", 78, "VFIO_DEVICE_RESET leads to STOP"),
  "reset-busy": bug("v2", 78, "VFIO_DEVICE_RESET fails with EBUSY in STOP_COPY"),
  "reset-keeps-fd": bug("v2", 79, "a save fd gives data after VFIO_DEVICE_RESET"),
  "error-left": bug("v2", 80, "a SET of RUNNING leads out of ERROR"),
  "reset-keeps-error": bug("v2", 80, "VFIO_DEVICE_RESET does not lead out of ERROR"),
  "reset-while-running": bug("v2", 137, "VFIO_DEVICE_RESET fails with EBUSY in RUNNING"),
  "reset-blocks-saves": bug(
    "v2",
    153,
    "after a reset in STOP_COPY, no save begins any more (EBUSY)",
  ),
  "close-keeps-state": bug("any", 42, "a device that is closed has the same state when reopened"),

  // DMA.
  "dma-in-stop": bug("any", 40, "the device writes to memory in STOP"),
  "dma-in-stop-copy": bug("any", 40, "the device writes to memory in STOP_COPY"),
  "p2p-stops-dma": bug("v2-p2p", 139, "in RUNNING_P2P the device does no DMA at all"),
  "precopy-stops-dma": bug("v2-precopy", 149, "in pre-copy the device does no DMA"),
  "stays-quiet": bug("any", 148, "once the device was stopped, it does no more DMA"),

  // The device's own DMA log.
  "log-empty": bug("v2-log", 82, "DMA_LOGGING_START takes no range at all"),
  "log-many": bug("v2-log", 83, "DMA_LOGGING_START takes more than 256 ranges"),
  "log-unaligned": bug("v2-log", 84, "DMA_LOGGING_START takes a range that is not aligned"),
  "log-overlap": bug("v2-log", 85, "DMA_LOGGING_START takes ranges that overlap"),
  "log-wraps": bug("v2-log", 86, "DMA_LOGGING_START takes a range that wraps around"),
  "log-twice": bug("v2-log", 87, "a second DMA_LOGGING_START succeeds"),
  "log-odd-page": bug("v2-log", 88, "DMA_LOGGING_START answers a page size of 12288"),
  "log-report-page": bug("v2-log", 89, "DMA_LOGGING_REPORT takes a page size below 4096"),
  "log-report-off": bug("v2-log", 90, "DMA_LOGGING_REPORT succeeds while the log is off"),
  "log-stop-ignored": bug("v2-log", 90, "DMA_LOGGING_STOP succeeds, and the log goes on"),
  "log-keeps": bug("v2-log", 91, "DMA_LOGGING_REPORT does not clear what it reports"),
  "log-part-clears-all": bug("v2-log", 91, "a report of a part clears the whole log"),
  "log-clears-bits": bug("v2-log", 92, "DMA_LOGGING_REPORT clears the caller's bits"),
  "log-overruns": bug("v2-log", 92, "DMA_LOGGING_REPORT writes 8 bytes after the bitmap"),
  "log-unfolded": bug("v2-log", 93, "a report with larger pages has the bits of 4096 bytes"),
  "log-lost-by-step": bug("v2-log", 95, "each step of the migration state empties the log"),
  "log-loses-pages": bug("v2-log", 141, "every eighth page is not logged"),
  "log-first-range": bug("v2-log", 141, "of several ranges, only the first is logged"),
  "log-kept-by-close": bug("v2-log", 150, "the log goes on after the device was closed"),
  "log-report-aligned": bug(
    "v2-log",
    151,
    "the bits of a report begin at the last multiple of 64 pages",
  ),

  // v1: the region.
  "region-read-only": bug("v1", 97, "the migration region's info lacks WRITE"),
  "region-small": bug("v1", 97, "the migration region has 32 bytes: no room for data"),
  "caps-endless": bug("v1", 98, "the region's last capability points to the first"),
  "area-outside": bug("v1-mapped", 121, "an area ends beyond the region"),
  "area-empty": bug("v1-mapped", 121, "an area has 0 bytes"),
  "area-unaligned": bug("v1-mapped", 121, "an area begins 8 bytes after the start of a page"),
  "region-info-argsz": bug("any", 122, "VFIO_DEVICE_GET_REGION_INFO takes an argsz below 32"),
  "region-index": bug("any", 122, "VFIO_DEVICE_GET_REGION_INFO answers for every index"),
  "irq-info-argsz": bug("any", 122, "VFIO_DEVICE_GET_IRQ_INFO takes an argsz below 16"),
  "irq-index": bug("any", 122, "VFIO_DEVICE_GET_IRQ_INFO answers for every index"),
  "regions-overlap": bug("any", 123, "BAR 0 has the offset of the configuration space"),
  "info-changes": bug("any", 124, "num_regions is one more at each VFIO_DEVICE_GET_INFO"),
  "no-reset-flag": bug("any", 125, "VFIO_DEVICE_GET_INFO lacks VFIO_DEVICE_FLAGS_RESET"),

  // v1: device_state.
  "starts-stopped": bug("v1", 99, "device_state is STOP when the device is opened"),
  "reserved-lost": bug("v1", 100, "each write of device_state clears its bits 3 to 31"),
  "accepts-101": bug("v1", 101, "device_state takes 101b"),
  "accepts-111": bug("v1", 101, "device_state takes 111b"),
  "refused-write-stops": bug("v1", 101, "a refused write of device_state leads to STOP"),
  "error-written": bug("v1", 102, "a write of RUNNING leads out of the error state (110b)"),
  "precopy-refused": bug("v1", 115, "RUNNING to pre-copy is refused"),
  "precopy-kept": bug("v1", 116, "pre-copy to RUNNING is refused while data is pending"),
  "precopy-to-end": bug("v1", 116, "pre-copy to stop-and-copy is refused while data is pending"),
  "register-lags": bug("v1", 117, "device_state reads the old value once after each write"),
  "only-from-precopy": bug("v1", 118, "RUNNING to stop-and-copy is refused"),
  "stop-refused": bug("v1", 118, "RUNNING to STOP is refused"),
  "v1-reset-ignored": bug("v1", 120, "VFIO_DEVICE_RESET leaves device_state alone"),
  "v1-reset-busy": bug("v1", 120, "VFIO_DEVICE_RESET fails with EBUSY unless the device runs"),

  // v1: the other registers, and the data.
  "halves-readable": bug("v1", 103, "registers of 8 bytes can be read in halves"),
  "byte-written": bug("v1", 103, "device_state can be written as one byte"),
  "pending-writable": bug("v1", 104, "pending_bytes takes writes"),
  "offset-writable": bug("v1", 104, "data_offset takes writes"),
  "offset-outside": bug("v1", 105, "data_offset is the region's size"),
  "size-outside": bug("v1", 105, "data_size is the region's size, wherever the data begins"),
  "data-unaligned": bug("v1-mapped-start", 106, "data begins 8 bytes after the start of a page"),
  "size-zero": bug("v1", 107, "every second data_size is 0, although there is data"),
  "pending-stays": bug("v1", 108, "pending_bytes is 4096 when nothing is left"),
  "pending-returns": bug("v1", 108, "pending_bytes is 4096 again after it was 0"),
  "taken-late": bug("v1", 109, "data is not taken before the next write of a register"),
  "partial-accepted": bug("v1", 110, "a restore that is not complete is accepted"),
  "pending-drops": bug("v1", 111, "reading pending_bytes twice skips a transaction"),
  "offset-advances": bug("v1", 112, "reading data_offset twice skips a transaction"),
  "size-once": bug("v1", 112, "data_size reads 0 the second time"),
  "offset-zero": bug("v1", 113, "data_offset is 0"),
  "reserved-stores": bug("v1", 114, "the register `reserved` reads what was written to it"),
  "v1-restore-spoils": bug("v1", 119, "the device changes a page once it was restored"),
  "size-unchecked": bug("v1", 105, "a data_size beyond the region is taken for a whole state"),
  "v1-precopy-loses": bug("v1", 154, "what was not read in pre-copy never comes"),
  "v1-precopy-stops-dma": bug("v1", 149, "in pre-copy the device does no DMA"),
  "v1-saves-run-out": bug("v1", 41, "after 100 times, stop-and-copy is refused (ENOMEM)"),
  "v1-restores-run-out": bug("v1", 41, "after 100 restores, RESUMING is refused (ENOMEM)"),
};
