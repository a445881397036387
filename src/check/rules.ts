/**
 * The rules that the built-in checks judge by: one table, each with its source.
 *
 * Where two sources disagree, the header wins. A rule that the kernel's own code enforces, before
 * the driver sees the call, judges the kernel.
 *
 * @module
 */

/** Where a rule comes from, and what it judges. */
export interface Rule {
  /** Its number in docs/check.md; null for a rule of a vendor's own. */
  readonly number: number | null;
  /** The rule in one sentence. */
  readonly text: string;
  /** The header comment, source file or document that states it. */
  readonly source: string;
  /** What a break of it is held against. */
  readonly judges: "driver" | "kernel";
}

const header = (what: string): string => `linux/vfio.h, ${what}`;
const core = (what: string): string => `drivers/vfio/vfio_main.c, ${what}`;
const v1 = (what: string): string =>
  `linux/vfio.h of 5.8, struct vfio_device_migration_info, ${what}`;
const PRACTICE = "practice: what virtual machine monitors rely on";
const FEATURE = core("vfio_ioctl_device_feature");
const CHECK_FEATURE = core("vfio_check_feature");
const MIGRATION = header("struct vfio_device_feature_migration");
const MIG_STATE = header("struct vfio_device_feature_mig_state");
const STATES = header("enum vfio_device_mig_state");
const DATA_SIZE = header("struct vfio_device_feature_mig_data_size");
const PRECOPY_INFO = header("VFIO_MIG_GET_PRECOPY_INFO");
const LOG = header("VFIO_DEVICE_FEATURE_DMA_LOGGING_START");
const REPORT = header("struct vfio_device_feature_dma_logging_report");
const LOG_CORE = core("vfio_ioctl_device_feature_logging_start");
const REPORT_CORE = core("vfio_ioctl_device_feature_logging_report");
const HOPS = core("vfio_mig_get_next_state");
const DEBUGFS = "Documentation/ABI/testing/debugfs-vfio";
const TYPE1 = header("VFIO_IOMMU_DIRTY_PAGES");
const UNMAP = header("VFIO_IOMMU_UNMAP_DMA");

/** Rules that the kernel's own code enforces. */
const KERNEL: readonly string[] = [
  ...[FEATURE, CHECK_FEATURE, LOG_CORE, REPORT_CORE],
  ...[TYPE1, UNMAP],
];

