/**
 * A simulated kernel: the second implementation of `Kernel`.
 *
 * It has mediated devices and virtual functions with simulated vendor drivers, each
 * in its own IOMMU group. It behaves like kernel 6.1 (v2 devices and iommufd
 * like 6.12): it reads the caller's buffers and makes the kernel's checks, in the
 * kernel's order and with the kernel's errno. It never touches the real system.
 *
 * @module
 */

import { ERRNO, type ErrnoName } from "../kernel/errno_names.ts";
import { SysError } from "../kernel/sys_error.ts";
import {
  FIONBIO,
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  MFD_HUGETLB,
  type MmapOptions,
  type ReceivedMessage,
} from "../kernel/kernel.ts";
import { checkMaxFds, SCM_MAX_FD } from "../kernel/scm_rights.ts";
import { plantBugs } from "./bugs/plant.ts";
import { answer, sysError } from "./os/answer.ts";
import { CdevFile } from "./nodes/cdev.ts";
import { ContainerFile } from "./nodes/container.ts";
import { SimGroup } from "./nodes/group.ts";
import { DeviceModel } from "./device/device_model.ts";
import { IommufdFile } from "./nodes/iommufd.ts";
import { MemfdFile } from "./os/memfd.ts";
import { EventFile, type OutsideEventfd, type OutsideMemory, outsideRange } from "./os/outside.ts";
import { Memory } from "./os/memory.ts";
import type { OpenFile } from "./os/open_file.ts";
import { refuse } from "./os/refusal.ts";
import { dmaOf } from "./dma/dma_on_request.ts";
import { SocketFile } from "./os/socket.ts";
import { deviceName, fileTree, type Node } from "./nodes/sysfs.ts";
import type { Tree } from "./os/tree.ts";
import type { SimDma } from "./dma/sim_dma.ts";
import { PERSONALITIES } from "./personalities.ts";
import { type FaultName, parseSimSpec } from "./spec.ts";

const PAGE = 4096;
const TEXT_MAX = 1 << 20;
/** The memory of a simulated machine, in bytes. */
const MEMORY_MAX = 2 ** 36;
/** 0, 1 and 2 belong to the process. */
const FIRST_FD = 3;
/** poll result: the fd is not open (asm-generic/poll.h). */
const POLLNVAL = 0x20;

/** A simulated device, as seen from outside the migration protocol. */
export interface SimDevice {
  /** The name to open the device by: its PCI address or its mdev UUID. */
  readonly path: string;
  /** How the user of the device broke the protocol, one text each. */
  readonly violations: readonly string[];
  /**
   * The current device_state: the register of v1, or the number of a v2 state; null for a device
   * that does not migrate. No fault hides it.
   */
  readonly deviceState: number | null;
  /** Whether the device is open and running. */
  readonly running: boolean;
  /** CRC-32 of the device's whole internal state now. */
  checksum(): number;
  /** The device's DMA, on request of a test. */
  readonly dma: SimDma;
}

/**
 * A kernel with one simulated device per spec.
 *
 * @example
 * ```ts
 * import { SimKernel } from "vfiokit/sim";
 * import { O_RDWR } from "vfiokit/kernel";
 * import { VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU } from "vfiokit/uapi";
 * import assert from "node:assert/strict";
 *
 * const kernel = new SimKernel("sim:mapped?size=64MiB");
 * const container = kernel.open("/dev/vfio/vfio", O_RDWR);
 * assert.equal(kernel.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
 * kernel.close(container);
 * assert.deepEqual(kernel.openObjects, []);
 * ```
 */
export class SimKernel implements Kernel {
  /** Always `sim`. */
  readonly name = "sim";
  /** The devices, in the order of the specs. */
  readonly devices: readonly SimDevice[];
  readonly #hardware: readonly DeviceModel[];
  readonly #tree: Tree<Node>;
  readonly #files: (OpenFile | undefined)[] = [];
  readonly #memory: Memory = new Memory();

