/**
 * A device that vfiokit serves on the host (src/server), and that QEMU gives to this guest by its
 * client of vfio-user: the guest's kernel and vfio-pci see a PCI device like any other.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { probe } from "../../../../mod.ts";
import {
  libcKernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  POLLIN,
  PROT_READ,
  PROT_WRITE,
} from "../../../../src/kernel/mod.ts";
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  vfioIrqSet,
} from "../../../../src/uapi/mod.ts";
import {
  openVfioDevice,
  parseDeviceName,
  type Region,
  type VfioDevice,
} from "../../../../src/vfio/mod.ts";
import { openEventfd, readEventfd } from "../../../server/_eventfd.ts";
import type { Case } from "../harness.ts";

const DEVICES = "/sys/bus/pci/devices";
/** Of `sim:none`. */
const VENDOR = "0x564b";
const PAGE = 4096;
// linux/pci_regs.h
const PCI_COMMAND = 0x04;
const PCI_COMMAND_MASTER = 0x4;
/** How long an interrupt may take, in milliseconds. */
const GIVE_UP_MS = 60_000;

/** Its address; null where there is none. */
function find(): string | null {
  return readdirSync(DEVICES).find((address) =>
    readFileSync(`${DEVICES}/${address}/vendor`, "utf8").trim() === VENDOR
  ) ?? null;
}

function lacks(): string | null {
  return find() === null ? "no device is served (--serve)" : null;
}

/** Opens it by the guest's vfio-pci. */
function open(): VfioDevice {
  const address = find()!;
  if (!existsSync(`${DEVICES}/${address}/driver`)) {
    const { hint } = probe(address, { open: false }).reasons[0]!;
    execFileSync("sh", ["-ec", hint]);
  }
  return openVfioDevice(libcKernel(), parseDeviceName(address), { via: "group" });
}

/** The registers of its BAR 2, see docs/simulator.md. */
class Doorbell {
  readonly #device: VfioDevice;
  readonly #at: number;

  constructor(device: VfioDevice) {
    this.#device = device;
    this.#at = Number(device.region(2).offset);
  }

  #write(offset: number, value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.#device.kernel.pwrite(this.#device.fd.number, bytes, this.#at + offset);
  }

  /** Which vector it signals, by MSI-X. */
  set vector(vector: number) {
    this.#write(24, vector);
  }

  /** Acknowledges INTx. */
  acknowledge(): void {
    this.#write(28, 0);
  }

  ring(address: bigint, length: number, value: number): void {
    this.#write(0, Number(address & 0xffff_ffffn));
    this.#write(4, Number(address >> 32n));
    this.#write(8, length);
    this.#write(12, value);
  }

  /** The registers status and count. */
  get outcome(): readonly [status: number, count: number] {
    const bytes = new Uint8Array(8);
    this.#device.kernel.pread(this.#device.fd.number, bytes, this.#at + 16);
    const view = new DataView(bytes.buffer);
    return [view.getUint32(0, true), view.getUint32(4, true)];
  }
}

/** Lets it write: vfio-pci opens a device with this off, and an MSI is a write, too. */
function enableBusMaster({ kernel, fd }: VfioDevice, config: Region): void {
  const command = new Uint8Array(2);
  kernel.pread(fd.number, command, Number(config.offset) + PCI_COMMAND);
  command[0]! |= PCI_COMMAND_MASTER;
  kernel.pwrite(fd.number, command, Number(config.offset) + PCI_COMMAND);
}

/** Sets eventfds for the interrupts of an index. */
function useEventfds({ kernel, fd }: VfioDevice, index: number, eventfds: number[]): void {
  const data = new Uint8Array(Int32Array.from(eventfds).buffer);
  const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  const argument = vfioIrqSet.pack({ flags, index, count: eventfds.length, data });
  kernel.ioctl(fd.number, VFIO_DEVICE_SET_IRQS, argument);
}

function unmaskIntx({ kernel, fd }: VfioDevice): void {
  const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
  const argument = vfioIrqSet.pack({ flags, index: VFIO_PCI_INTX_IRQ_INDEX, count: 1 });
  kernel.ioctl(fd.number, VFIO_DEVICE_SET_IRQS, argument);
}

/** Waits for an eventfd; how often it was signalled. */
function awaitSignal({ kernel }: VfioDevice, eventfd: number): number {
  assert.equal(kernel.poll(eventfd, POLLIN, GIVE_UP_MS), POLLIN);
  return readEventfd(eventfd);
}

function bytesOf(memory: Mapping, offset: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  memory.read(offset, bytes);
  return [...bytes];
}

