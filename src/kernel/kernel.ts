/**
 * The seam: everything that reaches a kernel, the real or the simulated one,
 * goes through {@linkcode Kernel}.
 *
 * Calls are synchronous. What may block runs in a Worker that owns a Kernel of
 * its own (see src/migration).
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
 * `ioctl` on any file: the argument is an int, O_NONBLOCK is set where it is not 0
 * (asm-generic/ioctls.h).
 */
export const FIONBIO = 0x5421;

/** `mmap` protection: readable (asm-generic/mman-common.h). */
export const PROT_READ = 1;
/** `mmap` protection: writable. */
export const PROT_WRITE = 2;
/** `mmap` flag: changes reach the object. */
export const MAP_SHARED = 1;
/** `mmap` flag: changes are private. */
export const MAP_PRIVATE = 2;
/** `mmap` flag: no file behind it. */
export const MAP_ANONYMOUS = 0x20;
/** `mmap` flag: of huge pages (with `MAP_ANONYMOUS`). */
export const MAP_HUGETLB = 0x40000;

/** `memfd` flag: closed on exec (linux/memfd.h). */
export const MFD_CLOEXEC = 1;
/** `memfd` flag: of huge pages. */
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
 * Memory that the kernel mapped. Only such memory may stand behind an address
 * in a struct (`vaddr`, `vfio_bitmap.data`): the address of a JS buffer does
 * not stay true.
 *
 * Bytes are copied in and out, by libc's memmove on the real kernel. A view
 * would be a wild pointer after unmapping, and needs a wider permission than
 * calling libc does.
 */
export interface Mapping extends Disposable {
  /** The address in this process. */
  readonly address: bigint;
  /** Bytes mapped. */
  readonly length: number;
  /**
   * Copies `into.length` bytes out, from `offset` on.
   *
   * @throws {RangeError} If that reaches outside the mapping, or it is closed.
   */
  read(offset: number, into: Uint8Array<ArrayBuffer>): void;
  /**
   * Copies `from` in, to `offset`.
   *
   * @throws {RangeError} If that reaches outside the mapping, or it is closed.
   */
  write(offset: number, from: Uint8Array<ArrayBuffer>): void;
  /** Unmaps. Closing again does nothing. */
  close(): void;
}

/** A message that {@linkcode Kernel.receiveFds} took. */
export interface ReceivedMessage {
  /** Bytes of it; 0 where the other end is closed. */
  readonly length: number;
  /** The fds that came with it, each one the caller's to close. */
  readonly fds: readonly number[];
  /** Whether more bytes or fds were sent than there was room for; those are lost. */
  readonly truncated: boolean;
}

/**
 * A kernel as this toolkit sees it. Every method throws `SysError` where the
 * kernel answers with an errno. `EINTR` is retried inside, unless a call says `once`: a driver may
 * have begun what it was asked for by then, and would do it twice. Buffers must be
 * views of memory that is not resizable; only read, write, pread and pwrite
 * take shared memory.
 */
export interface Kernel {
  /** `linux` or `sim`. */
  readonly name: string;
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
  /** read(2); 0 at the end. `EAGAIN` is thrown: wait with {@linkcode Kernel.poll}. */
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
   * memfd_create(2), sized by ftruncate(2): memory of `length` bytes, all zero,
   * with an fd, so that another process can map it too. Returns an fd that is
   * close-on-exec; `flags` are further `MFD_*`, or'ed.
   */
  memfd(name: string, length: number, flags?: number): number;
  /**
   * dup3(2): makes `to`, an open fd, one more of what `from` is, close-on-exec. What `to` was is
   * closed in the same step: nobody else can get its number in between.
   */
  dup3(from: number, to: number): void;
  /**
   * socketpair(2): two sockets (AF_UNIX, SOCK_SEQPACKET), close-on-exec. What is sent into one
   * comes out of the other, message by message; what nobody took lasts as long as both are open.
   */
  socketPair(): [number, number];
  /** sendmsg(2): one message with fds (SCM_RIGHTS). Never waits: `EAGAIN` where there is no room. */
  sendFds(socket: number, message: Uint8Array<ArrayBuffer>, fds: readonly number[]): void;
  /**
   * recvmsg(2): one message and at most `maxFds` (1 to 253) of its fds, which are close-on-exec.
   * Never waits: `EAGAIN` where there is none.
   */
  receiveFds(socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage;
  /** poll(2) on one fd; returns revents, 0 when the time is up (-1: no limit). */
  poll(fd: number, events: number, timeoutMs: number): number;
  /**
   * A whole small file (sysfs, /proc) as text.
   *
   * @throws {SysError} EFBIG if it has more than `maxBytes` (default 1 MiB).
   */
  readText(path: string, maxBytes?: number): string;
  /** readlink(2). */
  readLink(path: string): string;
  /** The names in a folder, without `.` and `..`, sorted. */
  readDir(path: string): string[];
  /** realpath(3): the path with every symbolic link followed. */
  realPath(path: string): string;
}
