import assert from "node:assert/strict";
import { truncateSync } from "node:fs";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { FdMemory } from "../../src/server/requests/client_memory.ts";
import { DeviceSource } from "../../src/server/requests/open_device.ts";
import { errnoOfRefusal } from "../../src/server/requests/refuse.ts";
import { Session } from "../../src/server/requests/session.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  VFIO_PCI_INTX_IRQ_INDEX as INTX,
  VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
  VFIO_REGION_INFO_FLAG_MMAP,
  vfioDeviceFeatureDmaLoggingRange,
  vfioIrqInfo,
  vfioPrecopyInfo,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_GET_IRQ_INFO,
  VFIO_USER_DEVICE_GET_REGION_INFO,
  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_UNMAP,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_MIG_DATA_WRITE,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
  VFIOKIT_MIG_PRECOPY_INFO,
} from "../../src/vfio_user/wire/commands.ts";
import {
  vfioUserDeviceInfo,
  vfioUserDmaLoggingControl,
  vfioUserDmaLoggingReport,
  vfioUserDmaUnmap,
  vfioUserMigData,
  vfioUserRegionAccess,
} from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";
import { closeFds } from "./_client.ts";
import { openEventfd, readEventfd } from "./_eventfd.ts";
import {
  dataRead,
  dataWrite,
  dmaMap,
  feature,
  GET_STATE,
  regionInfo,
  regionRead,
  regionWrite,
  setIrqs,
  setState,
  stateOf,
} from "./_requests.ts";
import { doorbell } from "../sim/_doorbell.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const MIB = 1 << 20;
const STOP_LOG = feature(
  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  new Uint8Array(0),
);
const USE_EVENTFDS = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;

/** A session, without a socket. Memory without an fd is in a buffer here. */
class Bench implements Disposable {
  readonly memory: Bytes = new Uint8Array(1 << 16);
  readonly #source: DeviceSource;
  readonly session: Session;

  /** @param of The device's name, or where several clients take it. */
  constructor(of: string | DeviceSource, extended = true) {
    this.#source = typeof of === "string" ? new DeviceSource(of, false) : of;
    this.session = new Session({
      device: this.#source.take(),
      own: libcKernel(),
      messages: {
        most: 4096,
        read: (address, into) =>
          into.set(this.memory.subarray(Number(address), Number(address) + into.length)),
        write: (address, from) => this.memory.set(from, Number(address)),
      },
      extended,
      mostData: MIB,
    });
  }

  /** The payload of the reply. */
  ask(command: number, payload: Bytes, fds: number[] = []): Bytes {
    return joined(...this.session.handle({ command, payload, fds }));
  }

  /** The errno of a request that is refused. */
  refused(command: number, payload: Bytes, fds: number[] = []): number {
    try {
      this.ask(command, payload, fds);
    } catch (error) {
      const errno = errnoOfRefusal(error);
      if (errno !== null) return errno;
      throw error;
    }
    return 0;
  }

  [Symbol.dispose](): void {
    this.session.close();
    this.#source.release();
  }
}

const { EINVAL, E2BIG, ENOTTY, ENODEV, EEXIST } = ERRNO;

