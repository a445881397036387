/**
 * Dirty pages in page tables of an iommufd, by the kernel's own code over the IOMMU that its tests
 * make up.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type DirtyReading, IommufdTracker } from "../../../../src/dirty/mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { DmaMemory, Ioas, Iommufd, UnsupportedError } from "../../../../src/vfio/mod.ts";
import { askCases } from "../../../dirty/type1_cases/case.ts";
import { BASE, HWPT_CASES, HwptAsker, PAGE } from "../../../vfio/hwpt_cases/mod.ts";
import type { Case } from "../harness.ts";
import { lacksMockIommu, mockDevice, mockHost } from "../mock_iommu.ts";

const answers: readonly Case[] = HWPT_CASES.map((group) => ({
  name: `hwpt: every call answers as the simulator does: ${group.name}`,
  lacks: () => lacksMockIommu(libcKernel()),
  run: async () => {
    await Promise.resolve();
    using asker = new HwptAsker(mockHost(libcKernel()));
    const rows = [...askCases(group, { version: "6.12", hardware: true, dma: null }, asker)];
    assert.deepEqual(rows.filter(({ got, expected }) => got !== expected), []);
    assert.equal(rows.length, group.cases.length);
  },
}));

const tracker: Case = {
  name: "hwpt: the tracker says which pages were written, mapping by mapping",
  lacks: () => lacksMockIommu(libcKernel()),
  run: async () => {
    await Promise.resolve();
    const kernel = libcKernel();
    using iommufd = Iommufd.open(kernel);
    using ioas = Ioas.allocate(iommufd);
    using memory = DmaMemory.allocate(kernel, 1 << 20);
    const mock = mockDevice(kernel, iommufd.fd.number, ioas.id, true);
    const attached: number[] = [];
    const attach = (id: number): void => {
      attached.push(id);
      mock.attach(id);
    };
    try {
      const page = (number: number): bigint => BASE + BigInt(number) * PAGE;
      const range = (first: number, count: number) => ({
        iova: page(first),
        size: BigInt(count) * PAGE,
      });
      const maps = [range(0, 100), range(100, 28), range(192, 64)];
      for (const map of maps) ioas.map({ ...map, vaddr: memory.address, flags: 3 });
      using tracker = new IommufdTracker({ iommufdId: mock.id, attach }, ioas, 4096);
      const write = (...pages: number[]): void => {
        for (const number of pages) mock.write(attached[0]!, page(number));
      };
      const dirty = ({ ranges }: DirtyReading): bigint[] =>
        ranges.flatMap(({ bitmap }) => [...bitmap.pages()]);
      tracker.start();
      assert.deepEqual(dirty(tracker.read()), []);
      write(0, 99, 100, 127, 192, 255);
      assert.deepEqual(dirty(tracker.read()), [0, 99, 100, 127, 192, 255].map(page));
      assert.deepEqual(dirty(tracker.read()), []);
      write(98, 200);
      const { reading, unmapped, error } = tracker.unmapWithDirty(page(0), 128n * PAGE);
      assert.deepEqual([dirty(reading), unmapped, error], [[page(98)], 128n * PAGE, null]);
      assert.deepEqual(dirty(tracker.read()), [page(200)]);
      write(201);
      tracker.stop();
      tracker.start();
      assert.deepEqual(dirty(tracker.read()), []);
      tracker.close();
      assert.deepEqual(attached, [attached[0], ioas.id]);
    } finally {
      mock.close();
    }
  },
};

const other: Case = {
  name: "hwpt: a device whose IOMMU does not track is refused, and stays where it was",
  lacks: () => lacksMockIommu(libcKernel()),
  run: async () => {
    await Promise.resolve();
    const kernel = libcKernel();
    using iommufd = Iommufd.open(kernel);
    using ioas = Ioas.allocate(iommufd);
    const mock = mockDevice(kernel, iommufd.fd.number, ioas.id, false);
    try {
      const device = { iommufdId: mock.id, attach: () => assert.fail("it was attached") };
      assert.throws(() => new IommufdTracker(device, ioas, 4096), (error) => {
        assert.ok(error instanceof UnsupportedError);
        assert.deepEqual(error.reasons.map(({ code }) => code), ["no-iommufd-tracking"]);
        return true;
      });
    } finally {
      mock.close();
    }
  },
};

/** The cases. */
export const cases: readonly Case[] = [...answers, tracker, other];
