import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  vfioIrqInfo,
  vfioIrqSet,
} from "../../src/uapi/mod.ts";
import { openVfioDevice } from "../../src/vfio/open/open.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import type { VfioDevice } from "../../src/vfio/device/device.ts";
import { doorbell } from "./_doorbell.ts";
import { FakeEventfd } from "./_outside_eventfd.ts";

const INTX = VFIO_PCI_INTX_IRQ_INDEX;
const MSI = VFIO_PCI_MSI_IRQ_INDEX;
const MSIX = VFIO_PCI_MSIX_IRQ_INDEX;
const NONE = VFIO_IRQ_SET_DATA_NONE;
const BOOL = VFIO_IRQ_SET_DATA_BOOL;
const EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD;
const TRIGGER = VFIO_IRQ_SET_ACTION_TRIGGER;
const BAR2 = 2 * 2 ** 40;
const BAR4 = 4 * 2 ** 40;
const CONFIG = 7 * 2 ** 40;

/** An open device. */
class Bench implements Disposable {
  readonly kernel: SimKernel;
  readonly device: VfioDevice;

  constructor(spec: string) {
    this.kernel = new SimKernel(spec);
    this.device = openVfioDevice(this.kernel, parseDeviceName(spec));
  }

  setIrqs(flags: number, index: number, count: number, data: Uint8Array): void {
    const argument = vfioIrqSet.pack({ flags, index, count, data });
    this.kernel.ioctl(this.device.fd.number, VFIO_DEVICE_SET_IRQS, argument);
  }

  ring(address: bigint, length: number, value: number): void {
    this.kernel.pwrite(this.device.fd.number, doorbell(address, length, value), BAR2);
  }

  /** The registers status and count. */
  get outcome(): readonly [status: number, count: number] {
    const bytes = new Uint8Array(8);
    this.kernel.pread(this.device.fd.number, bytes, BAR2 + 16);
    const view = new DataView(bytes.buffer);
    return [view.getUint32(0, true), view.getUint32(4, true)];
  }

  /** The register pending. */
  get pending(): number {
    const bytes = new Uint8Array(4);
    this.kernel.pread(this.device.fd.number, bytes, BAR2 + 28);
    return bytes[0]!;
  }

  /** How many interrupts an index has. */
  count(index: number): number {
    const info = vfioIrqInfo.pack({ index });
    this.kernel.ioctl(this.device.fd.number, VFIO_DEVICE_GET_IRQ_INFO, info);
    return vfioIrqInfo.unpack(info).count;
  }

  [Symbol.dispose](): void {
    this.device.close();
  }
}

function fdBytes(...fds: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(fds).buffer);
}

