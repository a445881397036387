/**
 * The numbers of QEMU's migration stream (docs/devel/migration of QEMU; migration/savevm.c,
 * migration/ram.c and hw/vfio/migration.c name them so). All numbers in it are big-endian.
 */

/** The first four bytes: `QEVM`. */
export const QEMU_VM_FILE_MAGIC = 0x5145564d;
/** The only version that is in use. */
export const QEMU_VM_FILE_VERSION = 3;

/** The byte that begins a part of the stream. */
export const QEMU_VM_EOF = 0x00;
export const QEMU_VM_SECTION_START = 0x01;
export const QEMU_VM_SECTION_PART = 0x02;
export const QEMU_VM_SECTION_END = 0x03;
export const QEMU_VM_SECTION_FULL = 0x04;
export const QEMU_VM_SUBSECTION = 0x05;
export const QEMU_VM_VMDESCRIPTION = 0x06;
export const QEMU_VM_CONFIGURATION = 0x07;
export const QEMU_VM_COMMAND = 0x08;
export const QEMU_VM_SECTION_FOOTER = 0x7e;

/** Commands to the destination by number; what has `postcopy` in it means that RAM comes later. */
export const COMMANDS: readonly string[] = [
  "invalid",
  "open return path",
  "ping",
  "postcopy advise",
  "postcopy listen",
  "postcopy run",
  "postcopy RAM discard",
  "packaged",
  "enable COLO",
  "postcopy resume",
  "receive bitmap",
  "switchover start",
];

/** Flags in the low bits of a page's address. */
export const RAM_SAVE_FLAG_ZERO = 0x002;
export const RAM_SAVE_FLAG_MEM_SIZE = 0x004;
export const RAM_SAVE_FLAG_PAGE = 0x008;
export const RAM_SAVE_FLAG_EOS = 0x010;
export const RAM_SAVE_FLAG_CONTINUE = 0x020;
export const RAM_SAVE_FLAG_XBZRLE = 0x040;
export const RAM_SAVE_FLAG_HOOK = 0x080;
export const RAM_SAVE_FLAG_COMPRESS_PAGE = 0x100;
export const RAM_SAVE_FLAG_MULTIFD_FLUSH = 0x200;

/** What the high 48 bits of each VFIO tag are. */
export const VFIO_MIG_FLAG_HIGH = 0xffffffff;
export const VFIO_MIG_FLAG_MAGIC = 0xef10;
/** The low 16 bits of a VFIO tag. */
export const VFIO_MIG_FLAG_END_OF_STATE = 1;
export const VFIO_MIG_FLAG_DEV_CONFIG_STATE = 2;
export const VFIO_MIG_FLAG_DEV_SETUP_STATE = 3;
export const VFIO_MIG_FLAG_DEV_DATA_STATE = 4;
export const VFIO_MIG_FLAG_DEV_INIT_DATA_SENT = 5;
export const VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY = 6;
