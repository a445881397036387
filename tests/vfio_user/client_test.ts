import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/kernel.ts";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { isErrno, SysError } from "../../src/kernel/sys_error.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { VfioUserKernel } from "../../src/vfio_user/mod.ts";
import type { Capabilities } from "../../src/vfio_user/wire/capabilities.ts";
import * as wire from "../../src/vfio_user/wire/commands.ts";
import {
  vfioUserDeviceInfo,
  vfioUserDmaMap,
  vfioUserDmaRegionAccess,
  vfioUserDmaUnmap,
  vfioUserMigData,
  vfioUserRegionAccess,
} from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";
import {
  command,
  message,
  refusal,
  reply,
  type Scripted,
  ScriptedServer,
  version,
} from "./_scripted_server.ts";

const os = libcKernel();
const PATH = "/run/scripted";
const EXTENDED: Partial<Capabilities> = { vfiokit: { version: 1 } };
const REGION_1 = 2 ** 40;

const closing: Disposable[] = [];
afterEach(() => {
  for (const each of closing.splice(0).reverse()) each[Symbol.dispose]();
});

interface Opened {
  readonly kernel: VfioUserKernel;
  readonly fd: number;
  readonly server: ScriptedServer;
}

/** Opens the device of a server with this script. */
function open(
  script: readonly Scripted[],
  capabilities: Partial<Capabilities> = {},
  stays?: "stays",
): Opened {
  const server = new ScriptedServer([version(capabilities), ...script], stays);
  const kernel = new VfioUserKernel(PATH, { connect: server.connect, timeoutMs: 60_000 });
  const fd = kernel.open(PATH, O_RDWR);
  closing.push(server, { [Symbol.dispose]: (): void => kernel.close(fd) });
  return { kernel, fd, server };
}

function isError(
  code: string,
  detail: RegExp = /(?:)/,
): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SysError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, detail);
    return true;
  };
}

/** How many fds there are of memory with this name. */
function fdsOf(name: string): number {
  return os.readDir("/proc/self/fd").filter((fd) => {
    try {
      return os.readLink(`/proc/self/fd/${fd}`).includes(`memfd:${name}`);
    } catch {
      return false;
    }
  }).length;
}

function feature(flags: number, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  return uapi.vfioDeviceFeature.pack({ flags, data });
}

const GET_STATE = uapi.VFIO_DEVICE_FEATURE_GET | uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
const SET_STATE = uapi.VFIO_DEVICE_FEATURE_SET | uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;

function stateReply(id: number, flags: number, device_state: number, data_fd: number): Scripted {
  const data = uapi.vfioDeviceFeatureMigState.pack({ device_state, data_fd });
  return reply(id, wire.VFIO_USER_DEVICE_FEATURE, feature(flags, data));
}

/** Sets a state; returns the data fd. */
function setState(kernel: VfioUserKernel, fd: number, device_state: number): number {
  const argument = feature(
    SET_STATE,
    uapi.vfioDeviceFeatureMigState.pack({ device_state, data_fd: -1 }),
  );
  kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument);
  return uapi.vfioDeviceFeatureMigState.unpack(argument, 8).data_fd;
}

function dataReply(id: number, data: Uint8Array, size = data.length): Scripted {
  const head = vfioUserMigData.pack({ argsz: 8 + data.length, size });
  return reply(id, wire.VFIO_USER_MIG_DATA_READ, joined(head, data));
}

