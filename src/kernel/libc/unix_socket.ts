/**
 * Stream sockets of the Unix domain (AF_UNIX, SOCK_STREAM): for protocols whose other end is a
 * process, not the kernel. No call waits but {@linkcode UnixSocket.wait}.
 *
 * @module
 */

import { ERRNO } from "../errno_names.ts";
import type { ReceivedMessage } from "../kernel.ts";
import { checkMaxFds } from "../scm_rights.ts";
import { SysError } from "../sys_error.ts";
import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import { type Libc, libc } from "./calls_with_errno.ts";
import { MsghdrMemory, socketPair } from "./fd_messages.ts";
import { libcKernel } from "./libc_kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SHUT_WR = 1;
const SHUT_RDWR = 2;
const SO_TYPE = 3;
const SO_DOMAIN = 39;
/** `ioctl`: what a socket has still to send (linux/sockios.h). */
const SIOCOUTQ = 0x5411;
const SO_SNDBUF = 7;
const SO_PEERCRED = 17;
const MSG_PEEK = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sizeof(((struct sockaddr_un *)0)->sun_path), with the NUL (linux/un.h). */
const SUN_PATH = 108;
/** The largest message that goes with fds, in bytes. */
const WITH_FDS_MAX = 65536;
/** What the kernel is asked to buffer for each direction, in bytes; net.core.wmem_max limits it. */
const BUFFER_BYTES = 4 << 20;

/** struct ucred: the process at the other end, as it was when it connected (linux/socket.h). */
export interface PeerCredentials {
  /** Its process id in this pid namespace; 0 if it is in another. */
  readonly pid: number;
  /** Its effective user id. */
  readonly uid: number;
  /** Its effective group id. */
  readonly gid: number;
}

const ucred: StructCodec<PeerCredentials> = struct("ucred", { pid: "s32", uid: "u32", gid: "u32" });

/** A socket, or another fd, to wait for, and the events: `POLLIN`, `POLLOUT`. */
export interface Awaited {
  /** The socket. */
  readonly socket: Pick<UnixSocket, "fd">;
  /** What to wait for, or'ed. */
  readonly events: number;
}

/**
 * A stream socket: one that listens, or one end of a connection. It is close-on-exec.
 *
 * @example
 * ```ts
 * import { UnixSocket } from "./unix_socket.ts";
 * import assert from "node:assert/strict";
 *
 * const [one, other] = UnixSocket.pair();
 * one.send(new Uint8Array([1, 2, 3]));
 * const into = new Uint8Array(8);
 * assert.equal(other.receive(into), 3);
 * assert.equal(other.receive(into), null); // nothing there yet
 * one.close();
 * assert.equal(other.receive(into), 0); // the other end is closed
 * other.close();
 * ```
 */
export class UnixSocket implements Disposable {
  #fd: number;
  readonly #libc: Libc = libc();
  #memory: MsghdrMemory | null = null;
  #open = true;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** The fd. */
  get fd(): number {
    return this.#fd;
  }

  /** Uses, and closes, another fd of the same socket. */
  moveTo(fd: number): void {
    this.#fd = fd;
  }

  /** Takes a connected socket that came as an fd; this object closes it. */
  static adopt(fd: number): UnixSocket {
    return new UnixSocket(fd);
  }

  /** Whether an fd is a socket of the type SOCK_SEQPACKET. */
  static isSeqPacket(fd: number): boolean {
    return socketType(fd) === SOCK_SEQPACKET;
  }

  /** Whether an fd is a socket of the type SOCK_STREAM, of any family. */
  static isStream(fd: number): boolean {
    return socketType(fd) === SOCK_STREAM;
  }

  /** Two connected sockets. */
  static pair(): [UnixSocket, UnixSocket] {
    const [one, other] = socketPair(libc(), SOCK_STREAM | SOCK_NONBLOCK);
    return [new UnixSocket(one), new UnixSocket(other)];
  }

  /**
   * Connects to a server.
   *
   * @throws {SysError} ENOENT, ECONNREFUSED if nobody listens, EACCES, EAGAIN if too many clients
   * wait already, ENAMETOOLONG for a path of more than 107 bytes.
   */
  static connect(path: string): UnixSocket {
    return this.#withAddress("connect", path, (fd, address) => libc().connect(fd, address));
  }