describe("a session", () => {
  it("describes the device, its regions and its interrupts", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const info = bench.ask(VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({}));
    assert.deepEqual(vfioUserDeviceInfo.unpack(info), {
      argsz: 16,
      flags: 3,
      num_regions: 9,
      num_irqs: 5,
    });
    const config = bench.ask(VFIO_USER_DEVICE_GET_REGION_INFO, regionInfo(7));
    assert.equal(vfioRegionInfo.unpack(config).size, 256n);
    const irq = bench.ask(VFIO_USER_DEVICE_GET_IRQ_INFO, vfioIrqInfo.pack({ index: 1 }));
    assert.equal(vfioIrqInfo.unpack(irq).count, 1);
    const short = vfioUserDeviceInfo.pack({ argsz: 15 });
    assert.equal(bench.refused(VFIO_USER_DEVICE_GET_INFO, short), EINVAL);
    assert.equal(bench.refused(VFIO_USER_DEVICE_GET_INFO, short.subarray(0, 8)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_DEVICE_GET_REGION_INFO, regionInfo(9)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_DEVICE_GET_REGION_INFO, regionInfo(7, 8)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_DEVICE_GET_REGION_IO_FDS, new Uint8Array(16)), EINVAL);
    assert.equal(bench.refused(99, new Uint8Array(0)), EINVAL);
  });

  it("reads and writes regions, and nothing outside them", () => {
    using bench = new Bench("sim:mlx5?size=1MiB");
    const ids = bench.ask(VFIO_USER_REGION_READ, regionRead(7, 0, 4));
    assert.equal(vfioUserRegionAccess.unpack(ids).count, 4);
    assert.deepEqual([...ids.subarray(16)], [0xb3, 0x15, 0x1e, 0x10]);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(7, 4, Uint8Array.of(6, 0)));
    assert.deepEqual([...bench.ask(VFIO_USER_REGION_READ, regionRead(7, 4, 2)).subarray(16)], [
      6,
      0,
    ]);
    const one = new Uint8Array(24);
    one.set(vfioUserRegionAccess.pack({ region: 7, offset: 4n, count: 2 }));
    const head = Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0);
    bench.ask(VFIO_USER_REGION_WRITE_MULTI, joined(head, one, one));
    assert.deepEqual([...bench.ask(VFIO_USER_REGION_READ, regionRead(7, 4, 2)).subarray(16)], [
      0,
      0,
    ]);
    assert.equal(bench.refused(VFIO_USER_REGION_WRITE_MULTI, joined(head, one)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_REGION_READ, regionRead(7, 253, 4)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_REGION_READ, regionRead(7, 2 ** 40, 4)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_REGION_READ, regionRead(64, 0, 4)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_REGION_READ, regionRead(0, 0, MIB + 1)), E2BIG);
    const long = regionWrite(7, 4, new Uint8Array(4));
    assert.equal(bench.refused(VFIO_USER_REGION_WRITE, long.subarray(0, 19)), EINVAL);
  });

  it("reads a v1 device's migration region with the extension, and hides it without", () => {
    using bench = new Bench("sim:mapped?size=1MiB");
    const payload = bench.ask(VFIO_USER_DEVICE_GET_REGION_INFO, regionInfo(9, 4096));
    const { flags, cap_offset } = vfioRegionInfo.unpack(payload);
    assert.equal(flags & VFIO_REGION_INFO_FLAG_MMAP, 0);
    assert.equal(cap_offset, vfioRegionInfo.size);
    const state = bench.ask(VFIO_USER_REGION_READ, regionRead(9, 0, 4)).subarray(16);
    assert.equal(state[0]! & 7, 1);
    using other = new Bench("sim:mapped?size=1MiB", false);
    const info = other.ask(VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({}));
    assert.equal(vfioUserDeviceInfo.unpack(info).num_regions, 9);
    assert.equal(other.refused(VFIO_USER_REGION_READ, regionRead(9, 0, 4)), EINVAL);
  });

  it("lets the device write to memory behind a client's fd, and signal its eventfd", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const kernel = libcKernel();
    const memory = kernel.memfd("guest", 3 * 4096);
    const eventfd = openEventfd();
    bench.ask(VFIO_USER_DMA_MAP, dmaMap(0x10000n, 0x2000n, 4096n), [duplicate(memory)]);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, 1, 1), [duplicate(eventfd)]);
    const ring = doorbell(0x10010n, 3, 40);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, ring));
    const bytes = new Uint8Array(3);
    kernel.pread(memory, bytes, 4096 + 0x10);
    assert.deepEqual([...bytes], [40, 41, 42]);
    assert.equal(readEventfd(eventfd), 1);
    // A client may cut its memory short: no signal kills the server.
    truncateSync(`/proc/self/fd/${memory}`, 0);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, ring));
    truncateSync(`/proc/self/fd/${memory}`, 0);
    const cut = new FdMemory(kernel, memory, 0);
    assert.throws(() => cut.read(0, new Uint8Array(8)), { code: "EFAULT" });
    bench.ask(VFIO_USER_DMA_UNMAP, vfioUserDmaUnmap.pack({ addr: 0x10000n, size: 0x2000n }));
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, ring));
    const status = bench.ask(VFIO_USER_REGION_READ, regionRead(2, 16, 8)).subarray(16);
    assert.deepEqual([...status], [EINVAL, 0, 0, 0, 3, 0, 0, 0]);
    assert.equal(readEventfd(eventfd), 2);
    bench.session.close();
    assert.equal(kernel.readLink(`/proc/self/fd/${memory}`), "/memfd:guest (deleted)");
    kernel.close(memory);
    kernel.close(eventfd);
  });

  it("takes no fd for an interrupt that is not an eventfd", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const fds = [libcKernel().memfd("guest", 0)];
    assert.equal(
      bench.refused(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, 1, 1), fds),
      EINVAL,
    );
    // It stays the caller's.
    libcKernel().close(fds[0]!);
    assert.equal(bench.refused(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, 3, 1)), EINVAL);
    assert.equal(
      bench.refused(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, 1, 2 ** 31)),
      EINVAL,
    );
  });

  it("signals a client's eventfd for each vector of MSI-X", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const info = bench.ask(VFIO_USER_DEVICE_GET_IRQ_INFO, vfioIrqInfo.pack({ index: MSIX }));
    assert.equal(vfioIrqInfo.unpack(info).count, 4);
    const eventfds = [openEventfd(), openEventfd(), openEventfd()];
    const fds = eventfds.map(duplicate);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, MSIX, 4), fds);
    assert.deepEqual(fds, []);
    // The last one has none.
    for (const vector of [2, 2, 0, 3]) {
      bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 24, Uint8Array.of(vector, 0, 0, 0)));
      bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0n, 0, 0)));
    }
    const trigger = joined(
      setIrqs(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, MSIX, 3),
      Uint8Array.of(1, 1, 0),
    );
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, trigger);
    assert.deepEqual(eventfds.map(readEventfd), [2, 1, 2]);
    assert.equal(bench.refused(VFIO_USER_DEVICE_SET_IRQS, trigger.subarray(0, 22)), EINVAL);
    bench.session.close();
    closeFds(eventfds);
  });

  it("signals a client's eventfd for INTx, which the client masks and unmasks", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const eventfd = openEventfd();
    const unmask = setIrqs(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, INTX, 1);
    const mask = setIrqs(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, INTX, 1);
    assert.equal(bench.refused(VFIO_USER_DEVICE_SET_IRQS, mask), EINVAL);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, INTX, 1), [duplicate(eventfd)]);
    const ring = regionWrite(2, 0, doorbell(0n, 0, 0));
    for (let time = 0; time < 2; time += 1) bench.ask(VFIO_USER_REGION_WRITE, ring);
    assert.equal(readEventfd(eventfd), 1);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, unmask);
    assert.equal(readEventfd(eventfd), 1);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 28, new Uint8Array(4)));
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, unmask);
    assert.throws(() => readEventfd(eventfd), { code: "EAGAIN" });
    const maskBy = setIrqs(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_MASK, INTX, 1);
    const fds = [duplicate(eventfd)];
    assert.equal(bench.refused(VFIO_USER_DEVICE_SET_IRQS, maskBy, fds), ERRNO.ENOTTY);
    bench.session.close();
    closeFds([eventfd, ...fds]);
  });

  it("unmasks INTx by a client's eventfd, and lets go of it", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    const [eventfd, unmask] = [openEventfd(), openEventfd()];
    const kernel = libcKernel();
    const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
    const unmaskBy = setIrqs(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, INTX, 1);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, setIrqs(USE_EVENTFDS, INTX, 1), [duplicate(eventfd)]);
    assert.deepEqual(bench.session.awaited, []);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, unmaskBy, [duplicate(unmask)]);
    const [awaited, ...others] = bench.session.awaited;
    assert.deepEqual(others, []);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0n, 0, 0)));
    assert.equal(readEventfd(eventfd), 1);
    // Nobody has signalled it; or the client has read it again itself.
    bench.session.signalled(awaited!);
    assert.throws(() => readEventfd(eventfd), { code: "EAGAIN" });
    kernel.write(unmask, one);
    bench.session.signalled(awaited!);
    assert.equal(readEventfd(eventfd), 1);
    assert.throws(() => readEventfd(unmask), { code: "EAGAIN" });
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, unmaskBy);
    assert.deepEqual(bench.session.awaited, []);
    bench.ask(VFIO_USER_DEVICE_SET_IRQS, unmaskBy, [duplicate(unmask)]);
    assert.equal(bench.session.awaited.length, 1);
    bench.session.close();
    assert.deepEqual(bench.session.awaited, []);
    closeFds([eventfd, unmask]);
  });

  it("lets the device write to memory without an fd by messages", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1");
    bench.ask(VFIO_USER_DMA_MAP, dmaMap(0x1000n, 0x1000n));
    const ring = doorbell(0x1ffcn, 4, 7);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, ring));
    assert.deepEqual([...bench.memory.subarray(0x1ffb, 0x2001)], [0, 7, 8, 9, 10, 0]);
  });

  it("refuses mappings that cannot be", () => {
    using bench = new Bench("sim:mlx5?size=1MiB");
    const map = (payload: Bytes): number => bench.refused(VFIO_USER_DMA_MAP, payload);
    assert.equal(map(dmaMap(0n, 0x1000n)), 0);
    assert.equal(map(dmaMap(0n, 0x1000n)), EEXIST);
    assert.equal(map(dmaMap(0x1000n, 0n)), EINVAL);
    assert.equal(map(dmaMap(0x1001n, 0x1000n)), EINVAL);
    assert.equal(map(dmaMap(2n ** 64n - 0x1000n, 0x2000n)), EINVAL);
    assert.equal(map(dmaMap(0x1000n, 2n ** 60n)), EINVAL);
    assert.equal(map(dmaMap(0x1000n, 0x1000n, 0n, 4)), EINVAL);
    assert.equal(map(dmaMap(0x1000n, 0x1000n).subarray(0, 31)), EINVAL);
    const unmap = (addr: bigint, size: bigint, flags = 0): number =>
      bench.refused(VFIO_USER_DMA_UNMAP, vfioUserDmaUnmap.pack({ flags, addr, size }));
    const unmapped = (addr: bigint, size: bigint, flags = 0): bigint => {
      const payload = vfioUserDmaUnmap.pack({ flags, addr, size });
      return vfioUserDmaUnmap.unpack(bench.ask(VFIO_USER_DMA_UNMAP, payload)).size;
    };
    assert.equal(unmap(0n, 0x1000n, 1), EINVAL);
    assert.equal(unmap(1n, 0n, 2), EINVAL);
    assert.equal(map(dmaMap(0x8000n, 0x2000n)), 0);
    // A mapping is not cut; else all that lies in a range is unmapped, and that may be nothing.
    assert.equal(unmap(0n, 0x9000n), EINVAL);
    assert.equal(unmapped(0x2000n, 0x1000n), 0n);
    assert.equal(unmapped(0n, 0x8000n), 0x1000n);
    assert.equal(map(dmaMap(0n, 0x1000n)), 0);
    assert.equal(unmapped(0n, 0n, 2), 0x3000n);
    assert.equal(unmapped(0n, 2n ** 64n - 1n), 0n);
  });

  it("moves the state of a v2 device, and restores it into another", () => {
    using bench = new Bench("sim:mlx5?size=3MiB&seed=5");
    const precopy = bench.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY));
    assert.equal(stateOf(precopy).data_fd, 0);
    const info = bench.ask(VFIOKIT_MIG_PRECOPY_INFO, vfioPrecopyInfo.pack({}));
    assert.ok(vfioPrecopyInfo.unpack(info).initial_bytes > 0n);
    // A client may send anything: flags that no header has come back as they were.
    const odd = bench.ask(VFIOKIT_MIG_PRECOPY_INFO, vfioPrecopyInfo.pack({ flags: 0xffff_ffff }));
    assert.equal(vfioPrecopyInfo.unpack(odd).flags, 0xffff_ffff);
    const stop = bench.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP_COPY));
    assert.deepEqual(stateOf(stop), { device_state: VFIO_DEVICE_STATE_STOP_COPY, data_fd: -1 });
    const data: Uint8Array[] = [];
    for (;;) {
      const reply = bench.ask(VFIO_USER_MIG_DATA_READ, dataRead(100_000));
      const { size } = vfioUserMigData.unpack(reply);
      assert.equal(reply.length, 8 + size);
      if (size === 0) break;
      data.push(reply.subarray(8));
    }
    using other = new Bench("sim:mlx5?size=3MiB&seed=6");
    other.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_RESUMING));
    for (const part of data) {
      const taken = other.ask(VFIO_USER_MIG_DATA_WRITE, dataWrite(part));
      assert.deepEqual(vfioUserMigData.unpack(taken), { argsz: 8, size: part.length });
    }
    other.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP));
    const crc = (from: Bench): Bytes =>
      from.ask(VFIO_USER_REGION_READ, regionRead(0, 24, 4)).subarray(16);
    assert.deepEqual(crc(other), crc(bench));
  });

  it("has what the protocol has, and no more, for a client without the extension", () => {
    using bench = new Bench("sim:mlx5?size=1MiB", false);
    const ask = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
    const flags = bench.ask(VFIO_USER_DEVICE_FEATURE, feature(ask, new Uint8Array(8)));
    assert.equal(flags[8], VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY);
    using extended = new Bench("sim:mlx5?size=1MiB");
    const all = extended.ask(VFIO_USER_DEVICE_FEATURE, feature(ask, new Uint8Array(8)));
    assert.equal(all[8], flags[8]! | VFIO_MIGRATION_P2P);
    const size = feature(
      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
      new Uint8Array(8),
    );
    assert.equal(bench.refused(VFIO_USER_DEVICE_FEATURE, size), EINVAL);
    assert.notDeepEqual([...extended.ask(VFIO_USER_DEVICE_FEATURE, size).subarray(8)], [
      ...new Uint8Array(8),
    ]);
    const unknown = feature(VFIO_DEVICE_FEATURE_GET | 99, new Uint8Array(8));
    assert.equal(bench.refused(VFIO_USER_DEVICE_FEATURE, unknown), EINVAL);
    assert.equal(extended.refused(VFIO_USER_DEVICE_FEATURE, unknown), ENOTTY);
    const precopy = bench.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY));
    assert.equal(stateOf(precopy).data_fd, -1);
    const info = vfioPrecopyInfo.pack({});
    assert.equal(bench.refused(VFIOKIT_MIG_PRECOPY_INFO, info), EINVAL);
    // A read is as long as was asked for, up to the end of the data.
    const first = bench.ask(VFIO_USER_MIG_DATA_READ, dataRead(500_000));
    assert.equal(vfioUserMigData.unpack(first).size, 500_000);
    const rest = bench.ask(VFIO_USER_MIG_DATA_READ, dataRead(MIB));
    assert.ok(vfioUserMigData.unpack(rest).size < MIB);
    const none = bench.ask(VFIO_USER_MIG_DATA_READ, dataRead(MIB));
    assert.equal(vfioUserMigData.unpack(none).size, 0);
  });

  it("refuses data if there is none, and more than was agreed", () => {
    using bench = new Bench("sim:mlx5?size=1MiB");
    assert.equal(bench.refused(VFIO_USER_MIG_DATA_READ, dataRead(10)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_MIG_DATA_WRITE, dataWrite(new Uint8Array(1))), EINVAL);
    bench.ask(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP_COPY));
    assert.equal(bench.refused(VFIO_USER_MIG_DATA_READ, dataRead(MIB + 1)), EINVAL);
    assert.equal(bench.refused(VFIO_USER_MIG_DATA_READ, new Uint8Array(4)), EINVAL);
    bench.ask(VFIO_USER_DEVICE_RESET, new Uint8Array(0));
    assert.equal(bench.refused(VFIO_USER_MIG_DATA_READ, dataRead(10)), ENODEV);
    const state = bench.ask(VFIO_USER_DEVICE_FEATURE, GET_STATE);
    assert.equal(stateOf(state).device_state, VFIO_DEVICE_STATE_RUNNING);
  });

  it("reports what the device's log has", () => {
    using bench = new Bench("sim:mlx5?size=1MiB&doorbell=1", false);
    bench.ask(VFIO_USER_DMA_MAP, dmaMap(0x0n, 0x10000n));
    const start = startLog();
    const started = bench.ask(VFIO_USER_DEVICE_FEATURE, start);
    assert.equal(vfioUserDmaLoggingControl.unpack(started, 8).page_size, 4096n);
    const ring = doorbell(0x3ff0n, 32, 0);
    bench.ask(VFIO_USER_REGION_WRITE, regionWrite(2, 0, ring));
    const asked = vfioUserDmaLoggingReport.pack({ iova: 0n, length: 0x10000n, page_size: 4096n });
    const get = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
    const report = bench.ask(VFIO_USER_DEVICE_FEATURE, feature(get, asked, 40));
    assert.deepEqual([...report.subarray(32)], [0b11000, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(bench.refused(VFIO_USER_DEVICE_FEATURE, feature(get, asked, 39)), EINVAL);
    const much = vfioUserDmaLoggingReport.pack({ iova: 0n, length: 2n ** 60n, page_size: 4096n });
    assert.equal(bench.refused(VFIO_USER_DEVICE_FEATURE, feature(get, much, 2 ** 32 - 1)), E2BIG);
    assert.equal(bench.refused(VFIO_USER_DEVICE_FEATURE, start.subarray(0, 30)), EINVAL);
    bench.ask(VFIO_USER_DEVICE_FEATURE, STOP_LOG);
  });

  it("stops the log that it started and left on, and no other", () => {
    using source = new DeviceSource("sim:mlx5?size=1MiB", true);
    const [first, second, third] = [0, 1, 2].map(() => new Bench(source));
    using last = third!;
    first!.ask(VFIO_USER_DEVICE_FEATURE, startLog());
    assert.equal(second!.refused(VFIO_USER_DEVICE_FEATURE, startLog()), EINVAL);
    second![Symbol.dispose]();
    assert.equal(last.refused(VFIO_USER_DEVICE_FEATURE, startLog()), EINVAL);
    first![Symbol.dispose]();
    last.ask(VFIO_USER_DEVICE_FEATURE, startLog());
  });

  it("leaves the log to the client that started it after another one stopped it", () => {
    using source = new DeviceSource("sim:mlx5?size=1MiB", true);
    const first = new Bench(source);
    using second = new Bench(source);
    first.ask(VFIO_USER_DEVICE_FEATURE, startLog());
    second.ask(VFIO_USER_DEVICE_FEATURE, STOP_LOG);
    second.ask(VFIO_USER_DEVICE_FEATURE, startLog());
    first[Symbol.dispose]();
    assert.equal(second.refused(VFIO_USER_DEVICE_FEATURE, startLog()), EINVAL);
  });
});

/** DMA_LOGGING_START of the first 64 KiB. */
function startLog(): Bytes {
  return feature(
    VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    joined(
      vfioUserDmaLoggingControl.pack({ page_size: 4096n, num_ranges: 1 }),
      vfioDeviceFeatureDmaLoggingRange.pack({ iova: 0n, length: 0x10000n }),
    ),
  );
}

function duplicate(fd: number): number {
  const kernel = libcKernel();
  const number = kernel.memfd("number", 0);
  kernel.dup3(fd, number);
  return number;
}
