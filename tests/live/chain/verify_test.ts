import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { CheckpointEncoder } from "../../../src/checkpoint/format/checkpoint_encoder.ts";
import {
  ChainError,
  type ChainProgress,
  CheckpointChain,
  inspectChain,
  linkFile,
  restoreChain,
  verifyChain,
} from "../../../src/live/mod.ts";
import { openDevice } from "../../../src/migration/device.ts";
import { SimKernel } from "../../../src/sim/mod.ts";
import { withFolder } from "../_pair.ts";
import { assertSame, MAPS, openWriter, restored } from "./_chain.ts";

/** Takes two chains of three in one folder. */
async function sixCheckpoints(folder: string): Promise<void> {
  await using writer = await openWriter("mlx5?size=4KiB&dma=random:50/s");
  await using chain = new CheckpointChain(writer.device, folder, { fullEvery: 3 });
  for (let count = 0; count < 6; count++) {
    writer.goOn();
    await chain.take();
  }
}

/** A folder with two chains of three; another one like it. */
async function withTwo(use: (folder: string, other: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    await withFolder(async (other) => {
      await sixCheckpoints(folder);
      await sixCheckpoints(other);
      await use(folder, other);
    });
  });
}

/** What `inspectChain` finds: a letter for each number, `g`ood or the first of the code. */
async function letters(folder: string): Promise<string> {
  const { links } = await inspectChain(folder);
  return links.map(({ code }) => code?.[0] ?? "g").join("");
}

/** Damages of a folder, what becomes of its six checkpoints, and why. */
const DAMAGES: readonly [
  what: string,
  damage: (folder: string, other: string) => void,
  letters: string,
  number: number,
  code: ChainError["code"],
  message: RegExp,
][] = [
  [
    "a missing link",
    (folder) => fs.unlinkSync(`${folder}/000004.vfk`),
    "gggg" + "mm",
    5,
    "missing-link",
    /5 needs 4: it is missing; the last that can be restored is 3$/,
  ],
  [
    "a missing full checkpoint",
    (folder) => fs.unlinkSync(`${folder}/000000.vfk`),
    "mmmggg",
    1,
    "missing-link",
    /1 needs 0: it is missing; the last that can be restored is 5$/,
  ],
  [
    "a file that is cut",
    (folder) => fs.truncateSync(`${folder}/000004.vfk`, 700),
    "ggggbb",
    5,
    "bad-link",
    /5 needs 4: .*the last that can be restored is 3$/,
  ],
  [
    "a flipped bit",
    (folder) => {
      const bytes = fs.readFileSync(`${folder}/000003.vfk`);
      bytes[bytes.length >> 1]! ^= 4;
      fs.writeFileSync(`${folder}/000003.vfk`, bytes);
    },
    "gggbbb",
    3,
    "bad-link",
    /: 3: .*wrong CRC.*; the last that can be restored is 2$/,
  ],
  [
    "two links that were swapped",
    (folder) => {
      fs.renameSync(`${folder}/000001.vfk`, `${folder}/x`);
      fs.renameSync(`${folder}/000002.vfk`, `${folder}/000001.vfk`);
      fs.renameSync(`${folder}/x`, `${folder}/000002.vfk`);
    },
    "gwwggg",
    1,
    "wrong-link",
    /: 1: it is another checkpoint, of number 2; the last that can be restored is 5$/,
  ],
  [
    "a link of the same number of another chain",
    (folder, other) => fs.copyFileSync(`${other}/000004.vfk`, `${folder}/000004.vfk`),
    "ggggww",
    5,
    "wrong-link",
    /5 needs 4: it is of another chain; the last that can be restored is 3$/,
  ],
  [
    "a folder where a file should be",
    (folder) => {
      fs.unlinkSync(`${folder}/000004.vfk`);
      fs.mkdirSync(`${folder}/000004.vfk`);
    },
    "ggggbb",
    5,
    "bad-link",
    /5 needs 4: it is no regular file; the last that can be restored is 3$/,
  ],
  [
    "a fifo that nobody writes to",
    (folder) => {
      fs.unlinkSync(`${folder}/000005.vfk`);
      execFileSync("mkfifo", [`${folder}/000005.vfk`]);
    },
    "gggggb",
    5,
    "bad-link",
    /: 5: it is no regular file; the last that can be restored is 4$/,
  ],
  [
    "a symbolic link that leads to nothing",
    (folder) => {
      fs.unlinkSync(`${folder}/000001.vfk`);
      fs.symlinkSync("nowhere", `${folder}/000001.vfk`);
    },
    "gmmggg",
    2,
    "missing-link",
    /2 needs 1: it is missing; the last that can be restored is 5$/,
  ],
  [
    "symbolic links in a circle",
    (folder) => {
      fs.unlinkSync(`${folder}/000001.vfk`);
      fs.symlinkSync("000001.vfk", `${folder}/000001.vfk`);
    },
    "gbbggg",
    2,
    "bad-link",
    /2 needs 1: it is no regular file; the last that can be restored is 5$/,
  ],
  [
    "a checkpoint that stands alone",
    (folder) => fs.copyFileSync("fixtures/checkpoints/version-1.vfk", `${folder}/000005.vfk`),
    "gggggw",
    5,
    "wrong-link",
    /: 5: it is a checkpoint that stands alone; the last that can be restored is 4$/,
  ],
];

