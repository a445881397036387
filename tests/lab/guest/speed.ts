/**
 * How fast the tool is next to a C program that does the same, in the same
 * guest and in turns. Printed, not judged: the emulator's host swings.
 *
 * @module
 */

import { withPair } from "./device.ts";
import { client, expectExit, vfiokit, wholeJson } from "./programs.ts";

const SIZE = 128 << 20;
const TURNS = 2;

interface Report {
  readonly bytes: number;
  readonly seconds: number;
}

function rate({ bytes, seconds }: Report): number {
  return bytes / seconds / 1e6;
}

function line(name: string, ours: readonly number[], theirs: readonly number[]): string {
  const [best, yardstick] = [Math.max(...ours), Math.max(...theirs)];
  const figures = [best.toFixed(0), yardstick.toFixed(0)].map((text) => text.padStart(7));
  return `${name.padEnd(24)}${figures.join("")}   ${(best / yardstick).toFixed(2)}`;
}

/** Measures saving and restoring, and prints a table. */
export async function measure(): Promise<void> {
  console.log(`\nto and from tmpfs, MB/s   vfiokit      C   ratio (best of ${TURNS}, in turns)`);
  for (const type of ["trapped", "mapped"] as const) {
    await withPair(type, { size: SIZE }, async (first, second) => {
      const saves: [number[], number[]] = [[], []];
      const restores: [number[], number[]] = [[], []];
      const json = async (...words: string[]): Promise<number> =>
        rate(wholeJson(await expectExit(0, [...vfiokit(), ...words, "--json", "--quiet"])));
      for (let turn = 0; turn < TURNS; turn++) {
        saves[0].push(await json("save", first.uuid, "-o", "/tmp/a", "--force"));
        saves[1].push(rate(await client("save", first.uuid, "/tmp/b")));
        restores[0].push(await json("restore", second.uuid, "/tmp/a"));
        restores[1].push(rate(await client("restore", second.uuid, "/tmp/b")));
      }
      console.log(line(`save ${type}`, ...saves));
      console.log(line(`restore ${type}`, ...restores));
    });
  }
}
