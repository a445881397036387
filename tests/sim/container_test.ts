import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, O_RDWR, PROT_READ } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  vfioGroupStatus,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIrqInfo,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { bytes, Client, int, text } from "./_client.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

function map(client: Client, iova: bigint, size: bigint): void {
  const arg = vfioIommuType1DmaMap.pack({ flags: VFIO_DMA_MAP_FLAG_READ, iova, size });
  client.kernel.ioctl(client.container, VFIO_IOMMU_MAP_DMA, arg);
}

function unmap(client: Client, iova: bigint, size: bigint, flags = 0): bigint {
  const arg = vfioIommuType1DmaUnmap.pack({ flags, iova, size });
  client.kernel.ioctl(client.container, VFIO_IOMMU_UNMAP_DMA, arg);
  return vfioIommuType1DmaUnmap.unpack(arg).size;
}

describe("fds of the simulated kernel", () => {
  it("are numbered from 3, the lowest free one first, and closed once", () => {
    const kernel = new SimKernel("trapped");
    assert.equal(kernel.open("/dev/vfio/vfio", O_RDWR), 3);
    assert.equal(kernel.open("/dev/vfio/vfio", O_RDWR), 4);
    kernel.close(3);
    assert.equal(kernel.open("/dev/vfio/0", O_RDWR), 3);
    kernel.close(3);
    kernel.close(4);
    refused("EBADF", () => kernel.close(4));
    refused("EBADF", () => kernel.ioctl(4, VFIO_GROUP_GET_STATUS));
    refused("EBADF", () => kernel.pread(4, bytes(4), 0));
  });

  it("have requests by the kind of file: one number has a meaning per kind", () => {
    using client = Client.of("trapped");
    // 0x3b70 is both VFIO_IOMMU_GET_INFO and VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.
    const arg = bytes(64);
    new DataView(arg.buffer).setUint32(0, 24, true);
    assert.equal(client.kernel.ioctl(client.container, VFIO_IOMMU_GET_INFO, arg), 0);
    refused("ENOTTY", () => client.kernel.ioctl(client.fd, VFIO_IOMMU_GET_INFO, arg));
    refused("ENOTTY", () => client.kernel.ioctl(client.group, VFIO_IOMMU_GET_INFO, arg));
    refused("ENOTTY", () => client.kernel.ioctl(client.container, VFIO_DEVICE_RESET, arg));
  });

  it("of groups and containers cannot be read", () => {
    using client = Client.of("trapped");
    for (const fd of [client.group, client.container]) {
      refused("EINVAL", () => client.kernel.pread(fd, bytes(4), 0));
      refused("EINVAL", () => client.kernel.read(fd, bytes(4)));
    }
  });

  it("refuse an argument that is too short with EFAULT, and a small argsz with EINVAL", () => {
    using client = Client.of("trapped");
    const { kernel, container, group, fd } = client;
    refused("EFAULT", () => kernel.ioctl(group, VFIO_GROUP_GET_STATUS));
    refused("EFAULT", () => kernel.ioctl(group, VFIO_GROUP_GET_STATUS, bytes(7)));
    refused("EINVAL", () => kernel.ioctl(group, VFIO_GROUP_GET_STATUS, bytes(8)));
    refused("EFAULT", () => kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, bytes(15)));
    refused("EINVAL", () => kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, bytes(16)));
    refused("EFAULT", () => kernel.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, bytes(31)));
    refused("EINVAL", () => kernel.ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, bytes(32)));
    refused("EFAULT", () => kernel.ioctl(container, VFIO_IOMMU_MAP_DMA, bytes(31)));
    refused("EINVAL", () => kernel.ioctl(container, VFIO_IOMMU_MAP_DMA, bytes(32)));
    // argsz claims more bytes than the buffer has.
    const info = bytes(24);
    new DataView(info.buffer).setUint32(0, 1024, true);
    refused("EFAULT", () => kernel.ioctl(container, VFIO_IOMMU_GET_INFO, info));
    refused("EFAULT", () => kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bytes(0)));
    const unended = new TextEncoder().encode("no NUL") as Uint8Array<ArrayBuffer>;
    refused("EFAULT", () => kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, unended));
  });
});

