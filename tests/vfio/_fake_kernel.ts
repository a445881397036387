/**
 * A Kernel of scripted answers, for what no simulated device says: PCI
 * devices, refused permissions, drivers that lie.
 */

import { ERRNO, type ErrnoName } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import type { Kernel, Mapping, ReceivedMessage } from "../../src/kernel/kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** An open file's answers; what is left out fails with ENOTTY or EINVAL. */
export interface FakeFile {
  ioctl?(request: number, arg: Buffer | number | undefined): number;
  pread?(into: Buffer, offset: bigint): number;
  closed?(): void;
}

/** Throws as the kernel would. */
export function fail(code: ErrnoName): never {
  throw new SysError("fake", ERRNO[code]);
}

/** Folders exist where something is below them. */
export class FakeKernel implements Kernel {
  readonly name = "fake";
  /** Text files by path. */
  readonly texts = new Map<string, string>();
  /** Symbolic links by path. */
  readonly links = new Map<string, string>();
  /** What opening a path gives, or the errno it fails with. */
  readonly nodes = new Map<string, (() => FakeFile) | ErrnoName>();
  /** Open files by fd. */
  readonly fds = new Map<number, FakeFile>();
  /** Every open and close, in order. */
  readonly log: string[] = [];
  #next = 10;

  /** Gives an open file an fd. */
  install(file: FakeFile, fd = this.#next++): number {
    this.fds.set(fd, file);
    return fd;
  }

  open(path: string): number {
    const node = this.nodes.get(path);
    if (node === undefined) return fail("ENOENT");
    if (typeof node === "string") return fail(node);
    this.log.push(`open ${path}`);
    return this.install(node());
  }

  close(fd: number): void {
    const file = this.fds.get(fd) ?? fail("EBADF");
    this.fds.delete(fd);
    this.log.push(`close ${fd}`);
    file.closed?.();
  }

  ioctl(fd: number, request: number, arg?: Buffer | number): number {
    const file = this.fds.get(fd) ?? fail("EBADF");
    return file.ioctl === undefined ? fail("ENOTTY") : file.ioctl(request, arg);
  }

  pread(fd: number, into: Buffer, offset: number | bigint): number {
    const file = this.fds.get(fd) ?? fail("EBADF");
    return file.pread === undefined ? fail("EINVAL") : file.pread(into, BigInt(offset));
  }

  read(): number {
    return fail("EINVAL");
  }

  write(): number {
    return fail("EINVAL");
  }

  pwrite(): number {
    return fail("EINVAL");
  }

  mmap(): Mapping {
    return fail("ENODEV");
  }

  memfd(): number {
    return fail("ENOSYS");
  }

  dup3(): void {
    fail("ENOSYS");
  }

  socketPair(): [number, number] {
    return fail("ENOSYS");
  }

  sendFds(): void {
    fail("ENOSYS");
  }

  receiveFds(): ReceivedMessage {
    return fail("ENOSYS");
  }

  poll(): number {
    return 0;
  }

  readText(path: string): string {
    return this.texts.get(this.#resolve(path)) ?? fail("ENOENT");
  }

  readLink(path: string): string {
    const slash = path.lastIndexOf("/");
    const real = `${this.#resolve(path.slice(0, slash))}${path.slice(slash)}`;
    const target = this.links.get(real);
    if (target !== undefined) return target;
    return this.#exists(real) ? fail("EINVAL") : fail("ENOENT");
  }

  readDir(path: string): string[] {
    const prefix = `${this.#resolve(path)}/`;
    const names = [...this.texts.keys(), ...this.links.keys()]
      .filter((other) => other.startsWith(prefix))
      .map((other) => other.slice(prefix.length).split("/")[0]!);
    return names.length === 0 ? fail("ENOENT") : [...new Set(names)].sort();
  }

  realPath(path: string): string {
    const real = this.#resolve(path);
    return this.#exists(real) ? real : fail("ENOENT");
  }

  #exists(path: string): boolean {
    return this.texts.has(path) || this.nodes.has(path) ||
      [...this.texts.keys(), ...this.links.keys()].some((other) => other.startsWith(`${path}/`));
  }

  #resolve(path: string): string {
    let real = "";
    for (const part of path.split("/").filter((part) => part !== "")) {
      if (part === "..") real = real.slice(0, real.lastIndexOf("/"));
      else {
        const target = this.links.get(`${real}/${part}`);
        if (target === undefined) real = `${real}/${part}`;
        else real = this.#resolve(target.startsWith("/") ? target : `${real}/${target}`);
      }
    }
    return real;
  }
}
