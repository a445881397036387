import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { simDmaInPages } from "./_sim_dma.ts";
import { askGroup, expected, type Host, TYPE1_CASES } from "./type1_cases/mod.ts";

function simHost(hardware: boolean): { host: Host; kernel: SimKernel } {
  const kernel = new SimKernel(`trapped?size=64KiB${hardware ? "&iommu=all-dirty" : ""}`);
  return {
    kernel,
    host: {
      kernel,
      version: "6.1",
      group: "/dev/vfio/0",
      device: kernel.devices[0]!.path,
      hardware,
      dma: hardware ? null : simDmaInPages(kernel.devices[0]!.dma),
    },
  };
}

for (const hardware of [false, true]) {
  for (const group of TYPE1_CASES) {
    describe(`type1 ${hardware ? "with" : "without"} IOMMU hardware: ${group.name}`, () => {
      const { kernel, host } = simHost(hardware);
      const rows = [...askGroup(group, host)];
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

describe("an answer that differs between kernels", () => {
  const answer = { "5.10": "EINVAL", "6.1": "0", "7.0": "EOVERFLOW" } as const;

  it("is that of the latest version not after the one asked for", () => {
    for (
      const [version, text] of [
        ["5.10", "EINVAL"],
        ["5.15", "EINVAL"],
        ["6.1", "0"],
        ["6.12", "0"],
        ["7.2", "EOVERFLOW"],
      ] as const
    ) assert.equal(expected(answer, version), text);
    assert.equal(expected("EBUSY", "4.0"), "EBUSY");
  });

  it("is none for a kernel before all of them", () => {
    assert.throws(() => expected(answer, "5.9"), /what Linux 5.9 answers/);
  });
});
