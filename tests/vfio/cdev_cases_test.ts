import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { simDmaInPages } from "../dirty/_sim_dma.ts";
import { askCases } from "../dirty/type1_cases/case.ts";
import { CDEV_CASES, CdevAsker, type CdevHost } from "./cdev_cases/mod.ts";

function simHost(hardware: boolean): { host: CdevHost; kernel: SimKernel } {
  const kernel = new SimKernel(
    `trapped?size=64KiB&cdev=1${hardware ? "&iommu=all-dirty" : ""}`,
  );
  return {
    kernel,
    host: {
      kernel,
      version: "6.12",
      node: "/dev/vfio/devices/vfio0",
      group: "/dev/vfio/0",
      hardware,
      dma: hardware ? null : simDmaInPages(kernel.devices[0]!.dma),
    },
  };
}

for (const hardware of [false, true]) {
  for (const group of CDEV_CASES) {
    describe(`cdev ${hardware ? "with" : "without"} IOMMU hardware: ${group.name}`, () => {
      const { kernel, host } = simHost(hardware);
      const asker = new CdevAsker(host);
      const rows = [...askCases(group, host, asker)];
      asker.close();
      for (const { name, got, expected } of rows) {
        it(`${name}: ${expected}`, () => assert.equal(got, expected));
      }
      it("leaves nothing open", () => {
        assert.deepEqual(kernel.openObjects, []);
        assert.deepEqual(openFds(), []);
      });
    });
  }
}
