import assert from "node:assert/strict";
import { it } from "node:test";
import linux6_1 from "../../fixtures/layouts/linux-6.1.json" with { type: "json" };
import {
  _IO,
  _IOR,
  _IOW,
  _IOWR,
  IOCTLS,
  IOMMUFD_TYPE,
  VFIO_BASE,
  VFIO_DEVICE_FEATURE,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_TYPE,
} from "../../src/uapi/mod.ts";

it("_IO, _IOR, _IOW and _IOWR compute the same numbers as the C macros", () => {
  assert.deepEqual({
    "_IO(';', 100)": _IO(";", 100),
    "_IO('T', 1)": _IO("T", 1),
    "_IOR('T', 48, 4)": _IOR("T", 48, 4),
    "_IOW('T', 49, 4)": _IOW("T", 49, 4),
    "_IOWR('d', 0, 64)": _IOWR("d", 0, 64),
    "_IOR(255, 255, 16383)": _IOR(255, 255, 16383),
    "_IOWR(0, 0, 1)": _IOWR(0, 0, 1),
  }, linux6_1.request_macros);
});

it("every VFIO request is _IO of VFIO_TYPE and a number from VFIO_BASE to 121", () => {
  const expected = new Set<number>();
  for (let nr = VFIO_BASE; nr <= 121; nr++) expected.add(_IO(VFIO_TYPE, nr));
  const numbers = Object.entries(IOCTLS).filter(([name]) => name.startsWith("VFIO_"));
  assert.deepEqual(new Set(numbers.map(([, number]) => number)), expected);
});

it("every iommufd request is _IO of IOMMUFD_TYPE and a number from 0x80 on", () => {
  const numbers = Object.entries(IOCTLS).filter(([name]) => name.startsWith("IOMMU_"));
  assert.deepEqual(
    numbers.map(([, number]) => number),
    [0x80, 0x81, 0x84, 0x85, 0x86, 0x89, 0x8a, 0x8b, 0x8c].map((nr) => _IO(IOMMUFD_TYPE, nr)),
  );
});

it("the same number has different meanings on a device and on a container", () => {
  assert.equal(VFIO_DEVICE_FEATURE, VFIO_IOMMU_DIRTY_PAGES);
  assert.equal(VFIO_MIG_GET_PRECOPY_INFO, 0x3b79);
});

it("a part that doesn't fit its bits is refused", () => {
  const refusals: [() => number, string][] = [
    [() => _IO("", 0), '_IO: type "" does not fit 8 bits'],
    [() => _IO("ab", 0), '_IO: type "ab" does not fit 8 bits'],
    [() => _IO("7", 256), "_IO: number 256 does not fit 8 bits"],
    [() => _IO("€", 0), "_IO: type 8364 does not fit 8 bits"],
    [() => _IO(-1, 0), "_IO: type -1 does not fit 8 bits"],
    [() => _IOR(1, 1.5, 0), "_IOR: number 1.5 does not fit 8 bits"],
    [() => _IOW(1, 1, 16384), "_IOW: size 16384 does not fit 14 bits"],
    [() => _IOWR(1, 1, NaN), "_IOWR: size NaN does not fit 14 bits"],
  ];
  for (const [make, words] of refusals) {
    assert.throws(make, new RangeError(`Cannot make a request with ${words}`));
  }
});