describe("a simulated device's file", () => {
  it("reports its regions, with or without room for the capabilities", () => {
    using client = Client.of("mapped");
    const info = (argsz: number) => vfioRegionInfo.unpack(client.regionInfo(9, argsz));
    const short = info(32);
    assert.equal(short.argsz, 32 + 16 + 32);
    assert.equal(short.cap_offset, 0);
    assert.equal(short.flags, 15);
    assert.equal(info(79).cap_offset, 0);
    const whole = info(short.argsz);
    assert.equal(whole.cap_offset, 32);
    assert.equal(whole.offset, 9n << 40n);
    assert.equal(whole.size, 0x101000n);
    assert.deepEqual(vfioRegionInfo.unpack(client.regionInfo(3)), {
      argsz: 4096,
      flags: 0,
      index: 3,
      cap_offset: 0,
      size: 0n,
      offset: 3n << 40n,
    });
    refused("EINVAL", () => client.regionInfo(8));
    refused("EINVAL", () => client.kernel.pread(client.fd, bytes(4), 3 * 2 ** 40));
  });

  it("reports its interrupts", () => {
    using client = Client.of("trapped");
    const irq = (index: number) => {
      const arg = vfioIrqInfo.pack({ index });
      client.kernel.ioctl(client.fd, VFIO_DEVICE_GET_IRQ_INFO, arg);
      const { flags, count } = vfioIrqInfo.unpack(arg);
      return [flags, count];
    };
    assert.deepEqual([0, 1, 2, 4].map(irq), [[7, 0], [9, 0], [9, 0], [9, 1]]);
    refused("EINVAL", () => irq(3));
    refused("EINVAL", () => irq(5));
  });

  it("has no features if it is a v1 device", () => {
    using client = Client.of("trapped");
    const feature = (flags: number, argsz = 16): number => {
      const arg = bytes(16);
      new DataView(arg.buffer).setUint32(0, argsz, true);
      new DataView(arg.buffer).setUint32(4, flags, true);
      return client.kernel.ioctl(client.fd, VFIO_DEVICE_FEATURE, arg);
    };
    refused("ENOTTY", () => feature(VFIO_DEVICE_FEATURE_GET | 1));
    refused("ENOTTY", () => feature(VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | 99));
    refused("EINVAL", () => feature(VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | 1));
    refused("EINVAL", () => feature(1 << 20));
    refused("EINVAL", () => feature(VFIO_DEVICE_FEATURE_GET, 7));
  });
});

