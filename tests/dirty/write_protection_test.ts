import assert from "node:assert/strict";
import * as fs from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import {
  demandPagemapScan,
  type ProtectedMemory,
  WriteProtection,
  WriteProtectionError,
} from "../../src/dirty/mod.ts";
import { demandWriteProtection, takeWritten } from "../../src/dirty/protection/written_pages.ts";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";
import {
  type Kernel,
  libcKernel,
  MAP_SHARED,
  type Mapping,
  O_RDONLY,
  PROT_READ,
  PROT_WRITE,
  SysError,
} from "../../src/kernel/mod.ts";
import { PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PAGE_IS_WRITTEN } from "../../src/uapi/constants.ts";
import { pageRegion, type PmScanArg, pmScanArg } from "../../src/uapi/structs_pagemap.ts";
import { AnswerError, UnsupportedError } from "../../src/vfio/mod.ts";
import { NO_WRITE_PROTECTION } from "../_write_protection.ts";

const PAGE = 4096;
const MADV_DONTNEED = 4;
const IOVA = 0x10_0000n;

/** Memory of a memfd, mapped as often as is wanted. */
class Memory implements Disposable {
  readonly fd: number;
  readonly #mappings: Mapping[] = [];
  readonly #size: number;

  constructor(pages: number) {
    this.#size = pages * PAGE;
    this.fd = libcKernel().memfd("protected", this.#size);
  }

  map(): Mapping {
    const options = { fd: this.fd, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED };
    const mapping = libcKernel().mmap(this.#size, options);
    this.#mappings.push(mapping);
    return mapping;
  }

  [Symbol.dispose](): void {
    for (const mapping of this.#mappings) mapping.close();
    libcKernel().close(this.fd);
  }
}

const at = (page: number, pages = 1): { iova: bigint; size: bigint } => ({
  iova: IOVA + BigInt(page * PAGE),
  size: BigInt(pages * PAGE),
});

const SOME = new Uint8Array([7]);

describe("memory that this process write-protects", { skip: NO_WRITE_PROTECTION }, () => {
  it("shows the pages that were written to, once, whether they were there before or not", () => {
    using memory = new Memory(64);
    const mapping = memory.map();
    mapping.write(5 * PAGE, SOME);
    using protection = WriteProtection.begin([{ ...at(0, 64), address: mapping.address }]);
    const take = (): unknown => takeWritten(libcKernel(), protection);
    const all = takeWritten(libcKernel(), protection);
    assert.equal(all.reduce((sum, { size }) => sum + size, 0n), 64n * BigInt(PAGE));
    assert.deepEqual(take(), []);
    // Pages that are only read, or read and written elsewhere, are not of interest.
    mapping.read(9 * PAGE, new Uint8Array(PAGE));
    assert.deepEqual(take(), []);
    for (const page of [5, 20, 21, 63]) mapping.write(page * PAGE + 8, SOME);
    assert.deepEqual(take(), [at(5), at(20, 2), at(63)]);
    assert.deepEqual(take(), []);
  });

  it("shows what a system call writes", () => {
    using memory = new Memory(4);
    using source = new Memory(1);
    const mapping = memory.map();
    using protection = WriteProtection.begin([{ ...at(0, 4), address: mapping.address }]);
    takeWritten(libcKernel(), protection);
    assert.equal(call("read", source.fd, mapping.address + BigInt(3 * PAGE), 16), 16);
    assert.deepEqual(takeWritten(libcKernel(), protection), [at(3)]);
  });

  it("shows a page that was written to and then dropped from the page tables", () => {
    using memory = new Memory(8);
    const mapping = memory.map();
    using protection = WriteProtection.begin([{ ...at(0, 8), address: mapping.address }]);
    takeWritten(libcKernel(), protection);
    for (const page of [2, 3]) mapping.write(page * PAGE, SOME);
    // What reclaim does to a page of a file.
    for (const page of [2, 6]) {
      assert.equal(call("madvise", mapping.address + BigInt(page * PAGE), PAGE, MADV_DONTNEED), 0);
    }
    assert.deepEqual(takeWritten(libcKernel(), protection), [at(2), at(3)]);
  });

  it("shows more regions than one call has room for, over several mappings", () => {
    using memory = new Memory(10_000);
    const mappings = [memory.map(), memory.map()] as const;
    using protection = WriteProtection.begin(
      mappings.map(({ address }) => ({ ...at(0, 10_000), address })),
    );
    takeWritten(libcKernel(), protection);
    for (let page = 0; page < 10_000; page += 2) mappings[page % 4 / 2]!.write(page * PAGE, SOME);
    const written = takeWritten(libcKernel(), protection);
    const pages = written.map(({ iova, size }) => {
      assert.equal(size, BigInt(PAGE));
      return Number((iova - IOVA) / BigInt(PAGE));
    });
    assert.deepEqual(pages.sort((a, b) => a - b), Array.from({ length: 5000 }, (_, i) => i * 2));
    assert.deepEqual(takeWritten(libcKernel(), protection), []);
  });

  it("refuses memory that is not protected, or is not all of the device's", () => {
    using memory = new Memory(8);
    const kernel = libcKernel();
    const [mapping, other] = [memory.map(), memory.map()];
    const known = { ...at(0, 4), address: mapping.address };
    using protection = WriteProtection.begin([known]);
    const refused = (ranges: ProtectedMemory["ranges"], why: RegExp): void =>
      assert.throws(
        () => demandWriteProtection(kernel, { ...protection, ranges }, [at(0, 4)]),
        (error) => error instanceof WriteProtectionError && why.test(error.message),
      );
    demandWriteProtection(kernel, protection, [at(0, 4)]);
    demandWriteProtection(kernel, protection, [at(0, 2), at(2, 2)]);
    refused([], /0x100000-0x103fff: it is not known where/);
    refused([{ ...at(0, 3), address: known.address }], /0x103000-0x103fff: it is not known where/);
    refused([{ ...at(0, 8), address: known.address }], /not all of it is the device's memory/);
    refused([{ ...known, address: known.address + 1n }], /not in whole pages/);
    refused([{ ...known, address: other.address }], /not protected, at 0x/);
    refused([{ ...known, address: 0x7fff_ffff_f000n }], /no such address|not protected/);
    const zeros = kernel.open("/dev/zero", O_RDONLY);
    assert.throws(
      () => demandWriteProtection(kernel, { ranges: [known], pagemap: zeros }, [at(0, 4)]),
      /fd \d+ is no pagemap/,
    );
    kernel.close(zeros);
    // It was protected, and is unmapped by now, and what was written before with it.
    mapping.close();
    assert.throws(() => takeWritten(kernel, protection), WriteProtectionError);
  });

  it("is protected by one only, in whole pages that are there", () => {
    using memory = new Memory(4);
    const mapping = memory.map();
    const range = { ...at(0, 4), address: mapping.address };
    using _ = WriteProtection.begin([range]);
    const open = (): number =>
      fs.readdirSync("/proc/self/fd").filter((fd) => linkOf(fd) === "anon_inode:[userfaultfd]")
        .length;
    assert.equal(open(), 1);
    for (
      const [address, why] of [
        [range.address, /another userfaultfd has it/],
        [range.address + 5n, /not mapped, or not in whole pages/],
        [0x1000n, /not mapped, or not in whole pages/],
      ] as const
    ) {
      assert.throws(() => WriteProtection.begin([{ ...range, address }]), why);
    }
    assert.equal(open(), 1);
  });
});

/** A kernel that answers PAGEMAP_SCAN as it is told, to requests for protection. */
class ScriptedKernel {
  readonly asked: PmScanArg[] = [];
  readonly #answers: ((asked: PmScanArg) => Answer)[];
  readonly #memory = new Uint8Array(new ArrayBuffer(512 * pageRegion.size));

  constructor(...answers: ((asked: PmScanArg) => Answer)[]) {
    this.#answers = answers;
  }

  /** The same as a Kernel, of which only this much is called. */
  get kernel(): Kernel {
    const memory = this.#memory;
    const ioctl = (_: number, _request: number, arg: Uint8Array<ArrayBuffer>): number => {
      const asked = pmScanArg.unpack(arg);
      // Whether it is protected is asked, too.
      const { regions, walked, count } = asked.flags === 0n
        ? { regions: [{ start: asked.start, end: asked.end, categories: 1n }], walked: asked.end }
        : (this.asked.push(asked), this.#answers.shift()!(asked));
      regions.forEach((region, index) => pageRegion.pack(region, memory, index * pageRegion.size));
      pmScanArg.pack({ ...asked, walk_end: walked }, arg);
      return count ?? regions.length;
    };
    const mmap = (): Mapping => ({
      ...{ address: 0x5000n, length: memory.length },
      read: (offset, into) => into.set(memory.subarray(offset, offset + into.length)),
      write: () => assert.fail("nothing is written there"),
      close: () => {},
      [Symbol.dispose]: () => {},
    });
    return { ioctl, mmap, open: () => 9, close: () => {} } as Partial<Kernel> as Kernel;
  }
}

interface Answer {
  readonly regions: readonly { start: bigint; end: bigint; categories: bigint }[];
  readonly walked: bigint;
  readonly count?: number;
}

describe("what PAGEMAP_SCAN answers", () => {
  const ADDRESS = 0x7f00_0000_0000n;
  const ranges = [{ ...at(0, 16), address: ADDRESS }];
  const region = (page: number, end: number, categories: number): Answer["regions"][number] => ({
    start: ADDRESS + BigInt(page * PAGE),
    end: ADDRESS + BigInt(end * PAGE),
    categories: BigInt(categories),
  });

  it("counts but for pages with a mark of protection, and goes on where it ended early", () => {
    const [last, early] = [ADDRESS + BigInt(16 * PAGE), ADDRESS + BigInt(9 * PAGE)];
    const script = new ScriptedKernel(
      () => ({
        regions: [
          region(0, 1, PAGE_IS_WRITTEN | PAGE_IS_PRESENT),
          region(1, 2, PAGE_IS_SWAPPED),
          // As some kernels say it of a page that is nowhere, and others.
          region(2, 3, 0),
          region(3, 4, PAGE_IS_WRITTEN),
          region(4, 5, PAGE_IS_WRITTEN | PAGE_IS_SWAPPED),
        ],
        walked: early,
      }),
      (asked) => {
        assert.equal(asked.start, early);
        return { regions: [region(9, 16, PAGE_IS_WRITTEN)], walked: last };
      },
    );
    assert.deepEqual(
      takeWritten(script.kernel, { pagemap: 9, ranges }).map(({ iova, size }) => [
        Number(iova - IOVA) / PAGE,
        Number(size) / PAGE,
      ]),
      [[0, 1], [2, 1], [3, 1], [4, 1], [9, 7]],
    );
    assert.equal(script.asked.length, 2);
  });

  it("is asked in steps that end at whole GiB", () => {
    const none = (asked: PmScanArg): Answer => ({ regions: [], walked: asked.end });
    const script = new ScriptedKernel(none, none, none);
    const range = { iova: 0n, size: 2n << 30n, address: ADDRESS + 0x1000n };
    // Nothing matches, and yet all is protected.
    takeWritten(script.kernel, { pagemap: 9, ranges: [range] });
    assert.deepEqual(script.asked.map(({ start, end }) => [start - ADDRESS, end - ADDRESS]), [
      [0x1000n, 1n << 30n],
      [1n << 30n, 2n << 30n],
      [2n << 30n, (2n << 30n) + 0x1000n],
    ]);
  });

  it("is refused if it cannot be", () => {
    const last = ADDRESS + BigInt(16 * PAGE);
    const wrong: readonly Answer[] = [
      { regions: [region(0, 17, 2)], walked: last },
      { regions: [region(4, 5, 2), region(3, 4, 2)], walked: last },
      { regions: [region(4, 4, 2)], walked: last },
      { regions: [], walked: last + 1n },
      { regions: [], walked: last, count: 513 },
    ];
    for (const answer of wrong) {
      const { kernel } = new ScriptedKernel(() => answer);
      assert.throws(() => takeWritten(kernel, { pagemap: 9, ranges }), AnswerError);
    }
  });

  it("is not asked again if it fails, or ends where it began", () => {
    for (
      const [answer, errorClass, why] of [
        [() => ({ regions: [], walked: ADDRESS }), WriteProtectionError, /inside a huge page/],
        [failing(1), WriteProtectionError, /it is not registered/],
        [failing(25), WriteProtectionError, /fd 9 is no pagemap/],
        [failing(12), SysError, /ENOMEM/],
        [failing(4), SysError, /EINTR/],
      ] as const
    ) {
      const script = new ScriptedKernel(answer);
      assert.throws(
        () => takeWritten(script.kernel, { pagemap: 9, ranges }),
        (error) => error instanceof errorClass && why.test(error.message),
      );
      assert.equal(script.asked.length, 1);
    }
  });

  it("lacks in kernels before Linux 6.7", () => {
    const [there, old] = [() => 9, () => failing(25)()];
    // Without it in /proc, or where that is hidden: ENOENT, EACCES.
    const opens = [there, () => failing(2)(), () => failing(13)()];
    for (const open of opens) {
      assert.throws(
        () => demandPagemapScan({ open, close: () => {}, ioctl: old } as Partial<Kernel> as Kernel),
        (error) => error instanceof UnsupportedError && /Linux 6\.7/.test(error.hint!.text),
      );
    }
  });
});

/** What an fd is; nothing once it is closed. */
function linkOf(fd: string): string | null {
  try {
    return libcKernel().readLink(`/proc/self/fd/${fd}`);
  } catch {
    return null;
  }
}

function failing(errno: number): () => never {
  return () => {
    throw new SysError("ioctl", errno);
  };
}

/** A call by its number, which libc's own functions would not take a plain address for. */
function call(
  name: "read" | "madvise",
  ...args: [number | bigint, number | bigint, number]
): number {
  const numbers = { read: [0, 63], madvise: [28, 233] } as const;
  const [a, b, c] = args;
  return libc().syscall(numbers[name][process.arch === "x64" ? 0 : 1], Number(a), Number(b), c);
}