describe("a device behind a socket", () => {
  it("answers GET_INFO without the capabilities that the protocol lacks", () => {
    const info = { flags: 0x8000_00ff, num_regions: 9, num_irqs: 5 };
    const answer = vfioUserDeviceInfo.pack(info);
    const { kernel, fd, server } = open([reply(1, wire.VFIO_USER_DEVICE_GET_INFO, answer)]);
    const argument = uapi.vfioDeviceInfo.pack({});
    kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, argument);
    const flags = (0x8000_00ff & ~uapi.VFIO_DEVICE_FLAGS_CAPS) >>> 0;
    const { argsz: _, cap_offset, ...got } = uapi.vfioDeviceInfo.unpack(argument);
    assert.deepEqual([got, cap_offset], [{ ...info, flags }, 0]);
    const [versionRequest, request] = server.requests();
    assert.equal(versionRequest!.command, wire.VFIO_USER_VERSION);
    assert.deepEqual(vfioUserDeviceInfo.unpack(request!.payload), {
      argsz: 16,
      flags: 0,
      num_regions: 0,
      num_irqs: 0,
    });
  });

  it("maps what the server sends an fd of, at the offset that the server says", () => {
    const memfd = os.memfd("region", 3 * 4096);
    using bytes = os.mmap(3 * 4096, { fd: memfd, prot: PROT_WRITE, flags: MAP_SHARED });
    bytes.write(4096 + 0x20, new Uint8Array([7]));
    const info = uapi.vfioRegionInfo.pack({
      flags: uapi.VFIO_REGION_INFO_FLAG_READ | uapi.VFIO_REGION_INFO_FLAG_MMAP,
      index: 1,
      size: 8192n,
      offset: 4096n,
    });
    const script = [reply(1, wire.VFIO_USER_DEVICE_GET_REGION_INFO, info, [memfd, memfd])];
    const { kernel, fd } = open(script);
    const before = fdsOf("region");
    const argument = uapi.vfioRegionInfo.pack({ index: 1 });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_REGION_INFO, argument);
    // One of the two fds is kept.
    assert.equal(fdsOf("region"), before + 1);
    assert.equal(uapi.vfioRegionInfo.unpack(argument).offset, BigInt(REGION_1));
    {
      using mapping = kernel.mmap(4096, {
        fd,
        offset: REGION_1,
        prot: PROT_READ,
        flags: MAP_SHARED,
      });
      const byte = new Uint8Array(1);
      mapping.read(0x20, byte);
      assert.equal(byte[0], 7);
      mapping.write(0x21, new Uint8Array([8]));
      bytes.read(4096 + 0x21, byte);
      assert.equal(byte[0], 8);
      // A server that cuts its file short does no harm.
      libc().ftruncate(memfd, 4096);
      assert.throws(() => mapping.read(0x20, byte), isError("EFAULT"));
      libc().ftruncate(memfd, 3 * 4096);
    }
    for (const each of closing.splice(0).reverse()) each[Symbol.dispose]();
    assert.equal(fdsOf("region"), before);
    os.close(memfd);
  });

  it("has no region to map if its fd did not come", () => {
    // Flags that nobody knows stay, up to the highest.
    const known = uapi.VFIO_REGION_INFO_FLAG_READ + 2 ** 31;
    const flags = known + uapi.VFIO_REGION_INFO_FLAG_MMAP;
    const info = uapi.vfioRegionInfo.pack({ flags, index: 1, size: 8192n });
    const { kernel, fd } = open([reply(1, wire.VFIO_USER_DEVICE_GET_REGION_INFO, info)]);
    const argument = uapi.vfioRegionInfo.pack({ index: 1 });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_REGION_INFO, argument);
    assert.equal(uapi.vfioRegionInfo.unpack(argument).flags, known);
    const options = { fd, offset: REGION_1, prot: PROT_READ, flags: MAP_SHARED };
    assert.throws(() => kernel.mmap(4096, options), isError("EINVAL"));
  });

  it("reads and writes a region in messages of what both sides take", () => {
    const access = (offset: number, count: number): Uint8Array =>
      vfioUserRegionAccess.pack({ offset: BigInt(offset), region: 1, count });
    const script = [
      reply(1, wire.VFIO_USER_REGION_READ, joined(access(16, 4), new Uint8Array([1, 2, 3, 4]))),
      reply(2, wire.VFIO_USER_REGION_READ, joined(access(20, 2), new Uint8Array([5, 6]))),
      reply(3, wire.VFIO_USER_REGION_WRITE, access(0, 4)),
      refusal(4, wire.VFIO_USER_REGION_WRITE, ERRNO.EIO),
      refusal(5, wire.VFIO_USER_REGION_WRITE, ERRNO.EIO),
    ];
    const { kernel, fd, server } = open(script, { maxDataXferSize: 4 });
    const into = new Uint8Array(6);
    assert.equal(kernel.pread(fd, into, REGION_1 + 16), 6);
    assert.deepEqual([...into], [1, 2, 3, 4, 5, 6]);
    // What was written before a failure counts, as in pwrite(2).
    assert.equal(kernel.pwrite(fd, new Uint8Array(8), REGION_1), 4);
    assert.throws(() => kernel.pwrite(fd, new Uint8Array(8), REGION_1), isError("EIO"));
    const asked = server.requests().slice(1).map(({ payload }) => {
      const { offset, count } = vfioUserRegionAccess.unpack(payload);
      return [Number(offset), count, payload.length - 16];
    });
    assert.deepEqual(asked, [[16, 4, 0], [20, 2, 0], [0, 4, 4], [4, 4, 4], [0, 4, 4]]);
  });

  it("gets its interrupts by eventfds that go with the message", () => {
    const { kernel, fd, server } = open(
      [1, 2, 3].map((id) => reply(id, wire.VFIO_USER_DEVICE_SET_IRQS)),
      { maxMsgFds: 1 },
    );
    server.received();
    const eventfd = os.memfd("eventfd", 0);
    const flags = uapi.VFIO_IRQ_SET_DATA_EVENTFD | uapi.VFIO_IRQ_SET_ACTION_TRIGGER;
    const data = new Uint8Array(Int32Array.of(eventfd, eventfd, -1).buffer);
    const argument = uapi.vfioIrqSet.pack({ flags, index: 2, start: 4, count: 3, data });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_SET_IRQS, argument);
    const { bytes, fds } = server.received();
    assert.equal(fds.length, 2);
    for (const each of [...fds, eventfd]) os.close(each);
    const size = 16 + uapi.vfioIrqSet.size;
    const sets = [0, 1, 2].map((n) => uapi.vfioIrqSet.unpack(bytes, n * size + 16));
    assert.deepEqual(sets.map(({ start, count }) => [start, count]), [[4, 1], [5, 1], [6, 1]]);
  });

  it("says what the server refuses, with the server's errno", () => {
    const { kernel, fd } = open([
      refusal(1, wire.VFIO_USER_DEVICE_RESET, ERRNO.EINVAL),
      refusal(2, wire.VFIO_USER_DEVICE_RESET, 0),
      // libvfio-user sends the request back with some errors.
      message(
        { id: 3, command: wire.VFIO_USER_DEVICE_GET_INFO, flags: 0x21, errno: ERRNO.EBUSY },
        new Uint8Array(16),
      ),
      refusal(4, wire.VFIO_USER_DEVICE_RESET, ERRNO.EIO),
    ]);
    assert.throws(() => kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET), isError("EINVAL"));
    assert.throws(() => kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET), isError("EINVAL"));
    assert.throws(
      () => kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({})),
      isError("EBUSY"),
    );
    assert.throws(() => kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET), isError("EIO"));
  });

  it("is in sysfs as long as it is open, as what the server says", () => {
    const { kernel, fd } = open([], {
      vfiokit: { version: 1, bus: "mdev", driver: "nvidia-vgpu-vfio", mdevType: "nvidia-63" },
    });
    const device = kernel.realPath("/sys/class/vfio-dev/vfio0/device");
    assert.equal(device, "/sys/devices/vfio-user/scripted");
    assert.match(kernel.readLink(`${device}/subsystem`), /bus\/mdev$/);
    assert.match(kernel.readLink(`${device}/driver`), /nvidia-vgpu-vfio$/);
    assert.match(kernel.readLink(`${device}/mdev_type`), /nvidia-63$/);
    kernel.close(fd);
    closing.pop();
    assert.throws(() => kernel.realPath("/sys/class/vfio-dev/vfio0/device"), isError("ENOENT"));
  });
});

