/**
 * Sessions on simulated devices, and kernels that a test listens to.
 */

import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { DirtySession, type DirtySessionOptions } from "../../src/dirty/session.ts";
import type { DirtyReading } from "../../src/dirty/reading.ts";
import type { IovaMapping } from "../../src/vfio/dma/iova.ts";

/** So many pages, in bytes. */
export function pages(count: number): bigint {
  return BigInt(count) * 4096n;
}

/** A range of pages. */
export function range(first: number, count: number): IovaMapping {
  return { iova: pages(first), size: pages(count) };
}

/** The numbers of the pages that are dirty in a reading. */
export function dirtyPages(reading: DirtyReading): number[] {
  return reading.ranges.flatMap(({ bitmap }) => [...bitmap.pages()].map((iova) => numberOf(iova)));
}

/** The numbers of the pages that are pinned in a reading. */
export function pinnedPages(reading: DirtyReading): number[] {
  return reading.ranges.flatMap(({ pinned }) =>
    pinned === null ? [] : [...pinned.pages()].map((iova) => numberOf(iova))
  );
}

function numberOf(iova: bigint): number {
  return Number(iova / 4096n);
}

/** A session on a simulated device. */
export interface SimSession {
  readonly kernel: SimKernel;
  readonly session: DirtySession;
  /** The device writes to pages. */
  write(...numbers: number[]): void;
}

const STAMP = new Uint8Array([1]);

/** What to open, and over which kernel: by default the simulated one itself. */
export interface SimSessionOptions extends DirtySessionOptions {
  /** The simulated driver; `trapped` where left out. */
  readonly personality?: string;
  /** Pages to map. */
  readonly map?: readonly IovaMapping[];
  /** Puts something between the session and the simulated kernel. */
  readonly over?: (kernel: SimKernel) => Kernel;
  /** What the device's time is, in milliseconds. */
  readonly now?: () => number;
}

/** Opens a session, with the type1 tracker where none is named; lends it, and sees that nothing stays open. */
export function withSession(
  spec: string,
  { personality = "trapped", map = [], over, now, ...options }: SimSessionOptions,
  use: (sim: SimSession) => void,
): void {
  const name = `sim:${personality}?size=4KiB${spec === "" ? "" : `&${spec}`}`;
  const kernel = now === undefined ? new SimKernel(name) : SimKernel.withClock(now, name);
  const uuid = kernel.devices[0]!.path;
  {
    using session = DirtySession.open(uuid, {
      kernel: over === undefined ? kernel : over(kernel),
      maps: map,
      tracker: "type1",
      ...options,
    });
    const write = (...numbers: number[]): void => {
      for (const page of numbers) kernel.devices[0]!.dma.write(pages(page), STAMP);
    };
    use({ kernel, session, write });
  }
  assert.deepEqual(kernel.openObjects, []);
  assert.deepEqual(openFds(), []);
}

type Bytes = Uint8Array<ArrayBuffer>;
type Ioctl = (fd: number, request: number, arg: Bytes | number) => number;

/** A kernel whose ioctls go through a function first. */
export function intercept(
  kernel: Kernel,
  ioctl: (next: Ioctl, fd: number, request: number, arg: Bytes | number) => number,
): Kernel {
  const next: Ioctl = (fd, request, arg) => kernel.ioctl(fd, request, arg);
  return {
    name: kernel.name,
    ioctl: (fd, request, arg = 0) => ioctl(next, fd, request, arg),
    open: kernel.open.bind(kernel),
    close: kernel.close.bind(kernel),
    read: kernel.read.bind(kernel),
    write: kernel.write.bind(kernel),
    pread: kernel.pread.bind(kernel),
    pwrite: kernel.pwrite.bind(kernel),
    mmap: kernel.mmap.bind(kernel),
    memfd: kernel.memfd.bind(kernel),
    dup3: kernel.dup3.bind(kernel),
    socketPair: kernel.socketPair.bind(kernel),
    sendFds: kernel.sendFds.bind(kernel),
    receiveFds: kernel.receiveFds.bind(kernel),
    poll: kernel.poll.bind(kernel),
    readText: kernel.readText.bind(kernel),
    readLink: kernel.readLink.bind(kernel),
    readDir: kernel.readDir.bind(kernel),
    realPath: kernel.realPath.bind(kernel),
  };
}
