/**
 * The interface to a kernel: every call to the real or the simulated kernel goes
 * through {@linkcode Kernel}.
 *
 * Calls are synchronous. Calls that may block run in a Worker that has a Kernel
 * of its own (see src/migration).
 *
 * @module
 */

/** `open` flags (asm-generic/fcntl.h). */
export const O_RDONLY = 0;
/** Write only. */
export const O_WRONLY = 1;
/** Read and write. */
export const O_RDWR = 2;
/** Do not block. */
export const O_NONBLOCK = 0o4000;
/** Close on exec. */
export const O_CLOEXEC = 0o2000000;

/**
 * `ioctl` on any file: the argument is an int; O_NONBLOCK is set if it is not 0, else cleared
 * (asm-generic/ioctls.h).
 */
export const FIONBIO = 0x5421;

/** `mmap` protection: readable (asm-generic/mman-common.h). */
export const PROT_READ = 1;
/** `mmap` protection: writable. */
export const PROT_WRITE = 2;
/** `mmap` flag: changes are visible in the mapped object. */
export const MAP_SHARED = 1;
/** `mmap` flag: changes are private. */
export const MAP_PRIVATE = 2;
/** `mmap` flag: not backed by a file. */
export const MAP_ANONYMOUS = 0x20;
/** `mmap` flag: use huge pages (with `MAP_ANONYMOUS`). */
export const MAP_HUGETLB = 0x40000;

/** `memfd` flag: close on exec (linux/memfd.h). */
export const MFD_CLOEXEC = 1;
/** `memfd` flag: use huge pages. */
export const MFD_HUGETLB = 4;

/** `poll` event: readable (asm-generic/poll.h). */
export const POLLIN = 1;
/** `poll` event: writable. */
export const POLLOUT = 4;
/** `poll` result: error. */
export const POLLERR = 8;
/** `poll` result: hung up. */
export const POLLHUP = 16;

/** What to map; without `fd` the mapping is anonymous. */
export interface MmapOptions {
  /** The file or device to map. */
  readonly fd?: number;
  /** Offset in it, in bytes, a multiple of the page size. */
  readonly offset?: number | bigint;
  /** `PROT_*`, or'ed. */
  readonly prot: number;
  /** `MAP_*`, or'ed. */
  readonly flags: number;
}

/**
 * Memory that the kernel mapped. An address in a struct (`vaddr`,
 * `vfio_bitmap.data`) must point to such memory: the address of a JS buffer may
 * change.
 *
 * Bytes are copied in and out; on the real kernel libc's memmove does that. A
 * view would be a dangling pointer after unmapping, and it needs a wider
 * permission than calling libc does.
 */
export interface Mapping extends Disposable {
  /** The address in this process. */
  readonly address: bigint;
  /** Bytes mapped. */
  readonly length: number;
  /**
   * Copies `into.length` bytes from `offset` of the mapping to `into`.
   *
   * @throws {RangeError} If the range reaches outside the mapping, or the mapping is closed.
   */
  read(offset: number, into: Uint8Array): void;
  /**
   * Copies `from` to `offset` of the mapping.
   *
   * @throws {RangeError} If the range reaches outside the mapping, or the mapping is closed.
   */
  write(offset: number, from: Uint8Array): void;
  /**
   * Whether there are but zeros in `length` bytes from `offset` of the mapping on, without a copy of
   * them; left out where only a copy can tell.
   *
   * @throws {RangeError} As {@linkcode Mapping.read}.
   */
  isZero?(offset: number, length: number): boolean;
  /** Unmaps the memory. Closing again does nothing. */
  close(): void;
}

/** A message that {@linkcode Kernel.receiveFds} received. */
export interface ReceivedMessage {
  /** Size in bytes; 0 if the other end is closed. */
  readonly length: number;
  /** The fds that came with it; the caller must close each of them. */
  readonly fds: readonly number[];
  /** Whether more bytes or fds were sent than there was room for; the excess is lost. */
  readonly truncated: boolean;
}

/**
 * A kernel as this toolkit sees it. Every method throws `SysError` if the kernel returns an errno.
 * `EINTR` is retried inside, unless the caller passes `once`: a driver may have begun the request
 * when the signal came, and a retry would do it twice. Buffers must not be views of resizable
 * memory; only read, write, pread and pwrite accept shared memory.
 */
export interface Kernel {
  /** `linux`, `sim` or `vfio-user`. */
  readonly name: string;
  /**
   * Whether the last close of a device gives up what a driver refuses to reset. Default false: then
   * a device is closed for that only if a reset was accepted and had no effect.
   */
  readonly lastCloseResets?: boolean;
  /** open(2); returns an fd that is close-on-exec. */
  open(path: string, flags: number): number;
  /** close(2). */
  close(fd: number): void;
  /**
   * ioctl(2). A buffer is passed by address and may be written to; a number is
   * passed as the argument itself.
   */
  ioctl(
    fd: number,
    request: number,
    arg?: Uint8Array<ArrayBuffer> | number,
    once?: "once",
  ): number;
  /** read(2); 0 at the end. It throws `EAGAIN`: wait with {@linkcode Kernel.poll} first. */
  read(fd: number, buffer: Uint8Array, once?: "once"): number;
  /** write(2); may write less than asked. */
  write(fd: number, buffer: Uint8Array, once?: "once"): number;
  /** pread(2); may read less than asked. */
  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number;
  /** pwrite(2); may write less than asked. */
  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint, once?: "once"): number;
  /** mmap(2). */
  mmap(length: number, options: MmapOptions): Mapping;
  /**
   * memfd_create(2), sized by ftruncate(2): `length` bytes of zeroed memory with
   * an fd, so that another process can map it too. Returns an fd that is
   * close-on-exec; `flags` are additional `MFD_*`, or'ed.
   */
  memfd(name: string, length: number, flags?: number): number;
  /**
   * dup3(2): makes `to`, an open fd, a duplicate of `from`, close-on-exec. The file that `to` was
   * is closed in the same step, so no other thread can get the number in between.
   */
  dup3(from: number, to: number): void;
  /**
   * socketpair(2): two connected sockets (AF_UNIX, SOCK_SEQPACKET), close-on-exec. A message sent
   * to one is received from the other. Messages that nobody received are kept as long as both
   * sockets are open.
   */
  socketPair(): [number, number];
  /** sendmsg(2): one message with fds (SCM_RIGHTS). Never waits: `EAGAIN` if there is no room. */
  sendFds(socket: number, message: Uint8Array<ArrayBuffer>, fds: readonly number[]): void;
  /**
   * recvmsg(2): one message and at most `maxFds` (1 to 253) of its fds, which are close-on-exec.
   * Never waits: `EAGAIN` if there is no message.
   */
  receiveFds(socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage;
  /** poll(2) on one fd; returns revents, or 0 after `timeoutMs` milliseconds (-1: no limit). */
  poll(fd: number, events: number, timeoutMs: number): number;
  /**
   * Reads a whole small file (sysfs, /proc) as text.
   *
   * @throws {SysError} EFBIG if it has more than `maxBytes` (default 1 MiB).
   */
  readText(path: string, maxBytes?: number): string;
  /** readlink(2). */
  readLink(path: string): string;
  /** The sorted names in a directory, without `.` and `..`. */
  readDir(path: string): string[];
  /** realpath(3): the path with every symbolic link followed. */
  realPath(path: string): string;
}