  /**
   * Makes the socket file, and listens there. Nothing removes the file but its owner.
   *
   * @throws {SysError} EADDRINUSE if there is a file of that name, and what connect(2) answers.
   */
  static listen(path: string, backlog: number): UnixSocket {
    return this.#withAddress("bind", path, (fd, address) => {
      const bound = libc().bind(fd, address);
      return bound < 0 ? bound : libc().listen(fd, backlog);
    });
  }

  static #withAddress(
    call: string,
    path: string,
    use: (fd: number, address: Buffer) => number,
  ): UnixSocket {
    const address = socketAddress(call, path);
    const fd = libc().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw new SysError("socket", -fd);
    const socket = new UnixSocket(fd);
    const result = use(fd, address);
    if (result >= 0) return socket;
    socket.close();
    throw new SysError(call, -result, path);
  }

  /**
   * The next client; null if none waits.
   *
   * @throws {SysError} EMFILE, ECONNABORTED.
   */
  accept(): UnixSocket | null {
    const fd = this.#libc.accept4(this.fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return new UnixSocket(fd);
    if (fd === -ERRNO.EAGAIN || fd === -ERRNO.EINTR) return null;
    throw new SysError("accept4", -fd, `fd ${this.fd}`);
  }

  /** The process that connected, or that listened; the kernel vouches for it. */
  peer(): PeerCredentials {
    const value = ucred.pack({});
    const length = new Uint8Array(Int32Array.of(value.length).buffer);
    const result = this.#libc.getsockopt(this.fd, SOL_SOCKET, SO_PEERCRED, value, length);
    if (result < 0) throw new SysError("getsockopt SO_PEERCRED", -result, `fd ${this.fd}`);
    return ucred.unpack(value);
  }

  /**
   * Who is at the other end, if that is a process of neither this user nor root; null for those.
   *
   * @param own This process's user, where it is known already.
   */
  stranger(own: number = ownUid()): PeerCredentials | null {
    const peer = this.peer();
    return peer.uid === own || peer.uid === 0 ? null : peer;
  }

  /** Whether it is of the Unix domain: a socket that was adopted may be another one. */
  get isLocal(): boolean {
    return intOption(this.fd, SO_DOMAIN) === AF_UNIX;
  }

  /** Bytes that were sent and not received yet, with what the kernel needs for them. */
  unsent(): number {
    const value = new Uint8Array(new ArrayBuffer(4));
    libcKernel().ioctl(this.fd, SIOCOUTQ, value);
    return new DataView(value.buffer).getInt32(0, true);
  }

  /** Asks the kernel to buffer so much of what is sent, or as much as it lets a process have. */
  enlargeBuffer(bytes: number = BUFFER_BYTES): void {
    const value = new Uint8Array(Int32Array.of(bytes).buffer);
    // Refused nowhere: the kernel takes as much as is allowed.
    this.#libc.setsockopt(this.fd, SOL_SOCKET, SO_SNDBUF, value);
  }

  /**
   * Sends what there is room for.
   *
   * @returns The number of bytes; 0 if there is no room.
   * @throws {SysError} EPIPE or ECONNRESET if the other end is closed.
   */
  send(bytes: Uint8Array): number {
    for (;;) {
      const sent = this.#libc.send(this.fd, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) return sent;
      if (sent === -ERRNO.EAGAIN) return 0;
      if (sent !== -ERRNO.EINTR) throw new SysError("send", -sent, `fd ${this.fd}`);
    }
  }

  /**
   * Sends what there is room for, and the fds with its first byte.
   *
   * @param bytes At most 64 KiB.
   * @returns The number of bytes; 0 if there is no room, and the fds were not sent.
   */
  sendWithFds(bytes: Buffer, fds: readonly number[]): number {
    const sent = this.#messages(bytes.length).send(this.fd, bytes, fds);
    if (sent >= 0) return sent;
    if (sent === -ERRNO.EAGAIN) return 0;
    throw new SysError("sendmsg", -sent, `fd ${this.fd}`);
  }

  /**
   * Receives what is there. Fds that come with it are closed by the kernel.
   *
   * @returns The number of bytes; 0 if the other end is closed, null if there is nothing yet.
   * @throws {SysError} ECONNRESET if the other end closed with something unread.
   */
  receive(into: Uint8Array): number | null {
    return this.#receive(into, MSG_DONTWAIT);
  }

  /** The same, and leaves it there. */
  peek(into: Uint8Array): number | null {
    return this.#receive(into, MSG_DONTWAIT | MSG_PEEK);
  }

  #receive(into: Uint8Array, flags: number): number | null {
    for (;;) {
      const length = this.#libc.recv(this.fd, into, flags);
      if (length >= 0) return length;
      if (length === -ERRNO.EAGAIN) return null;
      if (length !== -ERRNO.EINTR) throw new SysError("recv", -length, `fd ${this.fd}`);
    }
  }

  /**
   * Receives what is there, with at most `maxFds` (1 to 253) fds, which the caller must close.
   *
   * @param into At most 64 KiB.
   * @returns null if there is nothing yet.
   */
  receiveWithFds(into: Buffer, maxFds: number): ReceivedMessage | null {
    checkMaxFds(maxFds);
    const received = this.#messages(into.length).receive(this.fd, into, maxFds);
    if (typeof received !== "number") return received;
    if (received === -ERRNO.EAGAIN) return null;
    throw new SysError("recvmsg", -received, `fd ${this.fd}`);
  }

  #messages(length: number): MsghdrMemory {
    if (length > WITH_FDS_MAX) {
      throw new RangeError(`Cannot move fds with ${length} bytes: at most ${WITH_FDS_MAX}`);
    }
    return this.#memory ??= new MsghdrMemory(libcKernel(), this.#libc, WITH_FDS_MAX);
  }

  /**
   * Waits until one of several sockets is ready, or a signal comes.
   *
   * @param timeoutMs Milliseconds; -1 for no limit.
   * @returns The events of each (`POLLIN`, `POLLOUT`, `POLLERR`, `POLLHUP`); all 0 after the time.
   */
  static wait(awaited: readonly Awaited[], timeoutMs: number): number[] {
    const { bytes, view } = pollFds(awaited.length);
    awaited.forEach(({ socket, events }, index) => {
      view.setInt32(index * 8, socket.fd, true);
      // revents, behind the events, becomes 0.
      view.setInt32(index * 8 + 4, events, true);
    });
    const result = libc().poll(bytes, timeoutMs);
    if (result < 0 && result !== -ERRNO.EINTR) throw new SysError("poll", -result);
    return awaited.map((_, index) => result < 0 ? 0 : view.getInt16(index * 8 + 6, true));
  }

  /** Ends the connection for both ends; the fd stays open. */
  shutdown(): void {
    // ENOTCONN if it has ended already.
    this.#libc.shutdown(this.fd, SHUT_RDWR);
  }

  /** Ends what is sent from here; the other end can still send. */
  shutdownOutput(): void {
    this.#libc.shutdown(this.fd, SHUT_WR);
  }

  /** Closes it. Closing again does nothing. */
  close(): void {
    if (this.#open) libcKernel().close(this.fd);
    this.forget();
  }

  /** Ends its use, but does not close the fd, which is another file's by now. */
  forget(): void {
    this.#open = false;
    this.#memory?.[Symbol.dispose]();
    this.#memory = null;
  }

  /** Closes it at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** An array of struct pollfd. */
interface PollFds {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** The arrays by their length, used again: each reply is waited for. */
const POLL_FDS: PollFds[] = [];

function pollFds(count: number): PollFds {
  const known = POLL_FDS[count];
  if (known !== undefined) return known;
  const bytes = new Uint8Array(new ArrayBuffer(count * 8));
  return POLL_FDS[count] = { bytes, view: new DataView(bytes.buffer) };
}

/** struct sockaddr_un for a path. */
function socketAddress(call: string, path: string): Buffer {
  const name = new TextEncoder().encode(path);
  if (name.length === 0 || name.includes(0)) throw new SysError(call, ERRNO.EINVAL, path);
  if (name.length >= SUN_PATH) throw new SysError(call, ERRNO.ENAMETOOLONG, path);
  const address = new Uint8Array(new ArrayBuffer(2 + name.length + 1));
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}

/** The type of a socket; null if the fd is not open, or something else. */
function socketType(fd: number): number | null {
  return intOption(fd, SO_TYPE);
}

/** An option of a socket; null if the fd is not open, or something else. */
function intOption(fd: number, option: number): number | null {
  const value = new Uint8Array(new ArrayBuffer(4));
  const length = new Uint8Array(Int32Array.of(value.length).buffer);
  return libc().getsockopt(fd, SOL_SOCKET, option, value, length) < 0 ? null : value[0]!;
}

/** This process's effective user id. The runtimes' own ways to ask for it want a permission more. */
export function ownUid(): number {
  const [one, other] = UnixSocket.pair();
  using _one = one;
  using _other = other;
  return one.peer().uid;
}
