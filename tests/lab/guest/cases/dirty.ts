/**
 * Dirty pages as a real kernel tracks them: those of a mediated device, whose
 * driver is told what to write and pin, and those of a PCI device behind an
 * IOMMU, which nobody tracks.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { DirtySession } from "../../../../src/dirty/mod.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from "../../../../src/kernel/kernel.ts";
import { VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP } from "../../../../src/uapi/mod.ts";
import { withPair } from "../device.ts";
import { withEdu } from "../edu.ts";
import { type Case, eachKernel } from "../harness.ts";
import { askTable, expectExit, reported, vfiokit, wholeJson } from "../programs.ts";

const PAGE = 4096n;

/**
 * The second mapping begins right behind the first one, and not at a word of its
 * bitmap: there Linux shows phantoms to whoever reads both in one call.
 */
const MAPPINGS = ["0x100000:400KiB", "0x164000:1MiB", "4GiB:1MiB"];
const MAP = MAPPINGS.flatMap((mapping) => ["--map", mapping]);

type Range = readonly [iova: string, bytes: number];

/** What `--json` says of a reading, as far as it matters here. */
interface Reading {
  readonly pages: number;
  readonly runs: readonly Range[];
  readonly pinnedPages: number | null;
  readonly notes: readonly string[];
}

interface OneReading extends Reading {
  readonly verdict: string;
  readonly unmapped: number;
  readonly mappingsLeft: readonly Range[];
}

/** The words of a program that gives a driver's file one order after the other. */
function orders(file: string, ...lines: readonly string[]): string[] {
  const script = lines.map((line) =>
    line.startsWith("sleep ") ? line : `echo ${line} > "$1" || exit`
  );
  return ["--", "sh", "-c", script.join("\n"), "sh", file];
}

function pair({ iova, size }: { iova: bigint; size: bigint }): Range {
  return [`0x${iova.toString(16)}`, Number(size)];
}

function pagesOf(runs: readonly Range[]): string[] {
  return runs.flatMap(([iova, bytes]) =>
    Array.from(
      { length: bytes / Number(PAGE) },
      (_, page) => `0x${(BigInt(iova) + BigInt(page) * PAGE).toString(16)}`,
    )
  );
}

function rounds(stdout: string): Reading[] {
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Three mappings in one word of a bitmap: pages 600-609, 610-619 and 620-663. */
const IN_ONE_WORD = [[600, 10], [610, 10], [620, 44]].map(([first, count]) => ({
  iova: BigInt(first!) * PAGE,
  size: BigInt(count!) * PAGE,
}));

/** Asks for their pages in one call, as one does who does not know better. */
function readInOneCall({ device }: DirtySession): number[] {
  const options = { prot: PROT_READ | PROT_WRITE, flags: MAP_PRIVATE | MAP_ANONYMOUS };
  using memory = device.kernel.mmap(Number(PAGE), options);
  device.container!.dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, {
    iova: 600n * PAGE,
    size: 64n * PAGE,
    bitmap: { pgsize: PAGE, size: 8n, data: memory.address },
  });
  const word = new BigUint64Array(1);
  memory.read(0, new Uint8Array(word.buffer));
  return Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => (word[0]! >> BigInt(bit) & 1n) !== 0n)
    .map((bit) => 600 + bit);
}