/** The cases. */
export const cases: readonly Case[] = [
  {
    name: "served: the guest's kernel reads the configuration space and the sizes of the BARs",
    lacks,
    async run(): Promise<void> {
      await Promise.resolve();
      const folder = `${DEVICES}/${find()!}`;
      const config = readFileSync(`${folder}/config`);
      assert.deepEqual([...config.subarray(0, 4)], [0x4b, 0x56, 0x04, 0x00]);
      assert.equal(readFileSync(`${folder}/class`, "utf8").trim(), "0x120000");
      const sizes = readFileSync(`${folder}/resource`, "utf8").trim().split("\n").slice(0, 6)
        .map((line) => line.split(" ").map(BigInt))
        .map(([start, end]) => end === 0n ? 0 : Number(end! - start!) + 1);
      assert.deepEqual(sizes, [PAGE, 0, PAGE, 0, PAGE, 0]);
      const capabilities: number[] = [];
      for (let at = config[0x34]!; at !== 0; at = config[at + 1]!) capabilities.push(config[at]!);
      assert.deepEqual(capabilities, [5, 0x11], "MSI and MSI-X");
      assert.equal(config[0x3d], 1, "INTA");
    },
  },
  {
    name: "served: a BAR is read through a mapping and by pread alike",
    lacks,
    async run(): Promise<void> {
      await Promise.resolve();
      using device = open();
      const { offset } = device.region(0);
      using bar = device.kernel.mmap(PAGE, {
        fd: device.fd.number,
        offset,
        prot: PROT_READ | PROT_WRITE,
        flags: MAP_SHARED,
      });
      const read = new Uint8Array(8);
      device.kernel.pread(device.fd.number, read, offset);
      assert.deepEqual([...read], [...new TextEncoder().encode("VKIT"), 1, 0, 0, 0]);
      assert.deepEqual([...bytesOf(bar, 0, 4), ...bytesOf(bar, 4, 4)], [...read]);
    },
  },
  {
    name: "served: its doorbell makes it write to the guest's memory and interrupt the guest",
    lacks,
    async run(): Promise<void> {
      await Promise.resolve();
      using device = open();
      const { kernel } = device;
      using memory = kernel.mmap(2 * PAGE, {
        prot: PROT_READ | PROT_WRITE,
        flags: MAP_PRIVATE | MAP_ANONYMOUS,
      });
      const flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
      const iova = 1n << 32n;
      device.space!.map({ iova, size: BigInt(2 * PAGE), vaddr: memory.address, flags });
      enableBusMaster(device, device.region(VFIO_PCI_CONFIG_REGION_INDEX));
      const eventfd = openEventfd();
      useEventfds(device, VFIO_PCI_MSI_IRQ_INDEX, [eventfd]);
      const doorbell = new Doorbell(device);
      doorbell.ring(iova + 0x123n, 5, 250);
      assert.equal(awaitSignal(device, eventfd), 1);
      assert.deepEqual(doorbell.outcome, [0, 1]);
      assert.deepEqual(bytesOf(memory, 0x122, 7), [0, 250, 251, 252, 253, 254, 0]);
      // Into the second page, which the guest's kernel may have put anywhere.
      doorbell.ring(iova + BigInt(PAGE), 1, 7);
      assert.equal(kernel.poll(eventfd, POLLIN, GIVE_UP_MS), POLLIN);
      assert.deepEqual(bytesOf(memory, PAGE, 2), [7, 0]);
      device.space!.unmap(iova, BigInt(2 * PAGE));
      doorbell.ring(iova, 1, 9);
      assert.equal(doorbell.outcome[1], 3);
      assert.notEqual(doorbell.outcome[0], 0, "memory that is not mapped any more");
      assert.deepEqual(bytesOf(memory, 0, 1), [0]);
      kernel.close(eventfd);
    },
  },
  {
    name: "served: it interrupts the guest by the vector of MSI-X that is asked for",
    lacks,
    async run(): Promise<void> {
      await Promise.resolve();
      using device = open();
      const { kernel } = device;
      enableBusMaster(device, device.region(VFIO_PCI_CONFIG_REGION_INDEX));
      const eventfds = [openEventfd(), openEventfd(), openEventfd(), openEventfd()];
      useEventfds(device, VFIO_PCI_MSIX_IRQ_INDEX, eventfds);
      const doorbell = new Doorbell(device);
      for (const vector of [2, 0, 3]) {
        doorbell.vector = vector;
        doorbell.ring(0n, 0, 0);
        assert.equal(awaitSignal(device, eventfds[vector]!), 1);
      }
      assert.deepEqual(eventfds.map((fd) => kernel.poll(fd, POLLIN, 0)), [0, 0, 0, 0]);
      for (const fd of eventfds) kernel.close(fd);
    },
  },
  {
    name: "served: it interrupts the guest by INTx, again and again until it is acknowledged",
    lacks,
    async run(): Promise<void> {
      await Promise.resolve();
      using device = open();
      const { kernel } = device;
      const eventfd = openEventfd();
      useEventfds(device, VFIO_PCI_INTX_IRQ_INDEX, [eventfd]);
      const doorbell = new Doorbell(device);
      doorbell.ring(0n, 0, 0);
      assert.equal(awaitSignal(device, eventfd), 1);
      unmaskIntx(device);
      assert.equal(awaitSignal(device, eventfd), 1, "it is still asserted");
      doorbell.acknowledge();
      unmaskIntx(device);
      assert.equal(kernel.poll(eventfd, POLLIN, 0), 0);
      doorbell.ring(0n, 0, 0);
      assert.equal(awaitSignal(device, eventfd), 1);
      doorbell.acknowledge();
      kernel.close(eventfd);
    },
  },
];