describe("its features", () => {
  it("are those of the protocol, and ENOTTY for others, unless the server is vfiokit", () => {
    const probe = (number: number): Uint8Array<ArrayBuffer> =>
      feature(uapi.VFIO_DEVICE_FEATURE_PROBE | uapi.VFIO_DEVICE_FEATURE_GET | number);
    const size = probe(uapi.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE);
    const migration = probe(uapi.VFIO_DEVICE_FEATURE_MIGRATION);
    const plain = open([refusal(1, wire.VFIO_USER_DEVICE_FEATURE, ERRNO.EINVAL)]);
    const call = ({ kernel, fd }: Opened, argument: Uint8Array<ArrayBuffer>): number =>
      kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument);
    assert.throws(() => call(plain, size), isError("ENOTTY"));
    const set = feature(
      uapi.VFIO_DEVICE_FEATURE_PROBE | uapi.VFIO_DEVICE_FEATURE_SET |
        uapi.VFIO_DEVICE_FEATURE_MIGRATION,
    );
    assert.throws(() => call(plain, set), isError("EINVAL"));
    assert.throws(() => call(plain, migration), isError("ENOTTY"));
    const extended = open([reply(1, wire.VFIO_USER_DEVICE_FEATURE, size)], EXTENDED);
    assert.equal(call(extended, size), 0);
  });

  it("are read with room for the answer, and no data_fd in a GET", () => {
    const { kernel, fd, server } = open([stateReply(1, GET_STATE, 2, 0)]);
    const argument = feature(GET_STATE, uapi.vfioDeviceFeatureMigState.pack({}));
    kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument);
    const state = uapi.vfioDeviceFeatureMigState.unpack(argument, 8);
    assert.deepEqual(state, { device_state: 2, data_fd: -1 });
    const { payload } = server.requests()[1]!;
    assert.deepEqual([payload.length, new DataView(payload.buffer).getUint32(0, true)], [8, 16]);
  });

  it("log DMA with ranges and bitmap in the message", () => {
    const start = uapi.VFIO_DEVICE_FEATURE_SET | uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
    const report = uapi.VFIO_DEVICE_FEATURE_GET | uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
    const control = new Uint8Array(16);
    new DataView(control.buffer).setBigUint64(0, 8192n, true);
    // There are three pages.
    const bits = new Uint8Array([0b10101, 0, 0, 0, 0, 0, 0, 0]);
    const { kernel, fd, server } = open([
      reply(1, wire.VFIO_USER_DEVICE_FEATURE, feature(start, control)),
      reply(
        2,
        wire.VFIO_USER_DEVICE_FEATURE,
        feature(report, joined(new Uint8Array(24), bits)),
      ),
    ]);
    using memory = kernel.mmap(4096, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    memory.write(
      0,
      uapi.vfioDeviceFeatureDmaLoggingRange.pack({ iova: 0x10000n, length: 0x3000n }),
    );
    const control_ = uapi.vfioDeviceFeatureDmaLoggingControl;
    const request = { page_size: 4096n, num_ranges: 1, ranges: memory.address };
    const started = feature(start, control_.pack(request));
    kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, started);
    assert.equal(control_.unpack(started, 8).page_size, 8192n);
    // Bits of pages are set, and none is cleared.
    memory.write(64, new Uint8Array([0b100010]));
    const range = { iova: 0x10000n, length: 0x3000n, page_size: 4096n };
    const asked = feature(
      report,
      uapi.vfioDeviceFeatureDmaLoggingReport.pack({ ...range, bitmap: memory.address + 64n }),
    );
    kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, asked);
    const byte = new Uint8Array(1);
    memory.read(64, byte);
    assert.equal(byte[0], 0b100111);
    const [, first, second] = server.requests();
    assert.equal(first!.payload.length, 8 + 16 + 16);
    assert.equal(second!.payload.length, 8 + 24);
    assert.equal(new DataView(second!.payload.buffer).getUint32(0, true), 8 + 24 + 8);
  });

  it("take no address that this process did not map", () => {
    const { kernel, fd } = open([]);
    const start = uapi.VFIO_DEVICE_FEATURE_SET | uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
    const control = uapi.vfioDeviceFeatureDmaLoggingControl;
    const argument = feature(start, control.pack({ num_ranges: 1, ranges: 0x1000n }));
    assert.throws(
      () => kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument),
      isError("EFAULT"),
    );
  });
});