const mediated: readonly Case[] = [
  {
    name: "dirty: phantoms that Linux 6.1 shows to another reader do not show to the tracker",
    run: () =>
      withPair("trapped", {}, async ({ uuid, dmaFile }) => {
        await Promise.resolve();
        using session = DirtySession.open(uuid, { maps: IN_ONE_WORD });
        session.tracker.start();
        const write = (): void => writeFileSync(dmaFile, "write 0x267000 1");
        const seen = (): string[] => pagesOf([...session.tracker.read().runs()].map(pair));
        write();
        assert.deepEqual(seen(), ["0x267000"]);
        write();
        assert.deepEqual([1, 2, 3].map(() => readInOneCall(session)), [[615], [625], [635]]);
        write();
        assert.deepEqual([1, 2, 3].map(seen), [["0x267000"], [], []]);
      }),
  },
  {
    name: "dirty: get: exactly the pages that were written and pinned, no phantoms",
    run: (folder) =>
      withPair("trapped", {}, async ({ uuid, dmaFile }) => {
        const program = orders(
          dmaFile,
          ...["write 0x103000 2", "write 0x163000 2", "pin 0x1a0000 3", "write 0x100000000 1"],
        );
        // What the device wrote is in the memory that the program inherits.
        program[3] += `\ndd if=/proc/self/fd/$VFIOKIT_MEMORY_FD bs=4096 skip=3 count=1 > "$2"`;
        program.push(`${folder}/page`);
        const ranges = `${folder}/ranges`;
        const words = [...vfiokit(), "dirty", "get", uuid, ...MAP, "-o", ranges, ...program];
        const { stderr } = await expectExit(0, words);
        assert.deepEqual(readFileSync(ranges, "utf8").trimEnd().split("\n"), [
          ...["0x103000:0x2000", "0x163000:0x1000", "0x164000:0x1000"],
          ...["0x1a0000:0x3000 pinned", "0x100000000:0x1000"],
        ]);
        assert.doesNotMatch(stderr, /does not track/);
        const page = readFileSync(`${folder}/page`);
        assert.deepEqual([page.length, page[0], page[1]], [4096, 1, 0]);
      }),
  },
  {
    name: "dirty: watch: a written page in one round, a pinned one in every round",
    run: (folder) =>
      withPair("trapped", {}, async ({ uuid, dmaFile }) => {
        const program = orders(
          dmaFile,
          ...["pin 0x180000 3", "sleep 2", "write 0x162000 4", "sleep 2"],
          ...["write 0x100010000 2", "unpin 0x181000 1", "sleep 2"],
        );
        const samples = `${folder}/samples`;
        const watch = [...vfiokit(), "dirty", "watch", uuid, ...MAP, "--every", "100ms"];
        await expectExit(0, [...watch, `--json=${samples}`, ...program]);
        const stdout = readFileSync(samples, "utf8");
        const seen = rounds(stdout).map(({ runs }) => pagesOf(runs));
        const written = ["0x162000", "0x163000", "0x164000", "0x165000"];
        written.push("0x100010000", "0x100011000");
        const pinned = ["0x180000", "0x181000", "0x182000"];
        assert.deepEqual(new Set(seen.flat()), new Set([...written, ...pinned]));
        for (const page of written) {
          assert.equal(seen.filter((round) => round.includes(page)).length, 1, page);
        }
        // They are pinned one after the other: with the last one, all of them are.
        const after = seen.slice(seen.findIndex((round) => round.includes("0x182000")));
        assert.ok(after.length >= 6, stdout);
        for (const page of pinned) {
          // One of them was unpinned in the end: once more it is dirty, then never again.
          const dirty = after.map((round) => round.includes(page));
          const rounds = page === "0x181000" ? dirty.indexOf(false) : dirty.length;
          assert.ok(rounds >= 3, page);
          assert.deepEqual(dirty, dirty.map((_, round) => round < rounds), page);
        }
        assert.equal(rounds(stdout).at(-1)?.pinnedPages, 2);
      }),
  },
  {
    name: "dirty: unmap: two mappings at once, with their last dirty pages",
    run: () =>
      withPair("trapped", {}, async ({ uuid, dmaFile }) => {
        const range = ["--iova", "0x100000", "--size", "1424KiB", "--with-dirty", "--json"];
        const words = [...vfiokit(), "unmap", uuid, ...MAP, ...range];
        const program = orders(
          dmaFile,
          ...["pin 0x101000 1", "write 0x163000 3", "pin 0x200000 2", "unpin 0x200000 1"],
          "write 0x100000000 1",
        );
        const { unmapped, mappingsLeft, runs } = wholeJson<OneReading>(
          reported(await expectExit(0, [...words, "--quiet", ...program])),
        );
        assert.equal(unmapped, 1424 << 10);
        assert.deepEqual(mappingsLeft, [["0x100000000", 1 << 20]]);
        assert.deepEqual(runs, [
          ["0x101000", 0x1000],
          ["0x163000", 0x1000],
          ["0x164000", 0x2000],
          ["0x200000", 0x2000],
        ]);
      }),
  },
];

const passedThrough: readonly Case[] = [
  {
    name: "dirty: behind an IOMMU: every page in every round, and it is said why",
    run: () =>
      withEdu(async (address) => {
        const all = [["0x100000", 400 << 10], ["0x164000", 1 << 20], ["0x100000000", 1 << 20]];
        const get = [...vfiokit(), "dirty", "get", address, ...MAP, "--after", "1ms"];
        const ended = await expectExit(0, [...get, "--json"]);
        const { verdict, runs } = wholeJson<OneReading>(ended);
        assert.deepEqual([verdict, runs], ["does-not-track", all]);
        const watch = [...vfiokit(), "dirty", "watch", address, ...MAP, "--json"];
        const { stdout, stderr } = await expectExit(0, [
          ...[...watch, "--every", "50ms", "--rounds", "4"],
        ]);
        assert.equal(rounds(stdout).length, 4);
        for (const { runs, pinnedPages, notes } of rounds(stdout)) {
          assert.deepEqual([runs, pinnedPages], [all, null]);
          assert.match(notes.join(), /This IOMMU does not track/);
        }
        assert.match(stderr, /This IOMMU does not track/);
      }),
  },
  {
    name: "dirty: behind an IOMMU: unmapped with every page dirty",
    run: () =>
      withEdu(async (address) => {
        const range = ["--iova", "0x164000", "--size", "1MiB", "--with-dirty", "--json"];
        const words = [...vfiokit(), "unmap", address, ...MAP, ...range, "--after", "1ms"];
        const { unmapped, mappingsLeft, runs } = wholeJson<OneReading>(await expectExit(0, words));
        assert.equal(unmapped, 1 << 20);
        assert.deepEqual(mappingsLeft, [["0x100000", 400 << 10], ["0x100000000", 1 << 20]]);
        assert.deepEqual(runs, [["0x164000", 1 << 20]]);
      }),
  },
];

const TYPE1_ANSWERS = "tests/dirty/type1_answers.ts";

const table: readonly Case[] = [
  {
    name: "dirty: every type1 call answers as the simulator does: a mediated device",
    run: () =>
      withPair(
        "trapped",
        {},
        ({ uuid, dmaFile }) => askTable(TYPE1_ANSWERS, 150, uuid, "--dma", dmaFile),
      ),
  },
  {
    name: "dirty: every type1 call answers as the simulator does: behind an IOMMU",
    run: () => withEdu((address) => askTable(TYPE1_ANSWERS, 150, address, "--hardware")),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...mediated, ...passedThrough, ...eachKernel(table)];
