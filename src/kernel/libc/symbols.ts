/**
 * The libc functions that this toolkit calls. Both runtimes load them with the
 * same names and the same arguments; ints and bounded counts are numbers.
 *
 * `ioctl`, `open`, `fcntl` and `syscall` are variadic in C. On Linux (x86-64, arm64,
 * riscv64) variadic arguments are passed in the same registers as fixed ones, so
 * they are declared with fixed arguments.
 *
 * read, write, pread, pwrite, send, recv, sendmsg and recvmsg return ssize_t. The kernel never transfers
 * more than 0x7ffff000 bytes per call, so the low 32 bits are the whole result. A 64-bit
 * result would cost a bigint on every call.
 */

/** A buffer whose memory does not move: a view of a plain ArrayBuffer. */
export type Buffer = Uint8Array<ArrayBuffer>;

/** The functions of a loaded libc. */
export interface Symbols {
  /** `int open(const char *path, int flags)` */
  open(path: Buffer, flags: number): number;
  /** `int close(int fd)` */
  close(fd: number): number;
  /** `int ioctl(int fd, unsigned long request, void *arg)` */
  ioctl(fd: number, request: number, arg: Buffer): number;
  /** `int ioctl(int fd, unsigned long request, unsigned long arg)` */
  ioctl_value(fd: number, request: number, arg: number): number;
  /** `ssize_t read(int fd, void *buf, size_t count)` */
  read(fd: number, buffer: Uint8Array, count: number): number;
  /** `ssize_t write(int fd, const void *buf, size_t count)` */
  write(fd: number, buffer: Uint8Array, count: number): number;
  /** `ssize_t pread(int fd, void *buf, size_t count, off_t offset)` */
  pread(fd: number, buffer: Uint8Array, count: number, offset: number | bigint): number;
  /** `ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)` */
  pwrite(fd: number, buffer: Uint8Array, count: number, offset: number | bigint): number;
  /** `void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)` */
  mmap(
    addr: number,
    length: number,
    prot: number,
    flags: number,
    fd: number,
    offset: number | bigint,
  ): bigint;
  /** `int munmap(void *addr, size_t length)` */
  munmap(addr: bigint, length: number): number;
  /** `int poll(struct pollfd *fds, nfds_t nfds, int timeout)` */
  poll(fds: Buffer, count: number, timeout: number): number;
  /** `ssize_t readlink(const char *path, char *buf, size_t size)` */
  readlink(path: Buffer, buffer: Buffer, size: number): number;
  /** `char *realpath(const char *path, char *resolved)` */
  realpath(path: Buffer, resolved: Buffer): bigint;
  /** `ssize_t getdents64(int fd, void *buf, size_t count)` */
  getdents64(fd: number, buffer: Buffer, count: number): number;
  /** `int fcntl(int fd, int cmd, int arg)` */
  fcntl(fd: number, command: number, arg: number): number;
  /** `int dup3(int oldfd, int newfd, int flags)` */
  dup3(from: number, to: number, flags: number): number;
  /** `int memfd_create(const char *name, unsigned int flags)` */
  memfd_create(name: Buffer, flags: number): number;
  /** `int ftruncate(int fd, off_t length)` */
  ftruncate(fd: number, length: number): number;
  /** `int sync_file_range(int fd, off64_t offset, off64_t nbytes, unsigned int flags)` */
  sync_file_range(fd: number, offset: number, length: number, flags: number): number;
  /** `int socketpair(int domain, int type, int protocol, int sv[2])` */
  socketpair(domain: number, type: number, protocol: number, fds: Buffer): number;
  /** `ssize_t sendmsg(int sockfd, const struct msghdr *msg, int flags)` */
  sendmsg(fd: number, message: Buffer, flags: number): number;
  /** `ssize_t recvmsg(int sockfd, struct msghdr *msg, int flags)` */
  recvmsg(fd: number, message: Buffer, flags: number): number;
  /** `int socket(int domain, int type, int protocol)` */
  socket(domain: number, type: number, protocol: number): number;
  /** `int connect(int sockfd, const struct sockaddr *addr, socklen_t addrlen)` */
  connect(fd: number, address: Buffer, length: number): number;
  /** `int bind(int sockfd, const struct sockaddr *addr, socklen_t addrlen)` */
  bind(fd: number, address: Buffer, length: number): number;
  /** `int listen(int sockfd, int backlog)` */
  listen(fd: number, backlog: number): number;
  /** `int accept4(int sockfd, struct sockaddr *addr, socklen_t *addrlen, int flags)` */
  accept4(fd: number, address: number, length: number, flags: number): number;
  /** `int getsockopt(int sockfd, int level, int optname, void *optval, socklen_t *optlen)` */
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number;
  /** `int setsockopt(int sockfd, int level, int optname, const void *optval, socklen_t optlen)` */
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  /** `ssize_t send(int sockfd, const void *buf, size_t len, int flags)` */
  send(fd: number, buffer: Uint8Array, length: number, flags: number): number;
  /** `ssize_t recv(int sockfd, void *buf, size_t len, int flags)` */
  recv(fd: number, buffer: Uint8Array, length: number, flags: number): number;
  /** `int shutdown(int sockfd, int how)` */
  shutdown(fd: number, how: number): number;
  /** `int sigprocmask(int how, const sigset_t *set, sigset_t *oldset)` */
  sigprocmask(how: number, set: Buffer, old: Buffer): number;
  /** `long syscall(long number, long a, long b, long c)`, of calls whose result is an fd. */
  syscall(number: number, a: number, b: number, c: number): number;
  /** `int *__errno_location(void)`: the address of this thread's errno. */
  errno_location(): bigint;
  /** `void *memset(void *s, int c, size_t n)`, of no bytes: returns the buffer's address. */
  memset(buffer: Uint8Array, byte: number, count: number): bigint;
  /** `int memcmp(const void *s1, const void *s2, size_t n)`, of memory and a buffer. */
  memcmp(address: bigint, buffer: Uint8Array, count: number): number;
  /** memmove from memory to a buffer. */
  copy_out(into: Uint8Array, from: bigint, count: number): void;
  /** memmove from a buffer to memory. */
  copy_in(to: bigint, from: Uint8Array, count: number): void;
}

/**
 * Where glibc is on Debian and its derivatives, then elsewhere. The full path comes first, because
 * a permission can name it.
 */
export function libcPaths(arch: string): readonly string[] {
  const triple = ({ x64: "x86_64", arm64: "aarch64", riscv64: "riscv64" } as Record<
    string,
    string
  >)[arch];
  return triple === undefined
    ? ["libc.so.6"]
    : [`/lib/${triple}-linux-gnu/libc.so.6`, "/lib64/libc.so.6", "libc.so.6"];
}
