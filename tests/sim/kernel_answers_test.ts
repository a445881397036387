/**
 * What kernel 6.1 answered, call by call, to a program that asked it about an
 * mdev: the simulated kernel must answer the same.
 */

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DMA_CC_IOMMU,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
  VFIO_UPDATE_VADDR,
  vfioDeviceFeature,
  vfioDeviceInfo,
  vfioGroupStatus,
  vfioInfoCapHeader,
  vfioIommuType1DirtyBitmap,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
  vfioIommuType1InfoCapMigration,
  vfioIommuType1InfoDmaAvail,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { bytes, int, text } from "./_client.ts";

const PAGE = 4096n;
const RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
/** No dma of the process lies here; an mdev's container does not look. */
const VADDR = 0x10_0000_0000n;

/** The process that asks. Its steps follow each other as in the recording. */
class Asker {
  readonly kernel = new SimKernel("trapped?size=64KiB");
  container = -1;
  group = -1;
  device = -1;
  /** What the last call wrote into its argument. */
  seen = "";

  ioctl(fd: number, request: number, arg: Uint8Array<ArrayBuffer> | number = 0): number {
    return this.kernel.ioctl(fd, request, arg);
  }

  extension(number: number): number {
    return this.ioctl(this.container, VFIO_CHECK_EXTENSION, number);
  }

  info(argsz: number, length = argsz): number {
    const arg = bytes(Math.max(length, 8));
    new DataView(arg.buffer).setUint32(0, argsz, true);
    const result = this.ioctl(this.container, VFIO_IOMMU_GET_INFO, arg);
    const whole = bytes(4096);
    whole.set(arg);
    const info = vfioIommuType1Info.unpack(whole);
    this.seen = `flags 0x${info.flags.toString(16)} argsz ${info.argsz}` +
      ` pgsizes 0x${info.iova_pgsizes.toString(16)} cap_offset ${info.cap_offset}`;
    for (let at = info.cap_offset; at !== 0;) {
      const { id, version, next } = vfioInfoCapHeader.unpack(arg, at);
      this.seen += `; id ${id} version ${version} at ${at} next ${next}`;
      if (id === 2) {
        const cap = vfioIommuType1InfoCapMigration.unpack(arg, at);
        this.seen += ` 0x${cap.pgsize_bitmap.toString(16)} ${cap.max_dirty_bitmap_size}`;
      }
      if (id === 3) this.seen += ` ${vfioIommuType1InfoDmaAvail.unpack(arg, at).avail}`;
      at = next;
    }
    return result;
  }

  map(iova: bigint, size: bigint, flags = RW, vaddr = VADDR): number {
    const arg = vfioIommuType1DmaMap.pack({ flags, vaddr, iova, size });
    return this.ioctl(this.container, VFIO_IOMMU_MAP_DMA, arg);
  }

  unmap(iova: bigint, size: bigint, flags = 0, argsz = 24, length = argsz): number {
    const arg = bytes(Math.max(length, 24));
    const { data: _, ...fields } = vfioIommuType1DmaUnmap.unpack(
      vfioIommuType1DmaUnmap.pack({ flags, iova, size }),
    );
    vfioIommuType1DmaUnmap.pack({ ...fields, argsz }, arg);
    const result = this.ioctl(this.container, VFIO_IOMMU_UNMAP_DMA, arg.subarray(0, length));
    this.seen = `unmapped ${new DataView(arg.buffer).getBigUint64(16, true) / PAGE} pages`;
    return result;
  }
}

interface Row {
  /** The line's first column. */
  readonly call: string;
  readonly ask: (asker: Asker) => number;
  /** The second column: a result or an errno. */
  readonly answer: number | string;
  /** The third. */
  readonly seen?: string;
}

const pages = (n: number): bigint => BigInt(n) * PAGE;

