import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { Fd } from "../../src/kernel/fd.ts";
import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { AnswerError } from "../../src/vfio/device/answer_error.ts";
import { ARGSZ_MAX } from "../../src/vfio/device/argsz.ts";
import { readRegion, type Region } from "../../src/vfio/device/region.ts";
import { FakeKernel } from "./_fake_kernel.ts";
import { capability, fakeDevice, type FakeRegion, join } from "./_fake_vfio.ts";

function describe(region: FakeRegion): Region {
  const kernel = new FakeKernel();
  const fd = kernel.install(fakeDevice({ regions: { 9: region } }));
  return readRegion(Fd.borrow(kernel, fd, "device x"), 9);
}

const MAPPABLE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP;

it("type and sparse areas are read from a chain that needs a second call", () => {
  const region = describe({
    flags: MAPPABLE,
    size: 0x5000n,
    offset: 9n << 40n,
    capabilities: join(
      capability(VFIO_REGION_INFO_CAP_SPARSE_MMAP, 80, [
        2,
        0,
        0x3000,
        0,
        0x2000,
        0,
        0x1000,
        0,
        0,
        0,
      ]),
      capability(77, 88),
      capability(VFIO_REGION_INFO_CAP_TYPE, 0, [3, 1]),
    ),
  });
  assert.deepEqual(region.type, { type: 3, subtype: 1 });
  assert.deepEqual(region.sparse, [
    { offset: 0x3000n, size: 0x2000n },
    { offset: 0x1000n, size: 0n },
  ]);
  assert.deepEqual(region.capabilities.map(({ id }) => id), [1, 77, 2]);
  assert.deepEqual([region.readable, region.writable, region.mappable], [true, false, true]);
});

it("a region without capabilities has neither type nor sparse areas", () => {
  const region = describe({ flags: MAPPABLE, size: 4096n });
  assert.equal(region.type, null);
  assert.equal(region.sparse, null);
  assert.deepEqual(region.capabilities, []);
});

it("a region that ends beyond 2^53 is refused", () => {
  const wrong = [
    { size: 1n << 53n, offset: 0n },
    { size: 1n, offset: (1n << 64n) - 1n },
    { size: (1n << 64n) - 1n, offset: (1n << 64n) - 1n },
  ];
  for (const place of wrong) assert.throws(() => describe(place), /region 9 .* end beyond 2\^53/);
});

it("capabilities that contradict their length or the region are errors that name them", () => {
  const sparse = (body: number[]): FakeRegion => ({
    flags: MAPPABLE,
    size: 0x5000n,
    capabilities: capability(VFIO_REGION_INFO_CAP_SPARSE_MMAP, 0, body),
  });
  assert.throws(
    () => describe(sparse([])),
    /capability 1 at offset 32 is truncated: 8 of 16 bytes/,
  );
  assert.throws(() => describe(sparse([0xffff_ffff, 0, 0, 0, 0, 0])), {
    name: "CapabilityError",
    defect: "truncated",
  });
  assert.throws(
    () => describe(sparse([1, 0, 0x4000, 0, 0x1001, 0])),
    /area 0 ends 0x1 bytes outside/,
  );
  assert.throws(
    () => describe(sparse([1, 0, 0xffff_f000, 0xffff_ffff, 0x2000, 0])),
    { defect: "contents" },
  );
  const type = capability(VFIO_REGION_INFO_CAP_TYPE, 0, [3]);
  assert.throws(() => describe({ capabilities: type }), /capability 2 .* is truncated: 12 of 16/);
});

it("an argsz that grows without end or beyond its limit is refused", () => {
  const grow = (next: (room: number) => number): () => Region => () => {
    const kernel = new FakeKernel();
    const fd = kernel.install({
      ioctl(_request, arg): number {
        const view = new DataView((arg as Uint8Array<ArrayBuffer>).buffer);
        view.setUint32(0, next(view.getUint32(0, true)), true);
        return 0;
      },
    });
    return readRegion(Fd.borrow(kernel, fd, "device x"), 9);
  };
  assert.throws(grow((room) => room + 1), /VFIO_DEVICE_GET_REGION_INFO of device x: argsz grows/);
  assert.throws(grow(() => 0xffff_ffff), /argsz 4294967295 is more than the limit of 65536/);
  assert.equal(grow((room) => room < ARGSZ_MAX ? ARGSZ_MAX : room)().size, 0n);
  assert.equal(grow(() => 0)().size, 0n);
});

it("capabilities announced at an offset behind argsz are not read", () => {
  const kernel = new FakeKernel();
  const fd = kernel.install({
    ioctl(_request, arg): number {
      vfioRegionInfo.pack(
        { argsz: 32, flags: VFIO_REGION_INFO_FLAG_CAPS, cap_offset: 32 },
        arg as Uint8Array<ArrayBuffer>,
      );
      return 0;
    },
  });
  const label = Fd.borrow(kernel, fd, "device x");
  assert.throws(() => readRegion(label, 9), { defect: "outside" });
});

it("a failing ioctl names the request and the device", () => {
  const kernel = new FakeKernel();
  const fd = kernel.install(
    fakeDevice({ failing: new Map([[VFIO_DEVICE_GET_REGION_INFO, "EIO"]]) }),
  );
  assert.throws(() => readRegion(Fd.borrow(kernel, fd, "device x"), 9), {
    name: "SysError",
    message: "ioctl VFIO_DEVICE_GET_REGION_INFO device x: EIO (input/output error)",
  });
});

it("random capabilities end in a region or an AnswerError", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8, maxLength: 200 }),
      fc.constantFrom(1, 2),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      (random, id, size) => {
        const capabilities = new Uint8Array(new ArrayBuffer(random.length));
        capabilities.set(random);
        // An id that is decoded, and an end: so the contents get their turn too.
        capabilities.set([id, 0], 0);
        if (random[4]! < 200) capabilities.set([0, 0, 0, 0], 4);
        try {
          describe({ flags: MAPPABLE, size, capabilities });
        } catch (error) {
          assert.ok(error instanceof AnswerError, String(error));
        }
      },
    ),
    { numRuns: 500 },
  );
});
