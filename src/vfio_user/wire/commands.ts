/**
 * The commands of the vfio-user protocol 0.1, and the flags in its messages. Names and numbers are
 * those of vfio-user.h (libvfio-user) and of QEMU's docs/interop/vfio-user.rst.
 *
 * @module
 */

/** The protocol's major version. */
export const VFIO_USER_MAJOR = 0;
/** The highest minor version that is spoken here. */
export const VFIO_USER_MINOR = 1;

/** The first message of a connection: versions and capabilities. */
export const VFIO_USER_VERSION = 1;
/** Memory of the client's that the device may reach. */
export const VFIO_USER_DMA_MAP = 2;
/** Takes such memory back. */
export const VFIO_USER_DMA_UNMAP = 3;
/** As the ioctl VFIO_DEVICE_GET_INFO. */
export const VFIO_USER_DEVICE_GET_INFO = 4;
/** As the ioctl VFIO_DEVICE_GET_REGION_INFO; the reply carries the fd of a region to mmap. */
export const VFIO_USER_DEVICE_GET_REGION_INFO = 5;
/** Fds that stand for parts of a region (ioeventfd). */
export const VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6;
/** As the ioctl VFIO_DEVICE_GET_IRQ_INFO. */
export const VFIO_USER_DEVICE_GET_IRQ_INFO = 7;
/** As the ioctl VFIO_DEVICE_SET_IRQS; eventfds go with the message. */
export const VFIO_USER_DEVICE_SET_IRQS = 8;
/** Reads from a region. */
export const VFIO_USER_REGION_READ = 9;
/** Writes to a region. */
export const VFIO_USER_REGION_WRITE = 10;
/** The server reads memory of the client's that it has no fd of. */
export const VFIO_USER_DMA_READ = 11;
/** The server writes to such memory. */
export const VFIO_USER_DMA_WRITE = 12;
/** As the ioctl VFIO_DEVICE_RESET; neither request nor reply has a payload. */
export const VFIO_USER_DEVICE_RESET = 13;
/** Several small writes to regions. */
export const VFIO_USER_REGION_WRITE_MULTI = 15;
/** As the ioctl VFIO_DEVICE_FEATURE, with what the kernel takes by address inline. */
export const VFIO_USER_DEVICE_FEATURE = 16;
/** Reads migration data, as read(2) of the data fd. */
export const VFIO_USER_MIG_DATA_READ = 17;
/** Writes migration data, as write(2) to the data fd. */
export const VFIO_USER_MIG_DATA_WRITE = 18;

/** vfiokit's extension: the ioctl VFIO_MIG_GET_PRECOPY_INFO of the data fd. */
export const VFIOKIT_MIG_PRECOPY_INFO = 0x8001;

/** The bits of a header's flags that hold the type. */
export const VFIO_USER_F_TYPE_MASK = 0xf;
/** Type: a command. */
export const VFIO_USER_F_TYPE_COMMAND = 0;
/** Type: the reply to a command. */
export const VFIO_USER_F_TYPE_REPLY = 1;
/** The sender of the command wants no reply. */
export const VFIO_USER_F_NO_REPLY = 0x10;
/** The command failed; the reply is the header alone. */
export const VFIO_USER_F_ERROR = 0x20;

/** DMA_MAP: the device may read the memory. */
export const VFIO_USER_F_DMA_REGION_READ = 1 << 0;
/** DMA_MAP: the device may write to it. */
export const VFIO_USER_F_DMA_REGION_WRITE = 1 << 1;

/** The most data that one message moves, unless a side says otherwise, in bytes. */
export const VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE = 1 << 20;
/** The most fds in one message, unless a side says otherwise. */
export const VFIO_USER_DEFAULT_MAX_MSG_FDS = 1;
/** The most DMA mappings, unless the server says otherwise. */
export const VFIO_USER_DEFAULT_MAX_DMA_MAPS = 65535;

const NAMES: Readonly<Record<number, string>> = {
  [VFIO_USER_VERSION]: "VFIO_USER_VERSION",
  [VFIO_USER_DMA_MAP]: "VFIO_USER_DMA_MAP",
  [VFIO_USER_DMA_UNMAP]: "VFIO_USER_DMA_UNMAP",
  [VFIO_USER_DEVICE_GET_INFO]: "VFIO_USER_DEVICE_GET_INFO",
  [VFIO_USER_DEVICE_GET_REGION_INFO]: "VFIO_USER_DEVICE_GET_REGION_INFO",
  [VFIO_USER_DEVICE_GET_REGION_IO_FDS]: "VFIO_USER_DEVICE_GET_REGION_IO_FDS",
  [VFIO_USER_DEVICE_GET_IRQ_INFO]: "VFIO_USER_DEVICE_GET_IRQ_INFO",
  [VFIO_USER_DEVICE_SET_IRQS]: "VFIO_USER_DEVICE_SET_IRQS",
  [VFIO_USER_REGION_READ]: "VFIO_USER_REGION_READ",
  [VFIO_USER_REGION_WRITE]: "VFIO_USER_REGION_WRITE",
  [VFIO_USER_DMA_READ]: "VFIO_USER_DMA_READ",
  [VFIO_USER_DMA_WRITE]: "VFIO_USER_DMA_WRITE",
  [VFIO_USER_DEVICE_RESET]: "VFIO_USER_DEVICE_RESET",
  [VFIO_USER_REGION_WRITE_MULTI]: "VFIO_USER_REGION_WRITE_MULTI",
  [VFIO_USER_DEVICE_FEATURE]: "VFIO_USER_DEVICE_FEATURE",
  [VFIO_USER_MIG_DATA_READ]: "VFIO_USER_MIG_DATA_READ",
  [VFIO_USER_MIG_DATA_WRITE]: "VFIO_USER_MIG_DATA_WRITE",
  [VFIOKIT_MIG_PRECOPY_INFO]: "VFIOKIT_MIG_PRECOPY_INFO",
};

/** A command's name, for messages; `command 99` if it has none. */
export function commandName(command: number): string {
  return NAMES[command] ?? `command ${command}`;
}