const ROWS: readonly Row[] = [
  {
    call: "open /dev/vfio/vfio",
    ask: (a) => (a.container = a.kernel.open("/dev/vfio/vfio", O_RDWR)) && 0,
    answer: 0,
  },
  {
    call: "GET_API_VERSION",
    ask: (a) => a.ioctl(a.container, VFIO_GET_API_VERSION),
    answer: 0,
  },
  {
    call: "CHECK_EXTENSION TYPE1 (1), no group yet",
    ask: (a) => a.extension(VFIO_TYPE1_IOMMU),
    answer: 1,
  },
  {
    call: "CHECK_EXTENSION TYPE1v2 (3), no group yet",
    ask: (a) => a.extension(VFIO_TYPE1v2_IOMMU),
    answer: 1,
  },
  {
    call: "CHECK_EXTENSION NESTING (6)",
    ask: (a) => a.extension(VFIO_TYPE1_NESTING_IOMMU),
    answer: 1,
  },
  {
    call: "CHECK_EXTENSION UNMAP_ALL (9)",
    ask: (a) => a.extension(VFIO_UNMAP_ALL),
    answer: 1,
  },
  {
    call: "CHECK_EXTENSION UPDATE_VADDR (10)",
    ask: (a) => a.extension(VFIO_UPDATE_VADDR),
    answer: 0,
  },
  {
    call: "SET_IOMMU TYPE1v2 with no group",
    ask: (a) => a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
    answer: "EINVAL",
  },
  {
    call: "DIRTY_PAGES START before SET_IOMMU",
    ask: (a) =>
      a.ioctl(
        a.container,
        VFIO_IOMMU_DIRTY_PAGES,
        vfioIommuType1DirtyBitmap.pack({ flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_START }),
      ),
    answer: "EINVAL",
  },
  {
    call: "open group",
    ask: (a) => (a.group = a.kernel.open("/dev/vfio/0", O_RDWR)) && 0,
    answer: 0,
  },
  { call: "open group twice", ask: (a) => a.kernel.open("/dev/vfio/0", O_RDWR), answer: "EBUSY" },
  {
    call: "GROUP_GET_STATUS",
    ask: (a) => {
      const status = vfioGroupStatus.pack({});
      const result = a.ioctl(a.group, VFIO_GROUP_GET_STATUS, status);
      a.seen = `flags 0x${vfioGroupStatus.unpack(status).flags}`;
      return result;
    },
    answer: 0,
    seen: "flags 0x1",
  },
  {
    call: "GET_DEVICE_FD before a container is set",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, text(a.kernel.devices[0]!.path)),
    answer: "EINVAL",
  },
  {
    call: "GROUP_SET_CONTAINER",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_SET_CONTAINER, int(a.container)),
    answer: 0,
  },
  {
    call: "GROUP_SET_CONTAINER twice",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_SET_CONTAINER, int(a.container)),
    answer: "EINVAL",
  },
  {
    call: "GET_DEVICE_FD before SET_IOMMU",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, text(a.kernel.devices[0]!.path)),
    answer: "EINVAL",
  },
  {
    call: "CHECK_EXTENSION DMA_CC (4), group attached",
    ask: (a) => a.extension(VFIO_DMA_CC_IOMMU),
    answer: 0,
  },
  {
    call: "SET_IOMMU TYPE1v2",
    ask: (a) => a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
    answer: 0,
  },
  {
    call: "SET_IOMMU twice",
    ask: (a) => a.ioctl(a.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU),
    answer: "EINVAL",
  },
  {
    call: "GET_INFO argsz=16 (no cap_offset)",
    ask: (a) => a.info(16),
    answer: 0,
    seen: "flags 0x3 argsz 68 pgsizes 0xfffffffffffff000 cap_offset 0",
  },
  // The recording gave the kernel 16 bytes of memory whatever argsz was.
  { call: "GET_INFO argsz=8", ask: (a) => a.info(8, 16), answer: "EINVAL" },
  {
    call: "GET_INFO argsz=sizeof (24)",
    ask: (a) => a.info(24),
    answer: 0,
    seen: "flags 0x3 argsz 68 pgsizes 0xfffffffffffff000 cap_offset 0",
  },
  {
    call: "GET_INFO argsz=1024",
    ask: (a) => a.info(1024),
    answer: 0,
    seen: "flags 0x3 argsz 1024 pgsizes 0xfffffffffffff000 cap_offset 24" +
      "; id 2 version 1 at 24 next 56 0x1000 268435456; id 3 version 1 at 56 next 0 65535",
  },
  {
    call: "GET_DEVICE_FD wrong name",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, text("0000:00:00.0")),
    answer: "ENODEV",
  },
  {
    call: "GET_DEVICE_FD",
    ask: (a) => {
      a.device = a.ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, text(a.kernel.devices[0]!.path));
      return 0;
    },
    answer: 0,
  },
  {
    call: "DEVICE_GET_INFO",
    ask: (a) => {
      const arg = vfioDeviceInfo.pack({});
      const result = a.ioctl(a.device, VFIO_DEVICE_GET_INFO, arg);
      const { flags, num_regions, num_irqs, argsz } = vfioDeviceInfo.unpack(arg);
      a.seen = `flags 0x${flags} regions ${num_regions} irqs ${num_irqs} argsz ${argsz}`;
      return result;
    },
    answer: 0,
    seen: "flags 0x3 regions 10 irqs 5 argsz 20",
  },
  {
    call: "GET_REGION_INFO index = num_regions",
    ask: (a) => a.ioctl(a.device, VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo.pack({ index: 10 })),
    answer: "EINVAL",
  },
  {
    call: "DEVICE_FEATURE GET MIGRATION (v2)",
    ask: (a) =>
      a.ioctl(
        a.device,
        VFIO_DEVICE_FEATURE,
        vfioDeviceFeature.pack({
          flags: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
          data: bytes(8),
        }),
      ),
    answer: "ENOTTY",
  },
  { call: "DEVICE_RESET", ask: (a) => a.ioctl(a.device, VFIO_DEVICE_RESET), answer: 0 },

  { call: "MAP unaligned iova", ask: (a) => a.map(1n, PAGE), answer: "EINVAL" },
  { call: "MAP unaligned vaddr", ask: (a) => a.map(0n, PAGE, RW, VADDR + 1n), answer: "EINVAL" },
  { call: "MAP unaligned size", ask: (a) => a.map(0n, PAGE + 1n), answer: "EINVAL" },
  { call: "MAP size 0", ask: (a) => a.map(0n, 0n), answer: "EINVAL" },
  { call: "MAP flags 0", ask: (a) => a.map(0n, PAGE, 0), answer: "EINVAL" },
  { call: "MAP unknown flag", ask: (a) => a.map(0n, PAGE, RW | 8), answer: "EINVAL" },
  {
    call: "MAP wrapping iova",
    ask: (a) => a.map((1n << 64n) - PAGE, 2n * PAGE),
    answer: "EINVAL",
  },
  { call: "MAP vaddr not mapped in the process", ask: (a) => a.map(0n, PAGE), answer: 0 },
  { call: "UNMAP of that", ask: (a) => a.unmap(0n, PAGE), answer: 0 },
  {
    call: "MAP over 0xfee00000 (x86 MSI window)",
    ask: (a) => a.map(0xfee0_0000n, PAGE),
    answer: 0,
  },
  { call: "MAP pages 0-99", ask: (a) => a.map(0n, pages(100)), answer: 0 },
  { call: "MAP the same again", ask: (a) => a.map(0n, pages(100)), answer: "EEXIST" },
  { call: "MAP overlapping", ask: (a) => a.map(pages(99), pages(2)), answer: "EEXIST" },
  { call: "MAP pages 100-163", ask: (a) => a.map(pages(100), pages(64)), answer: 0 },
  { call: "MAP pages 256-383", ask: (a) => a.map(pages(256), pages(128)), answer: 0 },

  {
    call: "UNMAP+bitmap before START",
    ask: (a) => a.unmap(pages(256), pages(128), VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, 48),
    answer: "EINVAL",
  },
  {
    call: "UNMAP+bitmap argsz 24",
    ask: (a) => a.unmap(pages(256), pages(128), VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, 24),
    answer: "EINVAL",
  },
  {
    call: "UNMAP+bitmap with UNMAP_ALL",
    ask: (a) => a.unmap(0n, 0n, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL, 48),
    answer: "EINVAL",
  },
  {
    call: "UNMAP half of a mapping",
    ask: (a) => a.unmap(pages(256), pages(64)),
    answer: "EINVAL",
  },
  {
    call: "UNMAP larger range around a mapping",
    ask: (a) => {
      a.unmap(pages(256), pages(128));
      a.map(pages(512), pages(64));
      return a.unmap(pages(500), pages(200));
    },
    answer: 0,
    seen: "unmapped 64 pages",
  },
  {
    call: "UNMAP nothing there",
    ask: (a) => a.unmap(pages(500), pages(200)),
    answer: 0,
    seen: "unmapped 0 pages",
  },
  {
    call: "MAP after the device fd is closed",
    ask: (a) => {
      a.kernel.close(a.device);
      return a.map(pages(1000), pages(1));
    },
    answer: 0,
  },
  {
    call: "GROUP_UNSET_CONTAINER",
    ask: (a) => a.ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER),
    answer: 0,
  },
];

describe("the simulated kernel answers as kernel 6.1 did", () => {
  const asker = new Asker();
  for (const { call, ask, answer, seen } of ROWS) {
    it(call, () => {
      let got: number | string;
      try {
        got = ask(asker);
      } catch (error) {
        if (!isErrno(error, String(answer))) throw error;
        got = error.code;
      }
      assert.equal(got, answer);
      if (seen !== undefined) assert.equal(asker.seen, seen);
    });
  }
});