describe("its migration data", () => {
  const { VFIO_DEVICE_STATE_STOP_COPY: STOP_COPY, VFIO_DEVICE_STATE_PRE_COPY: PRE_COPY } = uapi;

  it("ends with a short read, in the protocol", () => {
    const { kernel, fd, server } = open([
      stateReply(1, SET_STATE, STOP_COPY, 0),
      dataReply(2, new Uint8Array([1, 2, 3, 4])),
      // libvfio-user fills its replies up to what was asked for.
      dataReply(3, new Uint8Array([5, 0, 0, 0]), 1),
    ]);
    const data = setState(kernel, fd, STOP_COPY);
    assert.ok(data >= 0);
    const into = new Uint8Array(4);
    assert.equal(kernel.read(data, into), 4);
    assert.deepEqual([...into], [1, 2, 3, 4]);
    assert.equal(kernel.read(data, into), 1);
    assert.equal(into[0], 5);
    assert.equal(kernel.read(data, into), 0);
    assert.equal(server.requests().length, 4);
    kernel.close(data);
  });

  it("goes on from pre-copy to STOP_COPY in the same fd", () => {
    const { kernel, fd } = open([
      stateReply(1, SET_STATE, PRE_COPY, 0),
      dataReply(2, new Uint8Array([1])),
      stateReply(3, SET_STATE, STOP_COPY, 0),
      dataReply(4, new Uint8Array([2])),
      stateReply(5, SET_STATE, uapi.VFIO_DEVICE_STATE_STOP, 0),
    ]);
    const data = setState(kernel, fd, PRE_COPY);
    const info = (): bigint => {
      const argument = uapi.vfioPrecopyInfo.pack({});
      kernel.ioctl(data, uapi.VFIO_MIG_GET_PRECOPY_INFO, argument);
      return uapi.vfioPrecopyInfo.unpack(argument).initial_bytes;
    };
    const into = new Uint8Array(4);
    assert.notEqual(info(), 0n);
    assert.equal(kernel.read(data, into), 1);
    assert.equal(info(), 0n);
    assert.throws(() => kernel.read(data, into), isError("ENOMSG"));
    assert.equal(setState(kernel, fd, STOP_COPY), -1);
    assert.equal(kernel.read(data, into), 1);
    assert.equal(into[0], 2);
    assert.equal(kernel.read(data, into), 0);
    assert.throws(info, isError("EINVAL"));
    assert.equal(setState(kernel, fd, uapi.VFIO_DEVICE_STATE_STOP), -1);
    assert.throws(() => kernel.read(data, into), isError("ENODEV"));
    kernel.close(data);
  });

  it("ends with 0 bytes, and has the driver's errno, if the server is vfiokit", () => {
    const { kernel, fd } = open([
      stateReply(1, SET_STATE, PRE_COPY, 0),
      dataReply(2, new Uint8Array([1])),
      refusal(3, wire.VFIO_USER_MIG_DATA_READ, ERRNO.ENOMSG),
      reply(
        4,
        wire.VFIOKIT_MIG_PRECOPY_INFO,
        uapi.vfioPrecopyInfo.pack({ initial_bytes: 1n, dirty_bytes: 2n }),
      ),
      stateReply(5, SET_STATE, STOP_COPY, -1),
      dataReply(6, new Uint8Array([1, 2])),
      dataReply(7, new Uint8Array(0)),
    ], EXTENDED);
    const data = setState(kernel, fd, PRE_COPY);
    const into = new Uint8Array(4);
    assert.equal(kernel.read(data, into), 1);
    assert.throws(() => kernel.read(data, into), isError("ENOMSG"));
    const argument = uapi.vfioPrecopyInfo.pack({});
    kernel.ioctl(data, uapi.VFIO_MIG_GET_PRECOPY_INFO, argument);
    assert.equal(uapi.vfioPrecopyInfo.unpack(argument).initial_bytes, 1n);
    assert.equal(setState(kernel, fd, STOP_COPY), -1);
    assert.equal(kernel.read(data, into), 2);
    assert.equal(kernel.read(data, into), 0);
    kernel.close(data);
  });

  it("is written in messages that libvfio-user receives as a whole", () => {
    const script = [stateReply(1, SET_STATE, uapi.VFIO_DEVICE_STATE_RESUMING, 0)];
    const { kernel, fd, server } = open(
      [...script, reply(2, wire.VFIO_USER_MIG_DATA_WRITE)],
    );
    const data = setState(kernel, fd, uapi.VFIO_DEVICE_STATE_RESUMING);
    assert.equal(kernel.write(data, new Uint8Array(1 << 20)), 32768);
    assert.throws(() => kernel.read(data, new Uint8Array(1)), isError("EINVAL"));
    const { payload } = server.requests()[2]!;
    assert.deepEqual(vfioUserMigData.unpack(payload), { argsz: 8 + 32768, size: 32768 });
    kernel.close(data);
  });

  it("ends with a reset", () => {
    const { kernel, fd } = open([
      stateReply(1, SET_STATE, STOP_COPY, 0),
      reply(2, wire.VFIO_USER_DEVICE_RESET),
    ]);
    const data = setState(kernel, fd, STOP_COPY);
    kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET);
    assert.throws(() => kernel.read(data, new Uint8Array(1)), isError("ENODEV"));
    kernel.close(data);
  });
});

