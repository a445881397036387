/**
 * Reading a migration stream of QEMU's with gigabytes of RAM in it, against cat.
 */

import * as fs from "node:fs";
import { qemuStream, Writer } from "../vmm/_qemu_stream.ts";
import { run, wallSeconds } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import { rateRow, type Row } from "./_row.ts";
import { CLI, type Runtime } from "./_runtime.ts";

/** RAM in the stream: so many sections of so many pages. */
const SECTIONS = 2048;
/** See {@linkcode SECTIONS}. */
const PAGES = 256;

/** How many sections the stream has that memory is compared with. */
const SMALL_SECTIONS = 64;

const PAGE_SIZE = 4096;
const RAM_SECTION = 2;

/** How near it should come to cat. */
const LEAST = 0.8;

/** How much more memory it may take than for the small stream. */
const MOST_RATIO = 1.25;

/** A section with pages of RAM, as QEMU writes it. */
function ramSection(): Uint8Array {
  const out = new Writer().byte(0x02).be32(RAM_SECTION);
  for (let page = 0; page < PAGES; page++) {
    if (page === 0) out.be64(0x08).name("pc.ram");
    else out.be64(page * PAGE_SIZE | 0x28);
    out.add(new Uint8Array(PAGE_SIZE).fill(page + 1));
  }
  return out.be64(0x10).byte(0x7e).be32(RAM_SECTION).bytes();
}

/** Writes a stream with so many sections of RAM; returns its length. */
function writeStream(file: string, sections: number): number {
  const device = { name: "0000:00:05.0/vfio", stopCopy: [new Uint8Array(PAGE_SIZE).fill(7)] };
  const stream = qemuStream({ pages: PAGES, devices: [device] });
  // Behind the section that begins the device, which comes after the one that begins RAM.
  const footer = [0x7e, 0, 0, 0, 10];
  const at = stream.findIndex((_, from) => footer.every((byte, i) => stream[from + i] === byte));
  const before = at + footer.length;
  const section = ramSection();
  const fd = fs.openSync(file, "w");
  fs.writeSync(fd, stream.subarray(0, before));
  for (let count = 0; count < sections; count++) fs.writeSync(fd, section);
  fs.writeSync(fd, stream.subarray(before));
  fs.closeSync(fd);
  return fs.statSync(file).size;
}

/** How fast it is, without the start of the command line, and its peak memory. */
export async function importRows(
  folder: string,
  runtime: Runtime,
  rounds: number,
): Promise<Row[]> {
  const peak = await compile("peak", folder);
  const [small, large] = [`${folder}/small`, `${folder}/large`];
  const smallBytes = writeStream(small, SMALL_SECTIONS);
  const bytes = writeStream(large, SECTIONS);
  const list = (file: string): string[] => [
    ...[...runtime.words, CLI, "import", "qemu", file, "--list", "--quiet"],
  ];
  const least = await interleave(rounds, {
    theirs: () => wallSeconds(["sh", "-c", 'cat "$1" >/dev/null', "sh", large]),
    start: () => wallSeconds(list(small)),
    ours: () => wallSeconds(list(large)),
  });
  const mib = async (file: string): Promise<number> => {
    await run([peak, `${folder}/import.kib`, ...list(file)]);
    return Number(fs.readFileSync(`${folder}/import.kib`, "utf8")) / 1024;
  };
  const [ofSmall, ofLarge] = [await mib(small), await mib(large)];
  for (const file of [small, large]) fs.rmSync(file);
  const what = `${runtime.name}: import of ${(bytes / 2 ** 30).toFixed(1)} GiB of RAM`;
  // What the small one takes beside its own bytes is the start of the command line.
  const share = 1 - smallBytes / bytes;
  const seconds = { ours: (least.ours - least.start) / share, theirs: least.theirs };
  return [
    rateRow(what, "cat >/dev/null", bytes, seconds, LEAST),
    {
      what: `${what}, peak memory`,
      ours: ofLarge,
      theirs: ofSmall,
      yardstick: `of ${SMALL_SECTIONS} MiB:`,
      unit: "MiB",
      compared: (ofLarge / ofSmall).toFixed(2),
      target: `≤ ${MOST_RATIO}`,
      met: ofLarge / ofSmall <= MOST_RATIO,
      note: null,
    },
  ];
}
