/**
 * A device that is a file: the seam's real calls, with answers of the
 * benchmark's own to VFIO's ioctls.
 */

import type { Kernel, Mapping, MmapOptions, ReceivedMessage } from "../../src/kernel/kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

/** Another kernel's calls, but for ioctl. */
export abstract class FileKernel implements Kernel {
  abstract readonly name: string;
  protected readonly kernel: Kernel;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  abstract ioctl(fd: number, request: number, arg?: Buffer | number): number;

  pread(fd: number, buffer: Buffer, offset: number | bigint): number {
    return this.kernel.pread(fd, buffer, offset);
  }

  pwrite(fd: number, buffer: Buffer, offset: number | bigint): number {
    return this.kernel.pwrite(fd, buffer, offset);
  }

  open(path: string, flags: number): number {
    return this.kernel.open(path, flags);
  }

  close(fd: number): void {
    this.kernel.close(fd);
  }

  read(fd: number, buffer: Buffer): number {
    return this.kernel.read(fd, buffer);
  }

  write(fd: number, buffer: Buffer): number {
    return this.kernel.write(fd, buffer);
  }

  mmap(length: number, options: MmapOptions): Mapping {
    return this.kernel.mmap(length, options);
  }

  memfd(name: string, length: number, flags?: number): number {
    return this.kernel.memfd(name, length, flags);
  }

  dup3(from: number, to: number): void {
    this.kernel.dup3(from, to);
  }

  socketPair(): [number, number] {
    return this.kernel.socketPair();
  }

  sendFds(socket: number, message: Buffer, fds: readonly number[]): void {
    this.kernel.sendFds(socket, message, fds);
  }

  receiveFds(socket: number, into: Buffer, maxFds: number): ReceivedMessage {
    return this.kernel.receiveFds(socket, into, maxFds);
  }

  poll(fd: number, events: number, timeoutMs: number): number {
    return this.kernel.poll(fd, events, timeoutMs);
  }

  readText(path: string): string {
    return this.kernel.readText(path);
  }

  readLink(path: string): string {
    return this.kernel.readLink(path);
  }

  readDir(path: string): string[] {
    return this.kernel.readDir(path);
  }

  realPath(path: string): string {
    return this.kernel.realPath(path);
  }
}