describe("its DMA", () => {
  /** Opens a device, and attaches it to an IOAS; returns the iommufd and the IOAS's id. */
  function attached(
    script: readonly Scripted[],
    capabilities: Partial<Capabilities> = {},
  ): Opened & { readonly iommufd: number; readonly ioas: number } {
    const opened = open(script, capabilities, "stays");
    const { kernel, fd } = opened;
    const iommufd = kernel.open("/dev/iommu", O_RDWR);
    closing.push({ [Symbol.dispose]: (): void => kernel.close(iommufd) });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_BIND_IOMMUFD, uapi.vfioDeviceBindIommufd.pack({ iommufd }));
    const allocated = uapi.iommuIoasAlloc.pack({});
    kernel.ioctl(iommufd, uapi.IOMMU_IOAS_ALLOC, allocated);
    const ioas = uapi.iommuIoasAlloc.unpack(allocated).out_ioas_id;
    const attach = uapi.vfioDeviceAttachIommufdPt.pack({ pt_id: ioas });
    kernel.ioctl(fd, uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach);
    opened.server.received();
    return { ...opened, iommufd, ioas };
  }

  function map(
    { kernel, iommufd, ioas }: ReturnType<typeof attached>,
    fields: { readonly user_va: bigint; readonly length: bigint; readonly iova: bigint },
    access = uapi.IOMMU_IOAS_MAP_READABLE | uapi.IOMMU_IOAS_MAP_WRITEABLE,
  ): void {
    const flags = uapi.IOMMU_IOAS_MAP_FIXED_IOVA | access;
    const argument = uapi.iommuIoasMap.pack({ flags, ioas_id: ioas, ...fields });
    kernel.ioctl(iommufd, uapi.IOMMU_IOAS_MAP, argument);
  }

  it("is sent to the server, with the memory's fd", () => {
    const opened = attached([
      reply(1, wire.VFIO_USER_DMA_MAP),
      reply(2, wire.VFIO_USER_DMA_UNMAP, vfioUserDmaUnmap.pack({})),
    ]);
    const { kernel, iommufd, ioas, server } = opened;
    const memfd = kernel.memfd("dma", 8192);
    using memory = kernel.mmap(8192, {
      fd: memfd,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED,
    });
    // The mapping keeps what it is of.
    os.close(memfd);
    map(opened, { user_va: memory.address + 4096n, length: 4096n, iova: 0x10000n });
    const { bytes, fds } = server.received();
    assert.deepEqual(vfioUserDmaMap.unpack(bytes, 16), {
      argsz: 32,
      flags: 3,
      offset: 4096n,
      addr: 0x10000n,
      size: 4096n,
    });
    assert.equal(fds.length, 1);
    assert.match(os.readLink(`/proc/self/fd/${fds[0]}`), /memfd:dma/);
    // The server cannot cut it short, which would kill this process when it touches the memory.
    assert.equal(libc().ftruncate(fds[0]!, 0), -ERRNO.EPERM);
    os.close(fds[0]!);
    const unmap = uapi.iommuIoasUnmap.pack({ ioas_id: ioas, iova: 0n, length: 0x20000n });
    kernel.ioctl(iommufd, uapi.IOMMU_IOAS_UNMAP, unmap);
    assert.equal(uapi.iommuIoasUnmap.unpack(unmap).length, 4096n);
    const [unmapped] = server.requests();
    assert.equal(vfioUserDmaUnmap.unpack(unmapped!.payload).addr, 0x10000n);
  });

  it("shares no file that the server could cut short", () => {
    const opened = attached([reply(1, wire.VFIO_USER_DMA_MAP)]);
    const memfd = os.memfd("dma", 4096);
    using memory = opened.kernel.mmap(4096, {
      fd: memfd,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED,
    });
    map(opened, { user_va: memory.address, length: 4096n, iova: 0x10000n });
    assert.deepEqual(opened.server.received().fds, []);
    os.close(memfd);
  });

  it("refuses what the kernel refuses", () => {
    const opened = attached([reply(1, wire.VFIO_USER_DMA_MAP)], { maxDmaMaps: 1 });
    using memory = opened.kernel.mmap(8192, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    const user_va = memory.address;
    map(opened, { user_va, length: 8192n, iova: 0x10000n });
    const wrong: [string, { user_va: bigint; length: bigint; iova: bigint }][] = [
      ["EEXIST", { user_va, length: 4096n, iova: 0x11000n }],
      ["EINVAL", { user_va, length: 4095n, iova: 0x20000n }],
      ["EINVAL", { user_va, length: 0n, iova: 0x20000n }],
      ["EOVERFLOW", { user_va, length: 8192n, iova: (1n << 64n) - 4096n }],
      ["ENOSPC", { user_va, length: 4096n, iova: 0x20000n }],
    ];
    for (const [code, fields] of wrong) {
      assert.throws(() => map(opened, fields), isError(code));
    }
    const { kernel, iommufd, ioas } = opened;
    const cut = uapi.iommuIoasUnmap.pack({ ioas_id: ioas, iova: 0x10000n, length: 4096n });
    assert.throws(() => kernel.ioctl(iommufd, uapi.IOMMU_IOAS_UNMAP, cut), isError("ENOENT"));
  });

  for (const twin of [true, false]) {
    it(`reaches memory without an fd by messages, ${twin ? "on a separate socket" : "among its own"}`, () => {
      const [ours, theirs] = UnixSocket.pair();
      const read = vfioUserDmaRegionAccess.pack({ addr: 0x10004n, count: 2n });
      const write = vfioUserDmaRegionAccess.pack({ addr: 0x10000n, count: 1n });
      const outside = vfioUserDmaRegionAccess.pack({ addr: 0x10fffn, count: 2n });
      const commands = [
        command(70, wire.VFIO_USER_DMA_READ, read),
        command(71, wire.VFIO_USER_DMA_WRITE, joined(write, new Uint8Array([9]))),
        command(72, wire.VFIO_USER_DMA_READ, outside),
        command(73, wire.VFIO_USER_DEVICE_RESET, new Uint8Array(0)),
      ];
      const server = new ScriptedServer([
        twin
          ? { ...version({ twinSocket: true, twinSocketFdIndex: 0 }), fds: [theirs.fd] }
          : version(),
        reply(1, wire.VFIO_USER_DMA_MAP),
      ], "stays");
      theirs.close();
      const kernel = new VfioUserKernel(PATH, { connect: server.connect, timeoutMs: 60_000 });
      const fd = kernel.open(PATH, O_RDWR);
      const iommufd = kernel.open("/dev/iommu", O_RDWR);
      closing.push(server, ours, {
        [Symbol.dispose]: (): void => {
          kernel.close(fd);
          kernel.close(iommufd);
        },
      });
      kernel.ioctl(fd, uapi.VFIO_DEVICE_BIND_IOMMUFD, uapi.vfioDeviceBindIommufd.pack({ iommufd }));
      const allocated = uapi.iommuIoasAlloc.pack({});
      kernel.ioctl(iommufd, uapi.IOMMU_IOAS_ALLOC, allocated);
      const ioas = uapi.iommuIoasAlloc.unpack(allocated).out_ioas_id;
      kernel.ioctl(
        fd,
        uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT,
        uapi.vfioDeviceAttachIommufdPt.pack({ pt_id: ioas }),
      );
      using memory = kernel.mmap(4096, {
        prot: PROT_READ | PROT_WRITE,
        flags: MAP_PRIVATE | MAP_ANONYMOUS,
      });
      memory.write(4, new Uint8Array([5, 6]));
      map({ kernel, fd, server, iommufd, ioas }, {
        user_va: memory.address,
        length: 4096n,
        iova: 0x10000n,
      });
      server.received();
      // What the server asks for is answered while the client waits for its own reply.
      for (const each of commands) {
        if (twin) ours.send(each.bytes);
        else server.send(each);
      }
      server.send(reply(2, wire.VFIO_USER_DEVICE_RESET));
      kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET);
      const byte = new Uint8Array(1);
      memory.read(0, byte);
      assert.equal(byte[0], 9);
      // Without a socket of their own the answers follow the request.
      const into = new Uint8Array(1024);
      const bytes = twin
        ? into.subarray(0, ours.receive(into) ?? 0)
        : server.received().bytes.subarray(16);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const answers = [];
      for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, true)) {
        answers.push([view.getUint16(at, true), view.getUint32(at + 8, true)]);
      }
      assert.deepEqual(answers, [[70, 1], [71, 1], [72, 0x21], [73, 0x21]]);
      assert.deepEqual([...bytes.subarray(32, 34)], [5, 6]);
    });
  }
});