// deno-fmt-ignore
const TABLE: readonly (readonly [number: number, text: string, source: string])[] = [
  [1, "VFIO_DEVICE_FEATURE with an argsz below 8 is refused with EINVAL.", FEATURE],
  [2, "VFIO_DEVICE_FEATURE with an unknown flag is refused with EINVAL.", FEATURE],
  [3, "GET together with SET, without PROBE, is refused with EINVAL.", FEATURE],
  [4, "A feature without GET, SET or PROBE is refused with EINVAL.", CHECK_FEATURE],
  [5, "An unknown feature is refused with ENOTTY (before Linux 6.19 some drivers: EINVAL).", FEATURE],
  [6, "A feature whose argsz is too short for its struct is refused with EINVAL.", CHECK_FEATURE],
  [7, "MIGRATION and MIG_DEVICE_STATE are both there, or neither.", FEATURE],
  [8, "MIGRATION can be read and not written: SET is refused with EINVAL.", CHECK_FEATURE],
  [9, "The MIGRATION flags have STOP_COPY, and no bit that the header does not define.", MIGRATION],
  [10, "The MIGRATION flags are the same in every state.", PRACTICE],
  [11, "A GET of MIG_DEVICE_STATE succeeds, and its data_fd is -1.", MIG_STATE],
  [12, "A device that was just opened is in RUNNING.", STATES],
  [13, "MIG_DATA_SIZE answers in every state.", DATA_SIZE],
  [14, "MIG_PRECOPY_INFOv2 can be set only on a device with PRE_COPY.", FEATURE],
  [15, "DMA_LOGGING_START, STOP and REPORT are there together, or none is.", FEATURE],
  [16, "The state in debugfs is the one that GET answers.", DEBUGFS],
  [17, "The features in debugfs are the MIGRATION flags.", DEBUGFS],
  [18, "A SET leads from each state to each other one, or fails with EINVAL, as the kernel's table says.", HOPS],
  [19, "ERROR as a target is refused with EINVAL, and the state stays.", MIG_STATE],
  [20, "A target that is no state is refused with EINVAL, and the state stays.", HOPS],
  [21, "An optional state without its flag is refused with EINVAL, and the state stays.", MIGRATION],
  [22, "STOP_COPY to PRE_COPY is refused with EINVAL, and the state stays.", STATES],
  [23, "STOP_COPY to PRE_COPY_P2P is refused with EINVAL, and the state stays.", STATES],
  [24, "A SET of the present state succeeds, changes nothing, and gives no data_fd.", HOPS],
  [25, "A GET right after a SET that succeeded answers the target.", MIG_STATE],
  [26, "A device does not change its state unasked.", STATES],
  [27, "After a SET that failed the device is in a state on the way to the target, or in ERROR.", MIG_STATE],
  [28, "RUNNING to PRE_COPY gives a data_fd.", STATES],
  [29, "RUNNING_P2P to PRE_COPY_P2P gives a data_fd.", STATES],
  [30, "STOP to STOP_COPY gives a data_fd.", STATES],
  [31, "STOP to RESUMING gives a data_fd.", STATES],
  [32, "Every other step gives no data_fd: it is -1.", HOPS],
  [33, "PRE_COPY and PRE_COPY_P2P to STOP_COPY go on with the data_fd of pre-copy.", STATES],
  [34, "Steps between PRE_COPY and PRE_COPY_P2P go on with the same data_fd.", STATES],
  [35, "Each step of the P2P states can be taken alone.", HOPS],
  [36, "A data_fd is closed on exec (FD_CLOEXEC).", core("vfio_ioctl_device_feature_mig_device_state")],
  [37, "A data_fd is a stream: reading at an offset is refused with ESPIPE.", PRACTICE],
  [38, "The configuration space can be read in STOP and STOP_COPY.", STATES],
  [39, "A device in STOP sends no interrupt.", STATES],
  [40, "A device in STOP and STOP_COPY writes no memory.", STATES],
  [41, "Many migration sessions leave no open file behind.", PRACTICE],
  [42, "A device that is closed in any state is in RUNNING when it is opened again.", PRACTICE],
  [43, "The data in STOP_COPY ends with a read of 0 bytes, and every later read is 0 bytes too.", STATES],
  [44, "A read in STOP_COPY never fails with ENOMSG.", PRECOPY_INFO],
  [45, "At its end the data_fd polls readable.", STATES],
  [46, "Reads of any size give the same bytes.", PRACTICE],
  [47, "A device that is saved twice without running in between gives the same bytes.", STATES],
  [48, "A data_fd whose states were left gives an error and no data.", STATES],
  [49, "An old data_fd that is still open does not disturb the next session.", PRACTICE],
  [50, "With O_NONBLOCK a read that has no data yet fails with EAGAIN, and poll says when there is some.", PRACTICE],
  [51, "A signal during a read or write loses no byte.", PRACTICE],
  [52, "MIG_DATA_SIZE is close to the bytes that STOP_COPY gives.", DATA_SIZE],
  [53, "A data_fd can be closed early: the steps back to RUNNING still work.", PRACTICE],
  [54, "VFIO_MIG_GET_PRECOPY_INFO works in PRE_COPY.", PRECOPY_INFO],
  [55, "VFIO_MIG_GET_PRECOPY_INFO with an argsz below 24 is refused with EINVAL.", PRECOPY_INFO],
  [56, "VFIO_MIG_GET_PRECOPY_INFO outside the pre-copy states is refused with EINVAL.", PRECOPY_INFO],
  [57, "Another ioctl on the data_fd is refused with ENOTTY.", PRACTICE],
  [58, "initial_bytes is not 0 when pre-copy begins.", PRECOPY_INFO],
  [59, "initial_bytes falls as data is read, and does not grow.", PRECOPY_INFO],
  [60, "dirty_bytes begins at 0.", PRECOPY_INFO],
  [61, "If initial_bytes and dirty_bytes are 0, a read fails with ENOMSG.", PRECOPY_INFO],
  [62, "After ENOMSG poll waits for new data, and reports it.", PRECOPY_INFO],
  [63, "Without MIG_PRECOPY_INFOv2 the flags of the precopy info are those that were passed.", PRECOPY_INFO],
  [64, "With VFIO_PRECOPY_INFO_REINIT, dirty_bytes is 0 and initial_bytes is not.", PRECOPY_INFO],
  [65, "PRE_COPY to RUNNING ends the session, and a new one works.", STATES],
  [66, "The data of PRE_COPY and STOP_COPY together can be restored, and that of STOP_COPY alone can.", STATES],
  [67, "A state that was restored and is saved again gives the same bytes.", PRACTICE],
  [68, "The data can be written in pieces of any size.", STATES],
  [69, "Data that is cut is not accepted: the step from RESUMING to STOP fails.", STATES],
  [70, "No data is not accepted: the step from RESUMING to STOP fails.", STATES],
  [71, "Data with a damaged head is not accepted: a write or the step to STOP fails.", STATES],
  [72, "More data than there is state is refused.", STATES],
  [73, "The data of another kind of device is refused.", STATES],
  [74, "After a write that failed, the step from RESUMING to STOP fails.", STATES],
  [75, "A write after RESUMING was left fails.", STATES],
  [76, "RESUMING to RUNNING goes by way of STOP, and loads the state.", HOPS],
  [77, "VFIO_DEVICE_RESET ends RESUMING, and the data that was written is gone.", STATES],
  [78, "VFIO_DEVICE_RESET leads from every state to RUNNING.", STATES],
  [79, "After a reset, data_fds from before give an error.", PRACTICE],
  [80, "In ERROR every SET is refused; only VFIO_DEVICE_RESET leads out.", STATES],
  [81, "A reset during a read that waits returns, and so does the read.", PRACTICE],
  [82, "DMA_LOGGING_START without a range is refused with EINVAL.", LOG_CORE],
  [83, "DMA_LOGGING_START with more ranges than a page holds (256) is refused with E2BIG.", LOG_CORE],
  [84, "DMA_LOGGING_START with a range that is not aligned to page_size is refused with EINVAL.", LOG_CORE],
  [85, "DMA_LOGGING_START with ranges that overlap is refused with EINVAL.", LOG_CORE],
  [86, "DMA_LOGGING_START with a range that wraps around is refused with EOVERFLOW.", LOG_CORE],
  [87, "A second DMA_LOGGING_START while the log runs is refused.", LOG],
  [88, "The page_size that DMA_LOGGING_START answers is a power of two.", PRACTICE],
  [89, "DMA_LOGGING_REPORT with a page_size below 4096, or no power of two, is refused with EINVAL.", REPORT_CORE],
  [90, "While the log is off, DMA_LOGGING_REPORT is refused and DMA_LOGGING_START succeeds.", LOG],
  [91, "DMA_LOGGING_REPORT clears what it reports.", REPORT],
  [92, "DMA_LOGGING_REPORT sets bits, clears none, and writes nothing outside its bitmap.", REPORT],
  [93, "A report with a larger page_size has the same pages, folded.", REPORT],
  [94, "Memory that the device only reads is not reported.", LOG],
  [95, "The log goes on through steps of the migration state.", LOG],
  [96, "A device whose log answers PROBE reports it, unless the kernel lacks iommufd (EOPNOTSUPP).", PRACTICE],
  [97, "The migration region has type 3, subtype 1, can be read and written, and is larger than its 32 bytes of registers.", v1("VFIO_REGION_TYPE_MIGRATION")],
  [98, "The capabilities of a region end, and lie inside its info.", header("struct vfio_info_cap_header")],
  [99, "device_state is RUNNING when the device was just opened.", v1("device_state")],
  [100, "Bits 3 to 31 of device_state are kept.", v1("device_state")],
  [101, "RESUMING with another bit (101b, 111b) is refused, and the state stays.", v1("device_state")],
  [102, "From the error state (110b) only a reset leads out.", v1("device_state")],
  [103, "Registers refuse reads and writes of another width.", PRACTICE],
  [104, "pending_bytes and data_offset refuse writes.", v1("pending_bytes, data_offset")],
  [105, "data_offset + data_size lies inside the region.", v1("data_offset, data_size")],
  [106, "Data that can be mapped begins at a whole page.", v1("data_offset")],
  [107, "data_size is not 0 while pending_bytes is not.", PRACTICE],
  [108, "pending_bytes reaches 0 in stop-and-copy, and stays 0.", v1("pending_bytes")],
  [109, "The write of data_size returns when the data was taken.", v1("data_size")],
  [110, "A state that is not whole is refused.", v1("device_state")],
  [111, "Reading pending_bytes again has no side effect.", v1("pending_bytes")],
  [112, "Reading data_offset or data_size again has no side effect.", v1("data_offset, data_size")],
  [113, "data_offset is not 0: the data lies behind the registers.", v1("data_offset")],
  [114, "The register `reserved` reads 0 or is refused, and a write to it is ignored or refused.", v1("reserved")],
  [115, "A device takes the step to pre-copy even if it has no data to give there.", v1("device_state")],
  [116, "Pre-copy can be left, for stop-and-copy and for RUNNING, with data pending.", v1("device_state")],
  [117, "After the write of device_state the register reads the new state.", v1("device_state")],
  [118, "RUNNING, pre-copy, stop-and-copy, STOP and RESUMING can be reached as the header's table shows.", v1("device_state")],
  [119, "A v1 state that was saved can be restored, and saved again with the same bytes.", PRACTICE],
  [120, "A reset leads a v1 device from every state to RUNNING.", v1("device_state")],
  [121, "Sparse areas lie inside the region, are not empty, and are aligned to whole pages.", header("VFIO_REGION_INFO_CAP_SPARSE_MMAP")],
  [122, "VFIO_DEVICE_GET_INFO, GET_REGION_INFO and GET_IRQ_INFO refuse an argsz that is too short, and an index that is not there, with EINVAL.", header("VFIO_DEVICE_GET_REGION_INFO")],
  [123, "A region does not overlap another one in the device's file.", header("struct vfio_region_info")],
  [124, "VFIO_DEVICE_GET_INFO answers the same every time.", header("VFIO_DEVICE_GET_INFO")],
  [125, "A device with migration can be reset (VFIO_DEVICE_FLAGS_RESET).", header("VFIO_DEVICE_RESET")],
  [126, "Unknown or combined flags of VFIO_IOMMU_DIRTY_PAGES are refused with EINVAL.", TYPE1],
  [127, "VFIO_IOMMU_DIRTY_PAGES GET_BITMAP while tracking is off is refused with EINVAL.", TYPE1],
  [128, "VFIO_IOMMU_DIRTY_PAGES START and STOP can be repeated.", TYPE1],
  [129, "GET_BITMAP refuses a page size that is not the IOMMU's smallest, and a range that cuts a mapping, with EINVAL.", TYPE1],
  [130, "GET_BITMAP writes nothing outside the bitmap.", TYPE1],
  [131, "UNMAP_DMA with GET_DIRTY_BITMAP reports the pages and unmaps them.", UNMAP],
  [132, "Several threads can call the device at the same time: each call returns, with a true answer.", PRACTICE],
  [133, "A duplicate of the data_fd reads on where the other stopped.", PRACTICE],
  [134, "A SET with an fd in data_fd ignores it.", MIG_STATE],
  [135, "A read of the data_fd in PRE_COPY gives whole data before it fails with ENOMSG, and PRECOPY_INFO counts it.", PRECOPY_INFO],
  [136, "A data_fd for saving refuses writes, and one for restoring refuses reads.", STATES],
  [137, "VFIO_DEVICE_RESET of a running device succeeds, and it is in RUNNING.", header("VFIO_DEVICE_RESET")],
  [138, "The state can be asked for at any time, also while data is read.", MIG_STATE],
  [139, "A device in RUNNING_P2P begins no DMA to other devices, and goes on with its own.", STATES],
  [140, "A session takes no longer because of the sessions before it.", PRACTICE],
  [141, "Every page that the device wrote to is in a report.", LOG],
  [142, "Data that is read through a mapping is the data that pread gives.", v1("data_offset")],
  [143, "A feature that can only be read refuses SET, and one that can only be written refuses GET, with EINVAL.", CHECK_FEATURE],
  [144, "An argsz that is larger than the struct is accepted, and nothing behind the struct is written.", header("VFIO_DEVICE_FEATURE")],
  [145, "A PROBE changes nothing: the state stays.", header("VFIO_DEVICE_FEATURE_PROBE")],
  [146, "A SET that is refused, or of the present state, leaves the data_fd as it is.", MIG_STATE],
  [147, "Pre-copy can be left for STOP_COPY with data unread: the rest comes there.", STATES],
  [148, "A device that is back in RUNNING works as before: it writes memory again.", STATES],
  [149, "A device in the pre-copy states runs: it goes on with its DMA.", STATES],
  [150, "A device that is closed stops its DMA log: it can be started after the next open.", PRACTICE],
  [151, "Bit N of a report is page N of the range that was asked for.", REPORT],
  [152, "A data_fd gives an error and no data once its device is closed.", PRACTICE],
  [153, "After a reset a session works as before it.", PRACTICE],
  [154, "What is read in pre-copy and in stop-and-copy is together the whole state.", v1("pending_bytes")],
];

/** Every rule of the built-in checks by its number. */
export const RULES: ReadonlyMap<number, Rule> = new Map(
  TABLE.map(([number, text, source]) => [
    number,
    { number, text, source, judges: KERNEL.includes(source) ? "kernel" : "driver" },
  ]),
);

/** Why a rule is not checked, by its number. */
export const UNCHECKED: ReadonlyMap<number, string> = new Map([
  [
    39,
    "what makes a device send an interrupt is its own: a vendor's check (defineCheck) can do it",
  ],
  [94, "nobody but the device knows when it reads memory: a vendor's check can make it read"],
]);

/**
 * The rule with a number.
 *
 * @throws {RangeError} If there is none.
 *
 * @example
 * ```ts
 * import { rule } from "vfiokit/check";
 * import assert from "node:assert/strict";
 *
 * assert.match(rule(1).text, /EINVAL/);
 * ```
 */
export function rule(number: number): Rule {
  const found = RULES.get(number);
  if (found === undefined) throw new RangeError(`Cannot judge by rule ${number}: there is none`);
  return found;
}
