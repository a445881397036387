/**
 * What a program writes to the memory of its device, found by write-protection, while the device
 * writes there, too, and moves to another.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Device, openDevices, UnsupportedError } from "../../../../mod.ts";
import { demandPagemapScan, WriteProtection } from "../../../../src/dirty/mod.ts";
import {
  libcKernel,
  MAP_SHARED,
  MFD_HUGETLB,
  PROT_READ,
  PROT_WRITE,
} from "../../../../src/kernel/mod.ts";
import { connectUnix, migrate, receive, UnixListener } from "../../../../src/live/mod.ts";
import { type GuestDevice, withPair } from "../device.ts";
import { startEngine } from "../engine.ts";
import type { Case } from "../harness.ts";

const MIB = 1 << 20;
const SIZE = 4 * MIB;
const PAGES = SIZE / 4096;
const RANGE = { iova: BigInt(2 * MIB), size: BigInt(SIZE) };
/** How long one side may wait for the other, beside a program that is busy. */
const TIMEOUT_MS = 300_000;
/** Where the device's engine writes; the program writes behind it. */
const ENGINE = { iova: RANGE.iova, size: BigInt(MIB / 2) };

const SHMEM_HUGE = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
const NR_HUGE = "/proc/sys/vm/nr_hugepages";

/** A kind of memory. */
interface Memory {
  readonly name: string;
  /** Makes the guest have it; returns what undoes that. */
  prepare(): () => void;
  readonly flags?: number;
}

function setting(path: string, value: string): () => void {
  const before = /\[(\w+)\]/.exec(readFileSync(path, "utf8"))?.[1] ?? readFileSync(path, "utf8");
  writeFileSync(path, value);
  return () => writeFileSync(path, before);
}

const MEMORY: readonly Memory[] = [
  { name: "memory", prepare: () => () => {} },
  { name: "memory in transparent huge pages", prepare: () => setting(SHMEM_HUGE, "always") },
  {
    name: "hugetlbfs's memory",
    flags: MFD_HUGETLB,
    prepare: () => setting(NR_HUGE, `${SIZE / (2 * MIB)}`),
  },
];

/** Why this kernel cannot; null if it can. */
function lacks(): string | null {
  try {
    demandPagemapScan(libcKernel());
    WriteProtection.begin([])[Symbol.dispose]();
    return null;
  } catch (error) {
    if (error instanceof UnsupportedError) return `${error.message}: Linux 6.7 is the first`;
    throw error;
  }
}

/** Moves a device while this program writes to its memory, in turns that nothing waits for. */
async function moves(
  folder: string,
  [from, to]: readonly [GuestDevice, GuestDevice],
  flags: number,
): Promise<void> {
  const kernel = libcKernel();
  using opened = new DisposableStack();
  const fd = kernel.memfd("program", SIZE, flags);
  opened.defer(() => kernel.close(fd));
  const options = { fd, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED };
  const memory = opened.use(kernel.mmap(SIZE, options));
  const protection = opened.use(WriteProtection.begin([{ ...RANGE, address: memory.address }]));

  const path = join(folder, "socket");
  const journal = join(folder, "journal");
  using listener = await UnixListener.listen(path);
  await using source = await openDevices([from.uuid], {
    maps: [{ ...RANGE, fd }],
    tracker: "auto",
  });
  const [device] = source as unknown as [Device];
  await startEngine(from, device, ENGINE);
  let [writes, quiet] = [0, false];
  const write = (): void => {
    if (quiet) return;
    for (let turn = 0; turn < 4; turn++) {
      writes += 1;
      const page = 128 + writes * 7 % (PAGES - 128);
      memory.write(page * 4096 + writes % 4000, new TextEncoder().encode(`write ${writes}`));
    }
  };
  // The guest has work to do besides.
  const writing = setInterval(write, 10);
  opened.defer(() => clearInterval(writing));
  const receiving = listener.next().then((connection) =>
    receive(connection, (ranges) => openDevices([to.uuid], { maps: ranges[0] }), {
      ...{ journal, timeoutMs: TIMEOUT_MS },
    })
  );
  const migrating = migrate(source, await connectUnix(path), {
    ...{ journal, timeoutMs: TIMEOUT_MS, verifyMemory: true },
    ...{ downtimeMs: 0, maxRounds: 5, onNoConverge: "stop" },
    onProgress: write,
    ownerWrites: "protect",
    owner: {
      quiesce: () => {
        write();
        quiet = true;
        return Promise.resolve();
      },
      resume: () => assert.fail("it did not move"),
      protectedMemory: () => protection,
    },
  });
  const [report, { devices }] = await Promise.all([migrating, receiving]);
  await using _ = devices;
  const [there] = devices as unknown as [Device];
  assert.equal(report.rounds.length, 5);
  assert.ok(writes > 4 * 5, `${writes}`);
  const [one, other] = [
    await device.readMemory(RANGE.iova, SIZE),
    await there.readMemory(RANGE.iova, SIZE),
  ];
  assert.equal(Buffer.compare(one, other), 0, "memory differs");
}

/** A migration for each kind of memory; and why it cannot be, on older kernels. */
export const cases: readonly Case[] = [
  ...MEMORY.map(({ name, prepare, flags = 0 }, index): Case => ({
    name: `live: what a program writes to ${name} is found by write-protection`,
    lacks,
    long: index > 0,
    async run(folder): Promise<void> {
      const undo = prepare();
      try {
        await withPair(
          "trapped",
          { size: 1 << 20, chunk: 64 << 10 },
          (from, to) => moves(folder, [from, to], flags),
        );
      } finally {
        undo();
      }
    },
  })),
  {
    name: "live: write-protection is refused by name where the kernel does not have it",
    lacks: () => lacks() === null ? "this kernel has it" : null,
    run(): Promise<void> {
      assert.throws(
        () => WriteProtection.begin([]),
        (error) =>
          error instanceof UnsupportedError && /cannot write-protect memory/.test(error.message),
      );
      return Promise.resolve();
    },
  },
];
