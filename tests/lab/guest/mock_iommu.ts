/**
 * The IOMMU that the kernel's own tests of iommufd make up (CONFIG_IOMMUFD_TEST): it tracks dirty
 * pages, and its devices write where they are told to. No VFIO device attaches to it.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Kernel } from "../../../src/kernel/mod.ts";
import { IOMMU_DESTROY, iommuDestroy } from "../../../src/uapi/mod.ts";
import { Ioas, Iommufd } from "../../../src/vfio/mod.ts";
import type { BoundDevice, HwptHost } from "../../vfio/hwpt_cases/mod.ts";

/** `IOMMU_TEST_CMD` of drivers/iommu/iommufd/iommufd_test.h. */
const IOMMU_TEST_CMD = 0x3ba0;
/** `sizeof(struct iommu_test_cmd)`: a header of 16 bytes, a union, and `last`. */
const SIZE = 72;
const MOCK_DOMAIN_REPLACE = 10;
const MOCK_DOMAIN_FLAGS = 12;
const DIRTY = 13;
const NO_DIRTY = 1 << 0;
/** Its pages are half of the kernel's. */
const MOCK_PAGE = 2048n;

/** Why a kernel has no such IOMMU; null if it has. */
export function lacksMockIommu(kernel: Kernel): string | null {
  if (!existsSync("/dev/iommu")) return "this kernel has no /dev/iommu (CONFIG_IOMMUFD)";
  using iommufd = Iommufd.open(kernel);
  using ioas = Ioas.allocate(iommufd);
  try {
    mockDevice(kernel, iommufd.fd.number, ioas.id, true).close();
    return null;
  } catch (error) {
    switch ((error as { code?: string }).code) {
      case "ENOTTY":
        return "this kernel has no mock IOMMU (CONFIG_IOMMUFD_TEST)";
      // The mock device is taken for one behind the hardware's IOMMU.
      case "EINVAL":
        return "another IOMMU is there: boot with --append intel_iommu=off";
      default:
        throw error;
    }
  }
}

/** Does an operation on an object; returns the argument as the kernel leaves it. */
function test(
  kernel: Kernel,
  iommufd: number,
  op: number,
  id: number,
  fill: (view: DataView) => void,
): DataView {
  const argument = new Uint8Array(SIZE);
  const view = new DataView(argument.buffer);
  view.setUint32(0, SIZE, true);
  view.setUint32(4, op, true);
  view.setUint32(8, id, true);
  fill(view);
  kernel.ioctl(iommufd, IOMMU_TEST_CMD, argument);
  return view;
}

/** Makes a device behind the mock IOMMU, attached to an IOAS. */
export function mockDevice(
  kernel: Kernel,
  iommufd: number,
  ioas: number,
  tracks: boolean,
): BoundDevice {
  const made = test(kernel, iommufd, MOCK_DOMAIN_FLAGS, ioas, (view) => {
    view.setUint32(28, tracks ? 0 : NO_DIRTY, true);
  });
  const [device, id] = [made.getUint32(16, true), made.getUint32(24, true)];
  return {
    id,
    attach: (table) =>
      void test(kernel, iommufd, MOCK_DOMAIN_REPLACE, device, (view) => {
        view.setUint32(16, table, true);
      }),
    write: (table, iova) => {
      using bits = kernel.mmap(4096, { prot: 3, flags: 0x22 });
      bits.write(0, new Uint8Array([1]));
      test(kernel, iommufd, DIRTY, table, (view) => {
        view.setBigUint64(24, iova, true);
        view.setBigUint64(32, 2n * MOCK_PAGE, true);
        view.setBigUint64(40, MOCK_PAGE, true);
        view.setBigUint64(48, bits.address, true);
      });
    },
    close: () => void kernel.ioctl(iommufd, IOMMU_DESTROY, iommuDestroy.pack({ id: device })),
  };
}

/** A kernel with such an IOMMU. */
export function mockHost(kernel: Kernel): HwptHost {
  return { kernel, bind: (iommufd, ioas, tracks) => mockDevice(kernel, iommufd, ioas, tracks) };
}
