/**
 * How fast the tool is next to a C program that does the same, in the same
 * guest and in turns. Printed, not judged: the emulator's host swings.
 *
 * @module
 */

import { rmSync, statfsSync } from "node:fs";
import { withPair } from "./device.ts";
import { client, expectExit, vfiokit, wholeJson } from "./programs.ts";

const SIZE = 256 << 20;
const TURNS = 3;

interface Report {
  readonly bytes: number;
  readonly seconds: number;
}

function rate({ bytes, seconds }: Report): number {
  return bytes / seconds / 1e6;
}

function line(name: string, ours: readonly number[], theirs: readonly number[]): string {
  const [best, yardstick] = [Math.max(...ours), Math.max(...theirs)];
  const figures = [best.toFixed(0), yardstick.toFixed(0)].map((text) => text.padStart(9));
  return `${name.padEnd(20)}${figures.join("")}${(best / yardstick).toFixed(2).padStart(9)}`;
}

/** How much of a file system is free. */
function freeMiB(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return Math.floor(bavail * bsize / (1 << 20));
}

/** Measures saving and restoring, and prints a table. */
export async function measure(): Promise<void> {
  const saves: [number[], number[]] = [[], []];
  const restores: [number[], number[]] = [[], []];
  const ours = async (...words: string[]): Promise<number> =>
    rate(wholeJson(await expectExit(0, [...vfiokit(), ...words, "--json", "--quiet"])));
  // Memory that the guest never used before is slow: the host makes it up page by page.
  const count = Math.min(800, freeMiB("/tmp") - 16);
  await expectExit(0, ["dd", "if=/dev/zero", "of=/tmp/ours", "bs=1M", `count=${count}`]);
  await withPair("trapped", { size: SIZE }, async (first, second) => {
    for (let turn = 0; turn < TURNS; turn++) {
      for (const file of ["/tmp/ours", "/tmp/theirs"]) rmSync(file, { force: true });
      saves[0].push(await ours("save", first.uuid, "-o", "/tmp/ours"));
      saves[1].push(rate(await client("save", first.uuid, "/tmp/theirs")));
      restores[0].push(await ours("restore", second.uuid, "/tmp/ours"));
      restores[1].push(rate(await client("restore", second.uuid, "/tmp/theirs")));
    }
  });
  console.log(`\nMB/s, best of ${TURNS}       vfiokit        C    ratio`);
  console.log(line("save to tmpfs", ...saves));
  console.log(line("restore from tmpfs", ...restores));
}