describe("a simulated group", () => {
  const unset = (client: Client) => client.kernel.ioctl(client.group, VFIO_GROUP_UNSET_CONTAINER);

  it("stays open, in its container, as long as one of its devices is open", () => {
    const client = Client.of("trapped");
    const { kernel, group, container, fd } = client;
    refused("EBUSY", () => unset(client));
    kernel.close(group);
    kernel.close(container);
    refused("EBUSY", () => kernel.open("/dev/vfio/0", O_RDWR));
    assert.equal(client.state, 1);
    kernel.close(fd);
    assert.deepEqual(kernel.openObjects, []);
    kernel.close(kernel.open("/dev/vfio/0", O_RDWR));
  });

  it("stays open as long as its device is mapped", () => {
    const client = Client.of("mapped");
    const { kernel } = client;
    client.map();
    kernel.close(client.fd);
    kernel.close(client.group);
    refused("EBUSY", () => kernel.open("/dev/vfio/0", O_RDWR));
    assert.equal(kernel.openObjects.length, 2);
  });

  it("refuses a file that is not a container", () => {
    const kernel = new SimKernel("trapped", "trapped");
    const group = kernel.open("/dev/vfio/0", O_RDWR);
    refused("EBADF", () => kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int(99)));
    refused("EINVAL", () => kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int(group)));
    refused("EFAULT", () => kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, bytes(3)));
    refused("EINVAL", () => kernel.ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
  });

  it("shares a container with another group; the mappings end with the last group", () => {
    const kernel = new SimKernel("trapped", "trapped");
    const client = new Client(kernel, 0);
    const other = kernel.open("/dev/vfio/1", O_RDWR);
    kernel.ioctl(other, VFIO_GROUP_SET_CONTAINER, int(client.container));
    map(client, 0n, 0x1000n);
    kernel.close(client.fd);
    kernel.close(client.group);
    refused("EEXIST", () => map(client, 0n, 0x1000n));
    kernel.close(other);
    refused("EINVAL", () => map(client, 0n, 0x1000n));
  });

  it("opens a device any number of times", () => {
    using client = Client.of("trapped");
    const { kernel, group, device } = client;
    const second = kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, text(device.path));
    client.state = 2;
    const raw = bytes(4);
    kernel.pread(second, raw, 9 * 2 ** 40);
    assert.equal(raw[0]! & 7, 2);
    kernel.close(second);
    assert.equal(client.state, 2);
  });

  it("is not viable if one of its devices is bound to a host driver", () => {
    const kernel = new SimKernel("trapped?fault=group-not-viable");
    const container = kernel.open("/dev/vfio/vfio", O_RDWR);
    const group = kernel.open("/dev/vfio/0", O_RDWR);
    const status = vfioGroupStatus.pack({});
    kernel.ioctl(group, VFIO_GROUP_GET_STATUS, status);
    assert.equal(vfioGroupStatus.unpack(status).flags, 0);
    refused("EPERM", () => kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int(container)));
  });
});

describe("the simulated IOMMU", () => {
  it("maps up to the last byte of the address space, and not beyond", () => {
    using client = Client.of("trapped");
    const last = (1n << 64n) - 0x1000n;
    map(client, last, 0x1000n);
    refused("EINVAL", () => map(client, last - 0x1000n, 0x3000n));
    refused("EINVAL", () => unmap(client, last, 0x2000n));
    // In Linux before 6.19 a range up to 2^64 ends at 0, so it is empty.
    assert.equal(unmap(client, last, 0x1000n), 0n);
    assert.equal(unmap(client, 0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL), 0x1000n);
  });

  it("unmaps everything at once", () => {
    using client = Client.of("trapped");
    map(client, 0n, 0x3000n);
    map(client, 0x10000n, 0x1000n);
    refused("EINVAL", () => unmap(client, 0x1000n, 0n, VFIO_DMA_UNMAP_FLAG_ALL));
    assert.equal(unmap(client, 0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL), 0x4000n);
    assert.equal(unmap(client, 0n, 0n, VFIO_DMA_UNMAP_FLAG_ALL), 0n);
  });

  it("has room for 65535 mappings", () => {
    using client = Client.of("trapped");
    for (let i = 0n; i < 65535n; i += 1n) map(client, i * 0x2000n, 0x1000n);
    refused("ENOSPC", () => map(client, 1n << 40n, 0x1000n));
    unmap(client, 0x4000n, 0x1000n);
    map(client, 1n << 40n, 0x1000n);
  });

  it("of TYPE1 unmaps a whole mapping when asked for its first part", () => {
    const kernel = new SimKernel("trapped?fault=type1-only");
    const container = kernel.open("/dev/vfio/vfio", O_RDWR);
    const group = kernel.open("/dev/vfio/0", O_RDWR);
    kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int(container));
    refused("ENODEV", () => kernel.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
    kernel.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU);
    const arg = vfioIommuType1DmaMap.pack({ flags: VFIO_DMA_MAP_FLAG_READ, size: 0x4000n });
    kernel.ioctl(container, VFIO_IOMMU_MAP_DMA, arg);
    const part = (iova: bigint): bigint => {
      const unmapping = vfioIommuType1DmaUnmap.pack({ iova, size: 0x1000n });
      kernel.ioctl(container, VFIO_IOMMU_UNMAP_DMA, unmapping);
      return vfioIommuType1DmaUnmap.unpack(unmapping).size;
    };
    assert.equal(part(0x1000n), 0n);
    assert.equal(part(0n), 0x4000n);
  });

  it("keeps its mappings like a naive list", () => {
    const step = fc.record({
      map: fc.boolean(),
      first: fc.integer({ min: 0, max: 40 }),
      count: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      using client = Client.of("trapped?size=4KiB");
      // One entry per page: the first page of its mapping, and the mapping's number of pages.
      const naive = new Map<number, { first: number; count: number }>();
      for (const { map: mapping, first, count } of steps) {
        const range = Array.from({ length: count }, (_, i) => first + i);
        const act = (): bigint | void =>
          mapping
            ? map(client, BigInt(first) * 4096n, BigInt(count) * 4096n)
            : unmap(client, BigInt(first) * 4096n, BigInt(count) * 4096n);
        const hit = range.map((page) => naive.get(page)).filter((entry) => entry !== undefined);
        if (mapping && hit.length > 0) refused("EEXIST", act);
        else if (mapping) {
          act();
          for (const page of range) naive.set(page, { first, count });
        } else if (
          hit.some((entry) => entry.first < first || entry.first + entry.count > first + count)
        ) refused("EINVAL", act);
        else {
          assert.equal(act(), BigInt(hit.length) * 4096n);
          for (const page of range) naive.delete(page);
        }
      }
    }));
  });
});