describe("a server that cannot be believed", () => {
  /** What the device's info costs with this reply. */
  const infoWith = (answer: Scripted): void => {
    const { kernel, fd } = open([answer]);
    kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({}));
  };
  const INFO = wire.VFIO_USER_DEVICE_GET_INFO;
  const flags = wire.VFIO_USER_F_TYPE_REPLY;

  it("stays in ERROR, with what it sent in the error", () => {
    const whole = vfioUserDeviceInfo.pack({});
    const cases: [Scripted, string, RegExp][] = [
      [reply(2, INFO, whole), "EPROTO", /id 2.*asked for VFIO_USER_DEVICE_GET_INFO/],
      [reply(1, wire.VFIO_USER_DEVICE_RESET, whole), "EPROTO", /VFIO_USER_DEVICE_RESET/],
      [reply(1, INFO, whole.subarray(0, 15)), "EPROTO", /15 bytes.*at least 16/],
      [message({ id: 1, command: INFO, flags, errno: 0, size: 8 }), "EPROTO", /size.*8/],
      [message({ id: 1, command: INFO, flags, errno: 0, size: 0xffff_ffff }), "EPROTO", /size/],
      [message({ id: 1, command: INFO, flags: 7, errno: 0 }), "EPROTO", /type/],
      [message({ id: 1, command: INFO, flags, errno: 0, size: 32 }), "ECONNRESET", /ended/],
      [{ bytes: new Uint8Array(5) }, "ECONNRESET", /5 bytes into a header/],
      [{ bytes: new Uint8Array(0) }, "ECONNRESET", /closed the connection/],
    ];
    for (const [answer, code, detail] of cases) {
      assert.throws(() => infoWith(answer), isError(code, detail));
    }
  });

  it("is not asked again", () => {
    const { kernel, fd } = open([
      reply(9, INFO, vfioUserDeviceInfo.pack({})),
      reply(2, INFO, vfioUserDeviceInfo.pack({})),
    ]);
    const info = (): number =>
      kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({}));
    assert.throws(info, isError("EPROTO"));
    assert.throws(info, isError("EPROTO", /id 9/));
  });

  it("gets no more than was asked for into memory, and no region beyond its place", () => {
    const access = { offset: 0n, region: 0, count: 9 };
    const region = (fields: Partial<uapi.VfioRegionInfo>): Scripted =>
      reply(1, wire.VFIO_USER_DEVICE_GET_REGION_INFO, uapi.vfioRegionInfo.pack(fields));
    const read = (answer: Scripted): void => {
      const { kernel, fd } = open([answer]);
      kernel.pread(fd, new Uint8Array(8), 0);
    };
    const regionInfo = (answer: Scripted): void => {
      const { kernel, fd } = open([answer]);
      const argument = uapi.vfioRegionInfo.pack({ index: 0 });
      kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_REGION_INFO, argument);
    };
    const READ = wire.VFIO_USER_REGION_READ;
    const data = new Uint8Array(9);
    const cases: [() => void, RegExp][] = [
      [() => read(reply(1, READ, joined(vfioUserRegionAccess.pack(access), data))), /count is 9/],
      [
        () => read(reply(1, READ, vfioUserRegionAccess.pack({ ...access, count: 8 }))),
        /16 bytes.*at least 24/,
      ],
      [
        () => read(reply(1, READ, vfioUserRegionAccess.pack({ ...access, region: 3 }))),
        /region is 3/,
      ],
      [() => regionInfo(region({ index: 5 })), /index is 5/],
      [() => regionInfo(region({ size: (1n << 40n) + 1n })), /size is 0x10000000001/],
    ];
    for (const [call, detail] of cases) assert.throws(call, isError("EPROTO", detail));
  });

  it("gets no more migration data in than was asked for, or than it sent", () => {
    const read = (answer: Scripted): void => {
      const { kernel, fd } = open([
        stateReply(1, SET_STATE, uapi.VFIO_DEVICE_STATE_STOP_COPY, 0),
        answer,
      ]);
      const data = setState(kernel, fd, uapi.VFIO_DEVICE_STATE_STOP_COPY);
      try {
        kernel.read(data, new Uint8Array(4));
      } finally {
        kernel.close(data);
      }
    };
    assert.throws(() => read(dataReply(2, new Uint8Array(5))), isError("EPROTO", /size is 5/));
    assert.throws(() => read(dataReply(2, new Uint8Array(3), 4)), isError("EPROTO", /3 sent/));
    assert.throws(
      () => read(dataReply(2, new Uint8Array(3), 0xffff_ffff)),
      isError("EPROTO", /size is 4294967295/),
    );
  });

  it("does not connect with a version, a twin socket or fds that cannot be", () => {
    const memfd = os.memfd("unasked", 0);
    const before = fdsOf("unasked");
    const major = version().bytes.slice();
    major[16] = 1;
    const minor = version().bytes.slice();
    minor[18] = 2;
    const cases: [Scripted, string, RegExp][] = [
      [{ bytes: major }, "EPROTO", /version 1\.1/],
      [{ bytes: minor }, "EPROTO", /version 0\.2/],
      [reply(0, wire.VFIO_USER_VERSION, new Uint8Array(2)), "EPROTO", /2 bytes/],
      [reply(0, wire.VFIO_USER_VERSION, new Uint8Array(20_000)), "EPROTO", /20000/],
      [version({ twinSocket: true }), "EPROTO", /twin socket/],
      [
        { ...version({ twinSocket: true, twinSocketFdIndex: 2 }), fds: [memfd, memfd] },
        "EPROTO",
        /twin socket/,
      ],
      [{ ...version(), fds: Array(9).fill(memfd) }, "EPROTO", /8 fds/],
      [refusal(0, wire.VFIO_USER_VERSION, ERRNO.EINVAL), "EINVAL", /VFIO_USER_VERSION/],
      [{ bytes: new Uint8Array(0) }, "ECONNRESET", /closed/],
    ];
    for (const [answer, code, detail] of cases) {
      using server = new ScriptedServer([answer]);
      const kernel = new VfioUserKernel(PATH, { connect: server.connect });
      assert.throws(() => kernel.open(PATH, O_RDWR), isError(code, detail));
    }
    // What came with an answer that was taken is closed too.
    using server = new ScriptedServer([{ ...version(), fds: [memfd, memfd] }]);
    const kernel = new VfioUserKernel(PATH, { connect: server.connect });
    kernel.close(kernel.open(PATH, O_RDWR));
    assert.equal(fdsOf("unasked"), before);
    os.close(memfd);
  });

  it("has a limited time to answer", () => {
    const server = new ScriptedServer([], "stays");
    closing.push(server);
    const kernel = new VfioUserKernel(PATH, { connect: server.connect, timeoutMs: 0 });
    assert.throws(() => kernel.open(PATH, O_RDWR), isError("ETIMEDOUT", /did not .* within/));
  });

  it("has that time for a whole message, and is asked for nothing more after it", () => {
    const answer = reply(1, wire.VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({}));
    const cut = { bytes: answer.bytes.slice(0, 20) };
    const server = new ScriptedServer([version(), cut], "stays");
    closing.push(server);
    // Enough for the first message, which is there, on a slow machine too.
    const kernel = new VfioUserKernel(PATH, { connect: server.connect, timeoutMs: 3000 });
    const fd = kernel.open(PATH, O_RDWR);
    const ask = (): number =>
      kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({}));
    assert.throws(ask, isError("ETIMEDOUT", /did not .*, while .* VFIO_USER_DEVICE_GET_INFO/));
    const asked = server.requests().length;
    assert.throws(ask, isError("ETIMEDOUT"));
    assert.equal(asked, 2);
    assert.throws(
      () => server.send(answer),
      (error) => isErrno(error, "EPIPE"),
    );
    kernel.close(fd);
  });
});

describe("the fds of a device behind a socket", () => {
  it("end its connection with the last of them", () => {
    const server = new ScriptedServer([version()], "stays");
    closing.push(server);
    const kernel = new VfioUserKernel(PATH, { connect: server.connect, timeoutMs: 60_000 });
    const first = kernel.open(PATH, O_RDWR);
    const second = kernel.open("/dev/vfio/devices/vfio0", O_RDWR);
    const third = os.memfd("third", 0);
    kernel.dup3(second, third);
    for (const fd of [first, second]) {
      kernel.close(fd);
      server.send(reply(fd === first ? 1 : 2, wire.VFIO_USER_DEVICE_RESET));
      kernel.ioctl(third, uapi.VFIO_DEVICE_RESET);
    }
    assert.match(os.readLink(`/proc/self/fd/${third}`), /socket/);
    server.received();
    // Another file takes its place.
    const other = os.memfd("other", 0);
    kernel.dup3(other, third);
    assert.match(os.readLink(`/proc/self/fd/${third}`), /other/);
    assert.throws(
      () => server.send(reply(3, wire.VFIO_USER_DEVICE_RESET)),
      (error) => isErrno(error, "EPIPE"),
    );
    kernel.close(third);
    kernel.close(other);
  });
});
