/**
 * A kernel whose one VFIO device is in another process, and is driven over its socket by the
 * vfio-user protocol. All else is the running system's.
 *
 * @module
 */

import { cleanedUp } from "../../base/cleanup.ts";
import {
  type Kernel,
  MAP_SHARED,
  type Mapping,
  type MmapOptions,
  type ReceivedMessage,
} from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { isSizeSealed, MFD_ALLOW_SEALING, sealSize } from "../../kernel/libc/seals.ts";
import { ERRNO } from "../../kernel/errno_names.ts";
import { isErrno, SysError } from "../../kernel/sys_error.ts";
import { answer, sysError } from "../../sim/os/answer.ts";
import type { OpenFile } from "../../sim/os/open_file.ts";
import { refuse } from "../../sim/os/refusal.ts";
import type { Tree } from "../../sim/os/tree.ts";
import { connectThrough } from "./channel.ts";
import {
  type ConnectOptions,
  DEFAULT_TIMEOUT_MS,
  ServerConnection,
  type SharedConnection,
} from "./connection.ts";
import { DATA_FILE, DataFile } from "./data_file.ts";
import { DeviceFile } from "./device_file.ts";
import { IOMMUFD_NODE, IommufdFile } from "./iommufd_file.ts";
import { type MemoryFile, OwnMemory } from "./own_memory.ts";
import { DEVICE_NODE, socketName, sysfsTree } from "./sysfs_tree.ts";

/** How to drive the device. */
export interface VfioUserOptions {
  /** How long its server may take to answer a request, in milliseconds. Default 10 s. */
  readonly timeoutMs?: number | undefined;
  /** Returns the fd of a connected stream socket; by default that of connect(2) to the path. */
  readonly connect?: ((path: string) => number) | undefined;
  /** The fd of a channel to the server, to connect through instead. */
  readonly channel?: number | undefined;
}

/**
 * A {@linkcode Kernel} whose device is a server's. Opening the path of the server's socket, or the
 * device's node, connects; the last close ends the connection, and with it what the server keeps
 * for this client. The device is bound to an iommufd, as if by its own character device, and what
 * is mapped in its IOAS is what the server may reach. /sys shows the device while it is open.
 *
 * Its calls wait for the server, up to a limit, and take no more from it than the protocol has.
 */
export class VfioUserKernel implements Kernel {
  /** Always `vfio-user`. */
  readonly name = "vfio-user";
  /** The server gives up what it keeps for a client when the connection ends. */
  readonly lastCloseResets = true;
  /** The path of the server's socket, or the name of the channel to it. */
  readonly path: string;
  /** The channel that it connects through, and that other processes can; null if there is none. */
  readonly channel: number | null;
  readonly #timeoutMs: number;
  readonly #connect: VfioUserOptions["connect"];
  readonly #os: Kernel = libcKernel();
  readonly #memory = new OwnMemory();
  readonly #files = new Map<number, OpenFile>();
  #device: DeviceFile | null = null;
  #tree: Tree<never> | null = null;