describe("memory of the simulated process", () => {
  const anonymous = { prot: PROT_READ, flags: MAP_PRIVATE | MAP_ANONYMOUS };

  it("has addresses, holds bytes, and is gone after closing", () => {
    const kernel = new SimKernel();
    const one = kernel.mmap(5000, anonymous);
    const two = kernel.mmap(4096, anonymous);
    assert.ok(two.address >= one.address + 8192n);
    one.write(4990, new Uint8Array([1, 2, 3]));
    const back = bytes(4);
    one.read(4989, back);
    assert.deepEqual([...back], [0, 1, 2, 3]);
    assert.throws(() => one.read(4998, back), RangeError);
    assert.throws(() => one.write(-1, back), RangeError);
    assert.equal(kernel.openObjects.length, 2);
    one.close();
    one.close();
    assert.throws(() => one.read(0, back), /closed/);
    two.close();
    assert.deepEqual(kernel.openObjects, []);
  });

  it("cannot be mapped if mmap would refuse it", () => {
    using client = Client.of("mapped", "trapped");
    const { kernel, fd, group } = client;
    const at = 9 * 2 ** 40;
    const shared = { prot: PROT_READ, flags: 1 };
    refused("EINVAL", () => kernel.mmap(0, anonymous));
    refused("EINVAL", () => kernel.mmap(4096, { prot: PROT_READ, flags: MAP_ANONYMOUS }));
    refused("EBADF", () => kernel.mmap(4096, { ...shared, fd: 77 }));
    refused("ENODEV", () => kernel.mmap(4096, { ...shared, fd: group }));
    refused("EINVAL", () => kernel.mmap(4096, { ...shared, fd, offset: at + 1 }));
    // The registers, beyond the end, another region, a private mapping.
    refused("EINVAL", () => kernel.mmap(4096, { ...shared, fd, offset: at }));
    refused("EINVAL", () => kernel.mmap(2 ** 21, { ...shared, fd, offset: at + 4096 }));
    refused("EINVAL", () => kernel.mmap(4096, { ...shared, fd, offset: 0 }));
    const copy = { prot: PROT_READ, flags: MAP_PRIVATE, fd, offset: at + 4096 };
    refused("EINVAL", () => kernel.mmap(4096, copy));
    kernel.mmap(4096, { ...shared, fd, offset: BigInt(at) + 4096n }).close();
  });
});
