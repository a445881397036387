import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openFds } from "../../src/kernel/fd.ts";
import { type Kernel, MAP_SHARED, PROT_READ } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { DmaMemory } from "../../src/vfio/dma/dma_memory.ts";
import { memlockLimit } from "../../src/vfio/reasons/memlock.ts";

for (const kernel of [libcKernel(), new SimKernel()]) {
  describe(`DMA memory of the kernel "${kernel.name}"`, () => {
    it("is zero, starts at a page, and is shown by every mapping of its fd", () => {
      {
        using memory = DmaMemory.allocate(kernel, 1 << 20);
        assert.equal(memory.size, 1 << 20);
        assert.equal(memory.address % 4096n, 0n);
        const back = new Uint8Array(4);
        memory.mapping.read(8192, back);
        assert.deepEqual([...back], [0, 0, 0, 0]);
        memory.mapping.write(8192, new Uint8Array([1, 2, 3, 4]));
        using other = kernel.mmap(4096, {
          fd: memory.fd!.number,
          offset: 8192,
          prot: PROT_READ,
          flags: MAP_SHARED,
        });
        other.read(0, back);
        assert.deepEqual([...back], [1, 2, 3, 4]);
      }
      assert.deepEqual(openFds(), []);
    });

    it("has no fd if it is anonymous", () => {
      using memory = DmaMemory.allocate(kernel, 4096, { kind: "anonymous" });
      assert.equal(memory.fd, null);
      memory.close();
      memory.close();
      assert.throws(() => memory.mapping.read(0, new Uint8Array(1)), /closed/);
    });

    it("comes in whole pages", () => {
      for (const size of [0, -4096, 100, 4097, NaN]) {
        assert.throws(() => DmaMemory.allocate(kernel, size), {
          name: "RangeError",
          message: /not in whole pages of 4096 bytes/,
        });
      }
      for (const size of [2 ** 60, Infinity]) {
        assert.throws(() => DmaMemory.allocate(kernel, size), {
          name: "RangeError",
          message: /no process has room for so many$/,
        });
      }
      const huge = { hugepages: true };
      assert.throws(() => DmaMemory.allocate(kernel, 4096, huge), /whole pages of \d{6,} bytes/);
    });

    it("comes in the pages of this system, which may be larger than 4096 bytes", () => {
      const auxv = new BigUint64Array([33n, 5n, 6n, 65536n, 0n, 0n]);
      const large: Kernel = Object.create(kernel, {
        open: { value: (path: string) => path === "/proc/self/auxv" ? 77 : assert.fail(path) },
        read: {
          value: (_fd: number, into: Uint8Array) => {
            into.set(new Uint8Array(auxv.buffer));
            return auxv.byteLength;
          },
        },
        close: { value: () => {} },
      });
      assert.throws(() => DmaMemory.allocate(large, 4096), /whole pages of 65536 bytes/);
    });

    it("says where huge pages come from if there are too few", () => {
      for (const kind of ["memfd", "anonymous"] as const) {
        assert.throws(
          // More than any machine has to spare.
          () => DmaMemory.allocate(kernel, 2 ** 45, { kind, hugepages: true }),
          (error: Error & { hint?: { text: string } }) => {
            assert.equal(error.name, "DmaError");
            assert.match(
              error.message,
              /^Cannot allocate \d+ bytes for DMA: there are not \d+ huge/,
            );
            // More than there are: those may be in use.
            assert.match(
              error.hint!.text,
              /echo \$\(\( \$\(cat \S+\) \+ \d+ \)\) > \S+nr_hugepages$/,
            );
            return true;
          },
        );
      }
      assert.deepEqual(openFds(), []);
    });
  });
}

describe("the memlock limit", () => {
  it("is read from the running kernel", () => {
    const limit = memlockLimit(libcKernel());
    assert.ok(limit === null || limit >= 0n);
    const text = libcKernel().readText("/proc/self/limits");
    assert.equal(limit === null, /^Max locked memory\s+unlimited/m.test(text));
  });
});