  /**
   * Creates a kernel.
   *
   * @param specs Names such as `sim:mapped?size=256MiB&seed=7`, see {@linkcode simHelp}.
   * @throws {SimSpecError} If a name is invalid.
   */
  constructor(...specs: string[]) {
    const parsed = specs.map(parseSimSpec);
    this.#hardware = parsed.map((spec, index) =>
      new DeviceModel(
        deviceName(PERSONALITIES[spec.personality], index),
        spec,
        index + 1,
        () => performance.now(),
      )
    );
    this.#hardware.forEach((device, index) => plantBugs(device, parsed[index]!.bugs));
    this.devices = this.#hardware.map((device) => ({
      path: device.name,
      violations: device.violations,
      get deviceState(): number | null {
        return device.deviceState;
      },
      get running(): boolean {
        return device.running;
      },
      checksum: () => device.checksum(),
      dma: dmaOf(device.dma.engine),
    }));
    // The process has one limit: the lowest of all specs.
    const memlock = Math.min(...parsed.map((spec) => spec.memlock ?? Infinity));
    const driver = {
      v2: !this.#anyFault("type1-only"),
      tracking: this.#anyFault("no-dirty-capability")
        ? "none"
        : this.#anyFault("draft-dirty-flag")
        ? "draft"
        : "capability",
      memlock: memlock === Infinity ? null : BigInt(memlock),
      refusesIommu: this.#refusal("set-iommu"),
      remapsInterrupts: !this.#anyFault("unsafe-interrupts"),
    } as const;
    const host = {
      file: (fd: number) => this.#file(fd),
      install: this.#install.bind(this),
      memory: this.#memory,
      cdevs: parsed.some(({ cdev }) => cdev),
    };
    this.#tree = fileTree(
      this.#hardware.map((device, index) => new SimGroup(index, device, parsed[index]!.group)),
      {
        container: () => {
          this.#refuseBy("open-container");
          return new ContainerFile(driver, this.#memory);
        },
        group: (group) => group.open(host),
        iommufd: () => {
          this.#refuseBy("open-iommufd");
          return new IommufdFile(this.#memory, driver.memlock, this.#refusal("ioas-alloc"));
        },
        cdev: (path, group) => group.openCdev(() => new CdevFile(path, group, host)),
      },
      {
        cdevs: host.cdevs,
        memlock: driver.memlock,
        remapsInterrupts: driver.remapsInterrupts,
        containerNode: !this.#anyFault("no-container-node"),
        iommuNode: !this.#anyFault("no-iommu-node"),
      },
    );
  }

  /** Creates a kernel whose devices use this clock, in milliseconds. */
  static withClock(now: () => number, ...specs: string[]): SimKernel {
    const kernel = new SimKernel(...specs);
    for (const device of kernel.#hardware) device.useClock(now);
    return kernel;
  }

  #anyFault(name: FaultName): boolean {
    return this.#hardware.some(({ faults }) => faults.standing(name) !== undefined);
  }

  /** The errno of the first device that has this fault; null if none has it. */
  #refusal(name: FaultName): ErrnoName | null {
    for (const { faults } of this.#hardware) {
      const fault = faults.standing(name);
      if (fault !== undefined) return fault.errno;
    }
    return null;
  }

  #refuseBy(name: FaultName): void {
    const errno = this.#refusal(name);
    if (errno !== null) refuse(errno);
  }

  /** Everything that is open or mapped; empty if nothing leaked. */
  get openObjects(): readonly string[] {
    const fds = this.#files.flatMap((file, fd) =>
      file === undefined ? [] : `fd ${fd} ${file.label}`
    );
    const mappings = [...this.#memory.mappings].map(({ address, length }) =>
      `mapping of ${length} bytes at 0x${address.toString(16)}`
    );
    return [...fds, ...mappings];
  }

  #file(fd: number): OpenFile {
    return this.#files[fd] ?? refuse("EBADF");
  }

  #install(file: OpenFile): number {
    let fd = FIRST_FD;
    while (this.#files[fd] !== undefined) fd += 1;
    this.#files[fd] = file;
    file.hold();
    return fd;
  }

  open(path: string, _flags: number): number {
    return answer("open", path, () => this.#install(this.#tree.openDevice(path)()));
  }

  close(fd: number): void {
    answer("close", `fd ${fd}`, () => {
      const file = this.#file(fd);
      this.#files[fd] = undefined;
      file.drop();
    });
  }

  ioctl(fd: number, request: number, arg: Uint8Array<ArrayBuffer> | number = 0): number {
    try {
      const file = this.#file(fd);
      // Every file accepts it; no call on these files ever blocks.
      return request === FIONBIO ? 0 : file.ioctl(request, arg);
    } catch (error) {
      throw sysError(error, "ioctl", `0x${request.toString(16)} on fd ${fd}`);
    }
  }

  read(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
    return answer("read", `fd ${fd}`, () => this.#file(fd).read(buffer));
  }

  write(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
    return answer("write", `fd ${fd}`, () => this.#file(fd).write(buffer));
  }

  pread(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number | bigint): number {
    try {
      return this.#file(fd).pread(position(offset), buffer);
    } catch (error) {
      throw sysError(error, "pread", `${buffer.length} bytes at ${offset} of fd ${fd}`);
    }
  }

  pwrite(fd: number, buffer: Uint8Array<ArrayBuffer>, offset: number | bigint): number {
    try {
      return this.#file(fd).pwrite(position(offset), buffer);
    } catch (error) {
      throw sysError(error, "pwrite", `${buffer.length} bytes at ${offset} of fd ${fd}`);
    }
  }

  mmap(length: number, options: MmapOptions): Mapping {
    const { fd = -1, offset = 0, flags } = options;
    return answer("mmap", `${length} bytes at ${offset} of fd ${fd}`, () => {
      const shared = (flags & MAP_SHARED) !== 0;
      if (length <= 0 || shared === ((flags & MAP_PRIVATE) !== 0)) refuse("EINVAL");
      if (length > MEMORY_MAX) refuse("ENOMEM");
      if ((flags & MAP_ANONYMOUS) !== 0) return this.#memory.anonymous(length);
      const file = this.#file(fd);
      const at = position(offset);
      if (at % PAGE !== 0) refuse("EINVAL");
      const range = file.mmap(at, Math.ceil(length / PAGE) * PAGE, shared);
      file.hold();
      return this.#memory.map(length, range, () => file.drop());
    });
  }

  memfd(name: string, length: number, flags = 0): number {
    return answer("memfd_create", `"${name}"`, () => {
      // There are no huge pages.
      if ((flags & MFD_HUGETLB) !== 0 || length > MEMORY_MAX) refuse("ENOMEM");
      if (flags !== 0 || length < 0) refuse("EINVAL");
      return this.#install(new MemfdFile(name, length));
    });
  }

  /**
   * Maps memory that is outside the simulation, so that devices reach it: give the mapping's
   * address to VFIO_IOMMU_MAP_DMA.
   *
   * @param length Bytes, a multiple of the page size.
   */
  mapOutside(length: number, memory: OutsideMemory): Mapping {
    return this.#memory.map(length, outsideRange(memory), () => {});
  }

  /**
   * Opens an eventfd that is outside the simulation, for VFIO_DEVICE_SET_IRQS: the device signals
   * it, or waits for it to be signalled.
   */
  eventfd(outside: OutsideEventfd): number {
    return this.#install(new EventFile(outside));
  }

  dup3(from: number, to: number): void {
    answer("dup3", `fd ${from} to ${to}`, () => {
      if (from === to) refuse("EINVAL");
      const file = this.#file(from);
      const before = this.#files[to];
      file.hold();
      this.#files[to] = file;
      before?.drop();
    });
  }

  socketPair(): [number, number] {
    const [one, other] = SocketFile.pair();
    return [this.#install(one), this.#install(other)];
  }

  sendFds(socket: number, message: Uint8Array<ArrayBuffer>, fds: readonly number[]): void {
    answer("sendmsg", `fd ${socket}`, () => {
      const to = this.#socket(socket);
      if (fds.length > SCM_MAX_FD) refuse("EINVAL");
      to.send(message, fds.map((fd) => this.#file(fd)));
    });
  }

  receiveFds(socket: number, into: Uint8Array<ArrayBuffer>, maxFds: number): ReceivedMessage {
    checkMaxFds(maxFds);
    return answer("recvmsg", `fd ${socket}`, () => {
      const message = this.#socket(socket).receive();
      const taken = message.bytes.subarray(0, into.length);
      into.set(taken);
      const fds = message.files.slice(0, maxFds).map((file) => this.#install(file));
      for (const file of message.files) file.drop();
      const truncated = taken.length < message.bytes.length || fds.length < message.files.length;
      return { length: taken.length, fds, truncated };
    });
  }

  #socket(fd: number): SocketFile {
    const file = this.#file(fd);
    return file instanceof SocketFile ? file : refuse("ENOTSOCK");
  }

  poll(fd: number, events: number, _timeoutMs: number): number {
    // Waiting would change nothing: no other thread can make the file ready.
    return this.#files[fd]?.poll(events) ?? POLLNVAL;
  }

  readText(path: string, maxBytes = TEXT_MAX): string {
    const text = answer("read", path, () => this.#tree.readText(path));
    if (text.length <= maxBytes) return text;
    throw new SysError("read", ERRNO.EFBIG, `${path} (more than ${maxBytes} bytes)`);
  }

  readLink(path: string): string {
    const fd = /^\/proc\/self\/fd\/(\d+)$/.exec(path)?.[1];
    const label = (fd: string): string => this.#files[Number(fd)]?.label ?? refuse("ENOENT");
    return answer("readlink", path, () => fd ? label(fd) : this.#tree.readLink(path));
  }

  readDir(path: string): string[] {
    return answer("getdents64", path, () => this.#tree.readDir(path));
  }

  realPath(path: string): string {
    return answer("realpath", path, () => this.#tree.realPath(path));
  }
}

function position(offset: number | bigint): number {
  const at = Number(offset);
  return at >= 0 && Number.isSafeInteger(at) ? at : refuse("EINVAL");
}