describe("a device with doorbell=1", () => {
  it("writes to memory and signals its MSI when the doorbell is written to", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const memory = new Uint8Array(4096);
    using mapping = bench.kernel.mapOutside(4096, {
      read: (at, into) => into.set(memory.subarray(at, at + into.length)),
      write: (at, from) => memory.set(from, at),
    });
    const { address: vaddr } = mapping;
    bench.device.space!.map({ iova: 0x7000n, size: 4096n, vaddr, flags: VFIO_DMA_MAP_FLAG_WRITE });
    const counter = new FakeEventfd();
    const eventfd = bench.kernel.eventfd(counter);
    bench.setIrqs(EVENTFD | TRIGGER, MSI, 1, fdBytes(eventfd));
    bench.kernel.close(eventfd);
    bench.ring(0x7ffdn, 3, 254);
    assert.deepEqual([...memory.subarray(0xffc)], [0, 254, 255, 0]);
    assert.deepEqual(bench.outcome, [0, 1]);
    assert.equal(counter.signals, 1);
    bench.ring(0x7ffdn, 4, 0);
    bench.ring(0x7000n, 4097, 0);
    assert.deepEqual(bench.outcome, [ERRNO.EINVAL, 3]);
    assert.equal(counter.signals, 3);
    // What follows the doorbell is read only.
    bench.kernel.pwrite(bench.device.fd.number, new Uint8Array(8), BAR2 + 16);
    assert.deepEqual(bench.outcome, [ERRNO.EINVAL, 3]);
    bench.kernel.ioctl(bench.device.fd.number, VFIO_DEVICE_RESET);
    assert.deepEqual(bench.outcome, [0, 0]);
    assert.equal(counter.releases, 0);
    bench.setIrqs(NONE | TRIGGER, MSI, 0, new Uint8Array(0));
    assert.equal(counter.releases, 1);
    bench.ring(0x7000n, 1, 0);
    assert.equal(counter.signals, 3);
    bench.device.space!.unmap(0x7000n, 4096n);
  });

  it("has a status of EBUSY while it is stopped, and EFAULT if its memory is gone", () => {
    using bench = new Bench("sim:trapped?size=1MiB&doorbell=1");
    using mapping = bench.kernel.mapOutside(4096, {
      read: () => {},
      write: () => bench.kernel.close(999),
    });
    const { address: vaddr } = mapping;
    bench.device.space!.map({ iova: 0n, size: 4096n, vaddr, flags: VFIO_DMA_MAP_FLAG_WRITE });
    bench.ring(0n, 1, 0);
    assert.deepEqual(bench.outcome, [ERRNO.EFAULT, 1]);
    bench.kernel.pwrite(bench.device.fd.number, new Uint8Array(4), 9 * 2 ** 40);
    bench.ring(0n, 1, 0);
    assert.deepEqual(bench.outcome, [ERRNO.EBUSY, 2]);
    bench.device.space!.unmap(0n, 4096n);
  });

  /** Sets an eventfd for each interrupt of an index; answers how often each was signalled. */
  function useEventfds(bench: Bench, index: number, count: number): () => number[] {
    const counters = Array.from({ length: count }, () => new FakeEventfd());
    const fds = counters.map((counter) => bench.kernel.eventfd(counter));
    bench.setIrqs(EVENTFD | TRIGGER, index, count, fdBytes(...fds));
    for (const fd of fds) bench.kernel.close(fd);
    return () => counters.map(({ signals }) => signals);
  }

  const nothing = new Uint8Array(0);

  it("signals the vector of MSI-X that is asked for", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const signals = useEventfds(bench, MSIX, 4);
    for (const vector of [0, 3, 3, 4]) {
      bench.kernel.pwrite(bench.device.fd.number, Uint8Array.of(vector, 0, 0, 0), BAR2 + 24);
      bench.ring(0n, 0, 0);
    }
    assert.deepEqual(signals(), [1, 0, 0, 2]);
    bench.setIrqs(NONE | TRIGGER, MSIX, 2, nothing);
    bench.setIrqs(BOOL | TRIGGER, MSIX, 4, Uint8Array.of(0, 1, 1, 0));
    assert.deepEqual(signals(), [2, 2, 1, 2]);
    assert.equal(bench.pending, 0);
  });

  it("asserts INTx until it is acknowledged, and masks it with each signal", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const unmask = (data = NONE, bytes = nothing): void =>
      bench.setIrqs(data | VFIO_IRQ_SET_ACTION_UNMASK, INTX, 1, bytes);
    bench.ring(0n, 0, 0);
    assert.equal(bench.pending, 1);
    // It is level-triggered: what was pending before is signalled.
    const signals = useEventfds(bench, INTX, 1);
    assert.deepEqual(signals(), [1]);
    bench.ring(0n, 0, 0);
    assert.deepEqual(signals(), [1], "it is masked");
    unmask(BOOL, Uint8Array.of(0));
    assert.deepEqual(signals(), [1]);
    unmask();
    assert.deepEqual(signals(), [2], "it is still pending");
    bench.kernel.pwrite(bench.device.fd.number, new Uint8Array(4), BAR2 + 28);
    assert.equal(bench.pending, 0);
    unmask(BOOL, Uint8Array.of(1));
    assert.deepEqual(signals(), [2]);
    bench.setIrqs(NONE | VFIO_IRQ_SET_ACTION_MASK, INTX, 1, nothing);
    bench.ring(0n, 0, 0);
    assert.deepEqual(signals(), [2]);
    unmask();
    assert.deepEqual(signals(), [3]);
    bench.setIrqs(NONE | TRIGGER, INTX, 1, nothing);
    assert.deepEqual(signals(), [4], "a trigger from user space is not masked");
    bench.kernel.ioctl(bench.device.fd.number, VFIO_DEVICE_RESET);
    assert.equal(bench.pending, 0);
  });

  it("unmasks INTx when an eventfd is signalled", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const signals = useEventfds(bench, INTX, 1);
    const counters = [new FakeEventfd(), new FakeEventfd()];
    const [one, two] = counters.map((counter) => bench.kernel.eventfd(counter));
    const unmaskBy = (fd: number): void =>
      bench.setIrqs(EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, INTX, 1, fdBytes(fd));
    unmaskBy(one!);
    bench.ring(0n, 0, 0);
    assert.deepEqual(signals(), [1], "it is masked");
    counters[0]!.signalled!();
    assert.deepEqual(signals(), [2], "it is still pending");
    bench.kernel.pwrite(bench.device.fd.number, new Uint8Array(4), BAR2 + 28);
    counters[0]!.signalled!();
    assert.deepEqual(signals(), [2]);
    assert.throws(() => unmaskBy(two!), { code: "EBUSY" });
    unmaskBy(-1);
    assert.equal(counters[0]!.signalled, null);
    unmaskBy(two!);
    bench.kernel.close(one!);
    bench.kernel.close(two!);
    assert.deepEqual(counters.map(({ releases }) => releases), [1, 0]);
    // With the interrupt that it unmasks, its eventfd is let go.
    bench.setIrqs(NONE | TRIGGER, INTX, 0, nothing);
    assert.deepEqual(counters.map(({ releases }) => releases), [1, 1]);
    assert.equal(counters[1]!.signalled, null);
  });

  it("keeps INTx back as the command register says", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const { kernel, device: { fd } } = bench;
    const signals = useEventfds(bench, INTX, 1);
    kernel.pwrite(fd.number, Uint8Array.of(0, 4), CONFIG + 4);
    bench.ring(0n, 0, 0);
    assert.deepEqual(signals(), [0]);
    const status = new Uint8Array(1);
    kernel.pread(fd.number, status, CONFIG + 6);
    assert.equal(status[0], 0x18, "a capability list, and an interrupt");
    kernel.pwrite(fd.number, Uint8Array.of(0, 0), CONFIG + 4);
    assert.deepEqual(signals(), [1]);
  });

  it("has its interrupts in its configuration space, and others have none", () => {
    using bench = new Bench("sim:mlx5?doorbell=1");
    const config = new Uint8Array(256);
    bench.kernel.pread(bench.device.fd.number, config, CONFIG);
    assert.equal(config[6], 0x10);
    const at = (offset: number, length: number): number[] => [
      ...config.subarray(offset, offset + length),
    ];
    assert.equal(config[0x3d], 1, "INTA");
    assert.deepEqual(at(config[0x34]!, 4), [5, 0x50, 0x80, 0]);
    assert.deepEqual(at(0x50, 12), [0x11, 0, 3, 0, 4, 0, 0, 0, 4, 8, 0, 0]);
    const table = new Uint8Array(65);
    bench.kernel.pwrite(bench.device.fd.number, new Uint8Array(64), BAR4);
    bench.kernel.pread(bench.device.fd.number, table, BAR4);
    assert.deepEqual([...table], [...Array(64).fill(0xff), 0]);
    const counts = [INTX, MSI, MSIX, 4].map((index) => bench.count(index));
    assert.deepEqual(counts, [1, 1, 4, 1]);
    using other = new Bench("sim:mlx5");
    other.kernel.pread(other.device.fd.number, config, CONFIG);
    assert.deepEqual([config[6], config[0x3d]], [0, 0]);
    assert.deepEqual([2, 4].map((index) => other.device.region(index).size), [0n, 0n]);
    assert.deepEqual([INTX, MSI, MSIX].map((index) => other.count(index)), [0, 0, 0]);
  });

  it("refuses what vfio-pci refuses", () => {
    using bench = new Bench("sim:mlx5?doorbell=1");
    const none = new Uint8Array(0);
    const refused = (flags: number, index: number, count: number, data: Uint8Array): string => {
      try {
        bench.setIrqs(flags, index, count, data);
        return "";
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    assert.equal(refused(NONE | TRIGGER, 5, 0, none), "EINVAL");
    assert.equal(refused(NONE | TRIGGER, MSI, 2, none), "EINVAL");
    assert.equal(refused(1 << 6, MSI, 1, none), "EINVAL");
    assert.equal(refused(NONE | BOOL | TRIGGER, MSI, 1, Uint8Array.of(1)), "EINVAL");
    assert.equal(refused(EVENTFD | TRIGGER, MSI, 1, none), "EINVAL");
    assert.equal(refused(EVENTFD | TRIGGER, MSI, 1, fdBytes(999)), "EBADF");
    assert.equal(refused(EVENTFD | TRIGGER, MSI, 1, fdBytes(bench.device.fd.number)), "EINVAL");
    assert.equal(refused(NONE | VFIO_IRQ_SET_ACTION_MASK, MSI, 1, none), "ENOTTY");
    const [mask, unmask] = [VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK];
    assert.equal(refused(NONE | unmask, MSIX, 1, none), "ENOTTY");
    assert.equal(refused(NONE, INTX, 1, none), "ENOTTY");
    assert.equal(refused(NONE | mask | TRIGGER, INTX, 1, none), "ENOTTY");
    assert.equal(refused(EVENTFD | TRIGGER, MSIX, 5, fdBytes(-1, -1, -1, -1, -1)), "EINVAL");
    // Nothing is set up yet.
    for (const index of [INTX, MSI, MSIX]) {
      assert.equal(refused(NONE | TRIGGER, index, 1, none), "EINVAL");
      assert.equal(refused(NONE | TRIGGER, index, 0, none), "EINVAL");
    }
    assert.equal(refused(NONE | mask, INTX, 1, none), "EINVAL");
    // One kind at a time.
    assert.equal(refused(EVENTFD | TRIGGER, INTX, 1, fdBytes(-1)), "");
    assert.equal(refused(EVENTFD | TRIGGER, MSI, 1, fdBytes(-1)), "EINVAL");
    assert.equal(refused(BOOL | TRIGGER, INTX, 0, none), "EINVAL");
    assert.equal(refused(NONE | mask, INTX, 0, none), "EINVAL");
    assert.equal(refused(EVENTFD | mask, INTX, 1, fdBytes(-1)), "ENOTTY");
    assert.equal(refused(EVENTFD | unmask, INTX, 1, fdBytes(-1)), "");
    assert.equal(refused(EVENTFD | unmask, INTX, 1, fdBytes(999)), "EBADF");
    assert.equal(refused(EVENTFD | unmask, INTX, 1, fdBytes(bench.device.fd.number)), "EINVAL");
    assert.equal(refused(EVENTFD | unmask, INTX, 1, none), "EINVAL");
    assert.equal(refused(NONE | TRIGGER, INTX, 0, none), "");
    assert.equal(refused(EVENTFD | TRIGGER, MSIX, 4, fdBytes(-1, -1, -1, -1)), "");
    assert.equal(refused(EVENTFD | TRIGGER, INTX, 1, fdBytes(-1)), "EINVAL");
  });

  it("signals on request", () => {
    using bench = new Bench("sim:mlx5");
    const counter = new FakeEventfd();
    const eventfd = bench.kernel.eventfd(counter);
    const request = VFIO_PCI_REQ_IRQ_INDEX;
    bench.setIrqs(EVENTFD | TRIGGER, request, 1, fdBytes(eventfd));
    bench.setIrqs(NONE | TRIGGER, request, 1, new Uint8Array(0));
    bench.setIrqs(BOOL | TRIGGER, request, 1, Uint8Array.of(0));
    bench.setIrqs(BOOL | TRIGGER, request, 1, Uint8Array.of(1));
    assert.equal(counter.signals, 2);
    bench.setIrqs(EVENTFD | TRIGGER, request, 1, fdBytes(-1));
    bench.setIrqs(NONE | TRIGGER, request, 1, new Uint8Array(0));
    assert.equal(counter.signals, 2);
    bench.kernel.close(eventfd);
  });
});