  /** Makes a kernel with the device behind a socket; nothing is opened yet. */
  constructor(path: string, options: VfioUserOptions = {}) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, connect, channel } = options;
    this.path = path;
    this.channel = channel ?? null;
    this.#connect = channel === undefined ? connect : () => connectThrough(channel);
    this.#timeoutMs = timeoutMs;
  }

  /** The fd of a file that has none in the running system: that of empty memory. */
  #install = (file: OpenFile): number => {
    const fd = this.#os.memfd(file.label, 0);
    this.#files.set(fd, file);
    file.hold();
    return fd;
  };

  open(path: string, flags: number): number {
    if (path === this.path || path === DEVICE_NODE) return this.#openDevice(path);
    if (path === IOMMUFD_NODE) return this.#install(new IommufdFile(this.#memory));
    if (isDevice(path)) answer("open", path, () => refuse("ENOENT"));
    return this.#os.open(path, flags);
  }

  #connectTo(path: string, options: ConnectOptions): ServerConnection {
    try {
      return ServerConnection.connect(this.path, options);
    } catch (error) {
      if (path === this.path || !isErrno(error, "ENOENT")) throw error;
      // The node is always there; the socket's file is gone, and the server with it.
      throw new SysError(error.syscall, ERRNO.ECONNREFUSED, this.path);
    }
  }

  #openDevice(path: string): number {
    if (this.#device !== null) {
      // The socket has one fd; this one stands for the same file.
      return this.#install(this.#device);
    }
    const connection: ServerConnection = this.#connectTo(path, {
      timeoutMs: this.#timeoutMs,
      connect: this.#connect,
      commands: (command, payload) =>
        answer(
          "answer",
          this.path,
          () => this.#device?.answer(command, payload) ?? refuse("EFAULT"),
        ),
    });
    this.#device = new DeviceFile({
      label: DEVICE_NODE,
      connection,
      memory: this.#memory,
      install: this.#install,
      fileOf: (fd) => this.#files.get(fd),
    });
    const name = this.channel === null ? socketName(this.path) : this.path;
    this.#tree = sysfsTree(name, connection.extension);
    this.#files.set(connection.fd, this.#device);
    this.#device.hold();
    return connection.fd;
  }

  /** What another thread needs to call the device while it is open here; null if it is not. */
  share(): SharedConnection | null {
    return this.#device?.connection.share() ?? null;
  }

  close(fd: number): void {
    const file = this.#files.get(fd);
    if (file === undefined) return this.#os.close(fd);
    this.#files.delete(fd);
    if (file instanceof DeviceFile && file.connection.fd === fd) {
      const [other] = this.#fdsOf(file);
      // With the connection, the fd is closed.
      if (other === undefined) return this.#dropDevice(file);
      this.#moveSocket(file, other);
    }
    this.#os.close(fd);
    this.#drop(file);
  }

  #fdsOf(file: OpenFile): number[] {
    return [...this.#files].flatMap(([fd, each]) => each === file ? [fd] : []);
  }

  #drop(file: OpenFile): void {
    if (file === this.#device && this.#fdsOf(file).length === 0) this.#dropDevice(this.#device);
    else file.drop();
  }

  #dropDevice(device: DeviceFile): void {
    if (this.#device === device) {
      this.#device = null;
      this.#tree = null;
    }
    device.drop();
  }

  /** Makes another fd of the device's file that of its socket. */
  #moveSocket(device: DeviceFile, fd: number): void {
    this.#os.dup3(device.connection.fd, fd);
    device.connection.moveTo(fd);
  }

  dup3(from: number, to: number): void {
    const source = this.#files.get(from);
    const before = this.#files.get(to);
    if (source === undefined && before === undefined) return this.#os.dup3(from, to);
    if (before instanceof DeviceFile && before.connection.fd === to) {
      const other = this.#fdsOf(before).find((fd) => fd !== to);
      if (other === undefined) before.loseFd();
      else this.#moveSocket(before, other);
    }
    this.#os.dup3(from, to);
    this.#files.delete(to);
    if (source !== undefined) {
      source.hold();
      this.#files.set(to, source);
    }
    if (before !== undefined) this.#drop(before);
  }

  #call<Value>(
    fd: number,
    on: (file: OpenFile) => Value,
    otherwise: () => Value,
    failure: (error: unknown) => unknown,
  ): Value {
    const file = this.#files.get(fd);
    if (file === undefined) return otherwise();
    try {
      return on(file);
    } catch (error) {
      throw failure(error);
    }
  }

  ioctl(
    fd: number,
    request: number,
    arg: Uint8Array<ArrayBuffer> | number = 0,
    once?: "once",
  ): number {
    return this.#call(
      fd,
      (file) => file.ioctl(request, arg),
      () => this.#os.ioctl(fd, request, arg, once),
      (error) => sysError(error, "ioctl", `0x${request.toString(16)} on fd ${fd}`),
    );
  }

  read(fd: number, buffer: Uint8Array, once?: "once"): number {
    return this.#call(
      fd,
      (file) => file.read(buffer as Uint8Array<ArrayBuffer>),
      () => this.#os.read(fd, buffer, once),
      (error) => sysError(error, "read", `fd ${fd}`),
    );
  }

  write(fd: number, buffer: Uint8Array, once?: "once"): number {
    return this.#call(
      fd,
      (file) => file.write(buffer as Uint8Array<ArrayBuffer>),
      () => this.#os.write(fd, buffer, once),
      (error) => sysError(error, "write", `fd ${fd}`),
    );
  }

  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    return this.#call(
      fd,
      (file) => file.pread(Number(offset), buffer as Uint8Array<ArrayBuffer>),
      () => this.#os.pread(fd, buffer, offset),
      (error) => sysError(error, "pread", `${buffer.length} bytes at ${offset} of fd ${fd}`),
    );
  }

  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint, once?: "once"): number {
    return this.#call(
      fd,
      (file) => file.pwrite(Number(offset), buffer as Uint8Array<ArrayBuffer>),
      () => this.#os.pwrite(fd, buffer, offset, once),
      (error) => sysError(error, "pwrite", `${buffer.length} bytes at ${offset} of fd ${fd}`),
    );
  }

  mmap(length: number, options: MmapOptions): Mapping {
    const { fd, offset = 0, flags } = options;
    const file = fd === undefined ? undefined : this.#files.get(fd);
    if (file === undefined) {
      const shared = fd !== undefined && (flags & MAP_SHARED) !== 0;
      return this.#memory.add(
        this.#os.mmap(length, options),
        shared ? this.#ownFile(fd, offset) : null,
      );
    }
    return answer("mmap", `${length} bytes at ${offset} of fd ${fd}`, () => {
      if (!(file instanceof DeviceFile) || (flags & MAP_SHARED) === 0) return refuse("ENODEV");
      return file.mapRegion(offset, length);
    });
  }

  /**
   * Another fd of mapped memory, which stays open as long as the mapping; null if a server that got
   * it could make the file shorter.
   */
  #ownFile(fd: number, offset: number | bigint): MemoryFile | null {
    if (!isSizeSealed(fd)) return null;
    try {
      const own = this.#os.memfd("vfiokit", 0);
      try {
        this.#os.dup3(fd, own);
      } catch (error) {
        throw cleanedUp(error, () => this.#os.close(own));
      }
      return { fd: own, offset: BigInt(offset) };
    } catch {
      // Then the device reaches it by messages.
      return null;
    }
  }

  /** Its size is sealed, so that a server that gets its fd cannot make it shorter. */
  memfd(name: string, length: number, flags = 0): number {
    const fd = this.#os.memfd(name, length, flags | MFD_ALLOW_SEALING);
    try {
      sealSize(fd);
      return fd;
    } catch (error) {
      throw cleanedUp(error, () => this.#os.close(fd));
    }
  }

  socketPair(): [number, number] {
    return this.#os.socketPair();
  }

  sendFds(socket: number, message: Uint8Array<ArrayBuffer>, fds: readonly number[]): void {
    this.#os.sendFds(socket, message, fds);
  }

  receiveFds(socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage {
    const received = this.#os.receiveFds(socket, into, maxFds);
    for (const fd of received.fds) this.#takeOver(fd);
    return received;
  }

  /** An fd of migration data that another client handed over stands for the data at the server. */
  #takeOver(fd: number): void {
    if (this.#device === null) return;
    if (this.#os.readLink(`/proc/self/fd/${fd}`) !== `/memfd:${DATA_FILE} (deleted)`) return;
    const file = this.#device.takeOverData();
    file.hold();
    this.#files.set(fd, file);
  }

  poll(fd: number, events: number, timeoutMs: number): number {
    return this.#call(
      fd,
      (file) => file instanceof DataFile ? file.awaitData(events, timeoutMs) : file.poll(events),
      () => this.#os.poll(fd, events, timeoutMs),
      (error) => sysError(error, "poll", `fd ${fd}`),
    );
  }

  readText(path: string, maxBytes?: number): string {
    return this.#find(
      path,
      "read",
      (tree) => tree.readText(path),
      () => this.#os.readText(path, maxBytes),
    );
  }

  readLink(path: string): string {
    const fd = /^\/proc\/self\/fd\/(\d+)$/.exec(path)?.[1];
    const file = fd === undefined ? undefined : this.#files.get(Number(fd));
    if (file !== undefined) return file.label;
    return this.#find(
      path,
      "readlink",
      (tree) => tree.readLink(path),
      () => this.#os.readLink(path),
    );
  }

  readDir(path: string): string[] {
    return this.#find(
      path,
      "getdents64",
      (tree) => tree.readDir(path),
      () => this.#os.readDir(path),
    );
  }

  realPath(path: string): string {
    return this.#find(
      path,
      "realpath",
      (tree) => tree.realPath(path),
      () => this.#os.realPath(path),
    );
  }

  /** Looks in the device's own tree for what is below /sys, else in the running system. */
  #find<Value>(
    path: string,
    syscall: string,
    inTree: (tree: Tree<never>) => Value,
    otherwise: () => Value,
  ): Value {
    if (!isDevice(path) && !path.startsWith("/sys/")) return otherwise();
    return answer(syscall, path, () => this.#tree === null ? refuse("ENOENT") : inTree(this.#tree));
  }
}

/** Whether a path is a node of a device. */
function isDevice(path: string): boolean {
  return path.startsWith("/dev/vfio/") || path === IOMMUFD_NODE;
}