describe("a chain of checkpoints", () => {
  it("is good as it was taken", async () => {
    await withTwo(async (folder) => {
      assert.equal(await letters(folder), "gggggg");
      const { links, lastGood } = await inspectChain(folder);
      assert.equal(lastGood, 5);
      assert.ok(links.every(({ deviceBytes }) => deviceBytes >= 4096));
      assert.deepEqual(links.map(({ header }) => header!.link!.previous?.number ?? null), [
        null,
        0,
        1,
        null,
        3,
        4,
      ]);
    });
  });

  it("reports how far it was read, and restored", async () => {
    await withTwo(async (folder) => {
      const size = (...numbers: readonly number[]): number =>
        numbers.reduce((sum, number) => sum + fs.statSync(linkFile(folder, number)).size, 0);
      const read = async (
        what: (onProgress: (progress: ChainProgress) => void) => Promise<unknown>,
      ): Promise<ChainProgress[]> => {
        const reports: ChainProgress[] = [];
        await what((progress) => reports.push(progress));
        const ascending = reports.toSorted((a, b) => a.storedBytes - b.storedBytes);
        assert.deepEqual(reports.map(({ storedBytes }) => storedBytes), [
          ...ascending.map(({ storedBytes }) => storedBytes),
        ]);
        assert.equal(reports[0]!.storedBytes, 0);
        return reports;
      };
      const ends = (...numbers: readonly number[]): ChainProgress => {
        const bytes = size(...numbers);
        return { storedBytes: bytes, totalBytes: bytes };
      };
      const inspected = await read((onProgress) => inspectChain(folder, { onProgress }));
      assert.deepEqual(inspected.at(-1), ends(0, 1, 2, 3, 4, 5));
      const verified = await read((onProgress) => verifyChain(folder, { number: 4, onProgress }));
      assert.deepEqual(verified.at(-1), ends(3, 4));
      const chain = await verifyChain(folder, { number: 2 });
      assert.equal(chain.storedBytes, size(0, 1, 2));
      const kernel = new SimKernel("sim:mlx5?size=4KiB");
      await using device = await openDevice(kernel.devices[0]!.path, { kernel, maps: MAPS });
      const restored = await read((onProgress) => restoreChain(device, chain, { onProgress }));
      assert.deepEqual(restored.at(-1), ends(0, 1, 2));
      // All are read, to find the last that can be restored.
      fs.unlinkSync(linkFile(folder, 1));
      const reports: ChainProgress[] = [];
      const onProgress = (progress: ChainProgress): void => void reports.push(progress);
      await assert.rejects(verifyChain(folder, { number: 2, onProgress }), ChainError);
      const again = reports.findLastIndex(({ storedBytes }) => storedBytes === 0);
      assert.deepEqual(reports[again - 1], { storedBytes: size(2), totalBytes: size(2) });
      assert.deepEqual(reports.at(-1), ends(0, 2, 3, 4, 5));
      // What it throws ends the work; once it was begun, the device is reset.
      const thrown = (): never => {
        throw new RangeError("enough");
      };
      await assert.rejects(inspectChain(folder, { onProgress: thrown }), /enough/);
      await assert.rejects(
        restoreChain(device, await verifyChain(folder, { number: 4 }), { onProgress: thrown }),
        ({ cause, devices }) => cause instanceof RangeError && devices[0].state === "running",
      );
    });
  });

  for (const [what, damage, found, number, code, message] of DAMAGES) {
    it(`is refused with ${what}, and the last good checkpoint is named`, async () => {
      await withTwo(async (folder, other) => {
        damage(folder, other);
        assert.equal(await letters(folder), found);
        await assert.rejects(verifyChain(folder, { number }), (error: ChainError) => {
          assert.match(error.message, message);
          assert.equal(error.code, code);
          assert.equal(error.lastGood, found.lastIndexOf("g"));
          return true;
        });
      });
    });
  }

  it("is refused with another link of the same number and chain, such as of a copied folder", async () => {
    await withTwo(async (folder) => {
      const { header } = (await inspectChain(folder)).links[1]!;
      const link = { ...header!.link!, id: "f".repeat(32) };
      const encoder = new CheckpointEncoder({ ...header!, link });
      fs.writeFileSync(
        `${folder}/000001.vfk`,
        Buffer.concat([...encoder.begin(), ...encoder.end()]),
      );
      assert.equal(await letters(folder), "ggwggg");
      await assert.rejects(
        verifyChain(folder, { number: 2 }),
        /2 needs 1: it is another checkpoint of the same number/,
      );
    });
  });

  it("can be restored up to the last good one", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB&dma=random:50/s");
      await using chain = new CheckpointChain(writer.device, folder);
      await chain.take();
      const state = await writer.content();
      writer.goOn();
      await chain.take();
      fs.truncateSync(`${folder}/000001.vfk`, 100);
      await assert.rejects(verifyChain(folder), ChainError);
      const { lastGood } = await inspectChain(folder);
      assertSame(await restored(folder, "mlx5?size=4KiB", lastGood!), state, "the last good one");
    });
  });

  it("whose file changes after it was verified resets the device", async () => {
    await withFolder(async (folder) => {
      await using writer = await openWriter("mlx5?size=4KiB&dma=random:50/s");
      await using chain = new CheckpointChain(writer.device, folder);
      await chain.take();
      const verified = await verifyChain(folder);
      fs.truncateSync(`${folder}/000000.vfk`, 5000);
      await using target = await openWriter("mlx5?size=4KiB");
      await assert.rejects(
        restoreChain(target.device, verified),
        /truncated|ends .*the device was reset/,
      );
      assert.equal(target.kernel.devices[0]!.running, true);
    });
  });

  it("with nothing in it has no checkpoint", async () => {
    await withFolder(async (folder) => {
      assert.deepEqual(await inspectChain(folder), { folder, links: [], lastGood: null });
      await assert.rejects(verifyChain(folder), (error: ChainError) => {
        assert.equal(error.code, "no-checkpoint");
        assert.match(error.message, /there are none; none can be restored$/);
        return true;
      });
    });
  });
});
