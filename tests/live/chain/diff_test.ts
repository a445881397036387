import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import type { Transaction } from "../../../src/checkpoint/batches/transaction.ts";
import { createCheckpointFile } from "../../../src/checkpoint/mod.ts";
import { compareData } from "../../../src/live/chain/data_difference.ts";
import { PageTable } from "../../../src/live/chain/page_table.ts";
import { CheckpointChain, diffCheckpoints, verifyChain } from "../../../src/live/mod.ts";
import { save } from "../../../src/transfer/save.ts";
import { MIB, withFolder } from "../_pair.ts";
import { type Content, MAPS, openWriter } from "./_chain.ts";

/** The pages that differ, found byte by byte. */
function pagesThatDiffer(one: Content, two: Content): string[] {
  return MAPS.flatMap(({ iova, size }, index) => {
    const pages: string[] = [];
    for (let at = 0; at < Number(size); at += 4096) {
      const [a, b] = [one, two].map(({ memory }) => memory[index]!.subarray(at, at + 4096));
      if (a!.some((byte, offset) => byte !== b![offset])) {
        pages.push(`0x${(iova + BigInt(at)).toString(16)}`);
      }
    }
    return pages;
  });
}

/** Transactions of these texts; a `|` splits one into parts. */
async function* transactions(...texts: readonly string[]): AsyncGenerator<Transaction> {
  for (const text of texts) {
    const parts = text.split("|");
    for (const [index, part] of parts.entries()) {
      const data = new Uint8Array(new TextEncoder().encode(part));
      await Promise.resolve();
      const more = index < parts.length - 1;
      yield { device: 0, phase: "stop-and-copy", data, more };
    }
  }
}

describe("what differs between two checkpoints", () => {
  it("is the pages that differ, of any two of a chain", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=64KiB&dma=random:100/s&rate=200KiB");
      await using chain = new CheckpointChain(writer.device, folder, { fullEvery: 3 });
      const states: Content[] = [];
      for (let count = 0; count < 4; count++) {
        writer.goOn();
        await chain.take();
        states.push(await writer.content());
      }
      for (const [a, one] of states.entries()) {
        for (const [b, two] of states.entries()) {
          const [first, second] = [
            await verifyChain(folder, { number: a }),
            await verifyChain(folder, { number: b }),
          ];
          const { same, devices } = await diffCheckpoints(first, second);
          const [{ memory, data }] = devices as [(typeof devices)[0]];
          const pages = memory.flatMap(({ iova, size, how }) => {
            assert.equal(how, "differs");
            return Array.from(
              { length: Number(size / 4096n) },
              (_, page) => `0x${(iova + BigInt(page) * 4096n).toString(16)}`,
            );
          });
          assert.deepEqual(pages, pagesThatDiffer(one, two), `${a} and ${b}`);
          assert.equal(same, a === b);
          if (one.checksum !== two.checksum) assert.ok(data.different.length > 0);
        }
      }
    });
  });

  it("is memory that one of them does not have", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB");
      await using chain = new CheckpointChain(writer.device, folder);
      await chain.take();
      await using file = await createCheckpointFile(`${folder}/alone.vfk`);
      await save(writer.device, file);
      const { devices } = await diffCheckpoints(await verifyChain(folder), {
        files: [`${folder}/alone.vfk`],
      });
      assert.deepEqual(
        devices[0]!.memory,
        MAPS.map((range) => ({ ...range, how: "only-first" })),
      );
    });
  });

  it("is refused of a bad file", async () => {
    await withFolder(async (folder) => {
      fs.writeFileSync(`${folder}/bad`, "no checkpoint");
      const bad = { files: [`${folder}/bad`] };
      await assert.rejects(diffCheckpoints(bad, bad), { name: "CheckpointError" });
    });
  });
});

describe("a table of pages", () => {
  const page = (byte: number): Uint8Array => new Uint8Array(4096).fill(byte);
  const zeros = (iova: bigint, length: number): { iova: bigint; length: number; zero: true } => ({
    iova,
    length,
    zero: true,
  });

  it("takes the last content of a page, zeros as well", () => {
    const [one, two] = [new PageTable(), new PageTable()];
    one.add([zeros(0n, 8 << 20)], page(0));
    two.add([zeros(0n, 8 << 20)], page(0));
    assert.deepEqual(one.differences(two), []);
    two.add([{ iova: 3n * MIB, length: 4096, zero: false }], page(5));
    const range = { iova: 3n * MIB, size: 4096n, how: "differs" };
    assert.deepEqual(one.differences(two), [range]);
    assert.deepEqual(two.differences(one), [range]);
    two.add([zeros(3n * MIB, 4096)], page(0));
    assert.deepEqual(one.differences(two), []);
  });

  it("knows pages that are not there from pages of zeros", () => {
    const [one, two] = [new PageTable(), new PageTable()];
    one.add([zeros(0n, 8192)], page(0));
    two.add([zeros(4096n, 4 << 20)], page(0));
    assert.deepEqual(one.differences(two), [
      { iova: 0n, size: 4096n, how: "only-first" },
      { iova: 8192n, size: 4n * MIB - 4096n, how: "only-second" },
    ]);
  });

  it("refuses more than 1 TiB, without taking that much memory first", () => {
    const table = new PageTable();
    const fill = (): void => {
      for (let count = 0; count <= 512; count++) {
        table.add([zeros(BigInt(count) << 31n, 2 ** 31)], page(0));
      }
    };
    assert.throws(fill, /more than 1 TiB/);
  });
});

describe("device data", () => {
  const compare = async (
    one: readonly string[],
    two: readonly string[],
  ): Promise<readonly (readonly number[])[]> => {
    const { different, transactions: counts } = await compareData(
      transactions(...one),
      transactions(...two),
    );
    assert.deepEqual(counts, [one.length, two.length]);
    return different.map(({ transaction, sizes, different }) => [transaction, ...sizes, different]);
  };

  it("is the same however its transactions were split", async () => {
    assert.deepEqual(await compare(["abc", "", "d|ef"], ["a||bc", "|", "de|f"]), []);
    assert.deepEqual(await compare([], []), []);
  });

  it("differs by bytes, by lengths, and by transactions", async () => {
    assert.deepEqual(await compare(["abc", "def"], ["axc", "def"]), [[0, 3, 3, 1]]);
    assert.deepEqual(await compare(["ab|c", "def"], ["abcd|e", "dex"]), [
      [0, 3, 5, 2],
      [1, 3, 3, 1],
    ]);
    assert.deepEqual(await compare(["abc"], ["abc", "de", "f"]), [[1, 0, 2, 2], [2, 0, 1, 1]]);
    assert.deepEqual(await compare(["abc", "d"], []), [[0, 3, 0, 3], [1, 1, 0, 1]]);
  });
});
