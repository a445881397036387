// How large a restic repository becomes with a full checkpoint and ten increments in it. What is
// asserted is sizes, which do not depend on the machine's speed; random memory is the worst case.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { getRandomValues, randomInt } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { CheckpointChain, verifyChain } from "../../src/live/mod.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { Folder } from "../cli/_folder.ts";
import { which } from "../lab/host.ts";

const IOVA = 1n << 30n;
const MEMORY = 16 << 20;
const PAGE = 4096;
/** The device's state: 1 % of memory, all of it rewritten each time. */
const STATE = Math.ceil(MEMORY / 100 / PAGE) * PAGE;
const INCREMENTS = 10;
/** Restic takes a second for its key each time: not after each increment. */
const BACKUPS_AFTER: readonly number[] = [1, 5, INCREMENTS];

/** Sizes of what was stored, as parts of one full checkpoint. */
interface Sizes {
  /** The files. */
  readonly files: number;
  /** The restic repository. */
  readonly repository: number;
}

/** Writes new random content to a part of the pages, here and there. */
async function dirty(device: Device, share: number): Promise<void> {
  const pages = new Set<number>();
  while (pages.size < Math.floor(MEMORY / PAGE * share)) pages.add(randomInt(MEMORY / PAGE));
  for (const page of pages) {
    await device.writeMemory(IOVA + BigInt(page * PAGE), getRandomValues(new Uint8Array(PAGE)));
  }
}

function sizeOf(folder: string): number {
  return fs.readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + fs.statSync(path.join(parentPath, name)).size, 0);
}

/** Takes a full checkpoint and increments, and backs them up in between. */
async function measure(share: number): Promise<Sizes> {
  using folder = new Folder();
  const [chainFolder, repository] = [folder.file("chain"), folder.file("repository")];
  const env = { ...process.env, RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: "x" };
  const restic = (...args: readonly string[]): void => {
    const { status, stderr } = spawnSync("restic", ["--no-cache", "--quiet", ...args], { env });
    assert.equal(status, 0, `${stderr}`);
  };
  restic("init");
  let now = 0;
  const kernel = SimKernel.withClock(() => now, `sim:mlx5?size=${STATE}&rate=${STATE}`);
  await using device = await openDevice(kernel.devices[0]!.path, {
    kernel,
    maps: [{ iova: IOVA, size: BigInt(MEMORY) }],
    tracker: "auto",
  });
  await dirty(device, 1);
  await using chain = new CheckpointChain(device, chainFolder);
  const { file, storedBytes: full } = await chain.take();
  restic("backup", chainFolder);
  for (let count = 0; count < INCREMENTS; count++) {
    now += 1000;
    await dirty(device, share);
    const { kind, bytes } = await chain.take();
    assert.deepEqual([kind, bytes.memory], ["increment", Math.floor(MEMORY / PAGE * share) * PAGE]);
    assert.ok(bytes.device >= STATE, `${bytes.device}`);
    if (BACKUPS_AFTER.includes(count + 1)) restic("backup", chainFolder);
  }
  assert.equal((await verifyChain(chainFolder)).files.length, 1 + INCREMENTS);
  assert.equal(full, fs.statSync(file).size);
  return { files: sizeOf(chainFolder) / full, repository: sizeOf(repository) / full };
}

describe("a full checkpoint and ten increments", { skip: lacksRestic() }, () => {
  for (const [share, most] of [[0.05, 1.7], [0.2, 3.3]] as const) {
    it(
      `take at most ${most} times the full one in a restic repository if ${
        share * 100
      } % of random pages change`,
      async () => {
        const { files, repository } = await measure(share);
        console.log(
          `  ${share * 100} %: files ${files.toFixed(3)}, restic ${repository.toFixed(3)}`,
        );
        assert.ok(repository <= most, `${repository}`);
      },
    );
  }
});

function lacksRestic(): string | false {
  return which("restic") === null ? "restic is not here; `deno task recipes` fetches it" : false;
}
