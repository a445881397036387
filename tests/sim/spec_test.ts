import { describe, it } from "node:test";
import assert from "node:assert/strict";
import {
  parseSimSpec,
  PERSONALITIES,
  simHelp,
  SimKernel,
  SimSpecError,
} from "../../src/sim/mod.ts";
import { FAULTS } from "../../src/sim/faults/fault_plan.ts";
import { OPTIONS } from "../../src/sim/spec.ts";

describe("a sim: name", () => {
  it("describes the device", () => {
    assert.deepEqual(parseSimSpec("sim:mapped?size=256MiB&rate=64MiB&chunk=1MiB&seed=7"), {
      personality: "mapped",
      size: 2 ** 28,
      seed: 7,
      rate: 2 ** 26,
      chunk: 2 ** 20,
      reserved: 0xa5a5a5a0,
      iommu: "pinned",
      dma: null,
      pin: 0,
      memlock: null,
      logPage: 4096,
      reinit: null,
      cdev: false,
      group: true,
      doorbell: false,
      faults: [],
      bugs: [],
    });
  });

  it("describes the device's DMA, and how the IOMMU tracks it", () => {
    const { dma, pin, iommu, memlock } = parseSimSpec(
      "mapped?dma=hot:90/10:5000/s&pin=4&memlock=64MiB",
    );
    assert.deepEqual(dma, { kind: "hot", rate: 5000, hotWrites: 90, hotPages: 10 });
    assert.deepEqual([pin, iommu, memlock], [4, "pinned", 2 ** 26]);
    assert.equal(parseSimSpec("mapped?iommu=all-dirty").iommu, "all-dirty");
    assert.equal(parseSimSpec("mapped?dma=sequential").dma?.rate, 1000);
    assert.equal(parseSimSpec("mapped?dma=random:7/s").dma?.rate, 7);
  });

  it("is refused if its options of DMA make no sense", () => {
    for (
      const [spec, problem] of [
        ["dma=zigzag", /dma is "zigzag"; it takes random/],
        ["dma=random:5000", /dma is "random:5000"/],
        ["dma=hot:90", /dma is "hot:90"/],
        ["dma=hot:0/10", /dma is "hot:0\/10"/],
        ["pin=-1", /pin is "-1"/],
        ["iommu=none", /iommu is "none"; it takes pinned\|all-dirty/],
        ["iommu=all-dirty&pin=1", /exclude each other/],
        ["memlock=much", /memlock is "much"/],
      ] as const
    ) {
      assert.throws(() => parseSimSpec(`mapped?${spec}`), (error: unknown) => {
        assert.ok(error instanceof SimSpecError);
        assert.match(error.message, problem);
        return true;
      });
    }
  });

  it("has a default for everything, and needs no prefix", () => {
    const { size, seed, rate, chunk } = parseSimSpec("trapped");
    assert.deepEqual([size, seed, rate, chunk], [2 ** 24, null, 0, 2 ** 20]);
    assert.equal(parseSimSpec("ice").size, 2 ** 17);
  });

  it("takes several faults", () => {
    const { faults } = parseSimSpec(
      "trapped?fault=transition:3:EIO&fault=block:5s&fault=block:20ms:7&fault=data-size-zero:always" +
        "&fault=stuck&fault=open:EACCES&fault=lie-size&fault=lie-offset:4",
    );
    assert.deepEqual(faults, [
      { name: "transition", n: 3, errno: "EIO", ms: 0 },
      { name: "block", n: 1, errno: "EIO", ms: 5000 },
      { name: "block", n: 7, errno: "EIO", ms: 20 },
      { name: "data-size-zero", n: Infinity, errno: "EIO", ms: 0 },
      { name: "stuck", n: 1, errno: "EIO", ms: 0 },
      { name: "open", n: 1, errno: "EACCES", ms: 0 },
      { name: "lie-size", n: 1, errno: "EIO", ms: 0 },
      { name: "lie-offset", n: 4, errno: "EIO", ms: 0 },
    ]);
  });

  const WRONG: readonly [spec: string, said: RegExp][] = [
    ["", /no personality is named ""; there are trapped, mapped, .*none/],
    ["sim:maped", /no personality is named "maped"/],
    ["toString", /no personality is named "toString"/],
    ["mapped?", /no option is named ""/],
    ["mapped?sise=1", /no option is named "sise"; there are size, .*fault/],
    ["mapped?size", /size is ""; it takes bytes/],
    ["mapped?size=-1", /size is "-1"/],
    ["mapped?size=0", /size is "0"; it takes bytes from 4KiB to 64GiB/],
    ["mapped?size=1MB", /size is "1MB"/],
    ["mapped?size=5000", /size is 5000; it takes a multiple of 4096/],
    ["mapped?size=65GiB", /to 64GiB/],
    ["ice?size=2GiB", /to 1GiB/],
    ["mapped?size=1MiB&size=2MiB", /size is given twice/],
    ["mapped?seed=4294967296", /seed is "4294967296"; it takes a number below 2\^32/],
    ["mapped?seed=x", /seed is "x"/],
    ["mapped?chunk=63", /chunk is "63"; it takes bytes from 64 to 1GiB/],
    ["mapped?reserved=7", /reserved is 0x7; bits 0 to 2 are not reserved/],
    ["ice?chunk=4096", /ice has no chunk/],
    ["ice?reserved=8", /ice has no reserved/],
    ["none?reserved=8", /none has no reserved/],
    ["vfio-pci?reserved=8", /vfio-pci has no reserved/],
    ["none?chunk=4KiB", /none has no chunk/],
    ["vfio-pci?chunk=4KiB", /vfio-pci has no chunk/],
    ["pds?reinit=1", /pds has no PRE_COPY, so it takes 0 only/],
    ["stop-copy-only?reinit=2", /stop-copy-only has no PRE_COPY/],
    ["mlx5?log-page=5000", /log-page is 5000; it takes a power of two/],
    ["mlx5?log-page=4MiB", /log-page is "4MiB"; it takes bytes from 4KiB to 2MiB/],
    ["qat?log-page=8KiB", /qat has no log/],
    ["mapped?reinit=1", /mapped has no reinit/],
    ["qat?fault=log-error:1", /qat cannot have the fault log-error/],
    ["mlx5?reserved=8", /mlx5 has no reserved/],
    ["mlx5?fault=lie-size", /mlx5 cannot have the fault lie-size/],
    ["trapped?fault=never-drains", /trapped cannot have the fault never-drains/],
    ["qat?fault=never-drains", /qat cannot have the fault never-drains/],
    ["pds?fault=precopy-info:1:EIO", /pds cannot have the fault precopy-info/],
    ["stop-copy-only?fault=data-size-zero:1", /cannot have the fault data-size-zero/],
    ["vfio-pci?fault=read:1:EIO", /vfio-pci cannot have the fault read/],
    ["none?fault=stuck", /none cannot have the fault stuck/],
    ["nvidia-vgpu?fault=lie-size", /nvidia-vgpu cannot have the fault lie-size/],
    ["mapped?fault=", /no fault is named ""; there are transition, /],
    ["mapped?fault=transition", /"transition" is not of the form transition:N:ERRNO/],
    ["mapped?fault=transition:0:EIO", /form transition:N:ERRNO/],
    ["mapped?fault=transition:1:EFOO", /"EFOO" in "transition:1:EFOO" is not a known errno/],
    ["mapped?fault=transition:1:EIO:2", /form transition:N:ERRNO/],
    ["mapped?fault=block:5", /form block:DURATION\[:N\|always\]/],
    ["mapped?fault=stuck:1", /not of the form stuck/],
    ["mapped?fault=offset-zero:x", /form offset-zero\[:N\]/],
    ["mapped?fault=data-size-zero:never", /form data-size-zero:N\|always/],
  ];
  for (const [spec, said] of WRONG) {
    it(`is refused if it is invalid: ${JSON.stringify(spec)}`, () => {
      assert.throws(() => new SimKernel(spec), (error) => {
        assert.ok(error instanceof SimSpecError);
        assert.match(error.message, /^Cannot simulate "/);
        assert.match(error.message, said);
        return true;
      });
    });
  }

  it("is explained by the help: every personality, option and fault", () => {
    const help = simHelp();
    for (const name of Object.keys(PERSONALITIES)) assert.ok(help.includes(`  sim:${name} `), name);
    for (const name of Object.keys(OPTIONS)) assert.ok(help.includes(`  ${name}=`), name);
    for (const name of Object.keys(FAULTS)) assert.ok(help.includes(`  fault=${name}`), name);
  });
});
