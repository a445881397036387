/**
 * Looks at resident memory, as a live migration does. Prints the seconds for finding pages of zeros in
 * memory of zeros and in pages whose last byte is not zero, for hashing pages and copying them into
 * frames, for comparing them with those hashes, and for copying the memory. Argument: MiB.
 */

import process from "node:process";
import { DeviceMemory } from "../../src/dirty/mod.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { PAGE_SLOT_BYTES, PageScan } from "../../src/migration/memory/page_scan.ts";

const PAGE = 4096;
const MIB = 1 << 20;
const ROUNDS = 5;
const size = Number(process.argv[2]) * MIB;

using mapping = libcKernel().mmap(size, {
  prot: PROT_READ | PROT_WRITE,
  flags: MAP_PRIVATE | MAP_ANONYMOUS,
});
const memory = new DeviceMemory([{ iova: 0n, size: BigInt(size), memory: mapping, offset: 0 }]);
const buffer = new Uint8Array(new ArrayBuffer(MIB));
for (let at = 0; at < size; at += MIB) mapping.write(at, buffer);

/** The least seconds of several rounds. */
function least(work: () => void): number {
  let seconds = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    work();
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  return seconds;
}

const copied = least(() => {
  for (let at = 0; at < size; at += MIB) mapping.read(at, buffer);
});
const slot = new ArrayBuffer(PAGE_SLOT_BYTES);

/** Looks at all memory; returns the bytes of pages of zeros, and of those that were sent before. */
function pass(scan: PageScan): { readonly zero: number; readonly same: number } {
  scan.add("all");
  const found = { zero: 0, same: 0 };
  for (let done = false; !done;) {
    const turn = scan.fill(slot);
    found.zero += turn.zero;
    found.same += turn.same;
    done = turn.done;
  }
  return found;
}

const newScan = (): PageScan =>
  new PageScan(memory, { device: 0, tracker: null, lazyHashes: false });

const zeros = least(() => {
  const { zero } = pass(newScan());
  if (zero !== size) throw new Error(`${zero} bytes of zeros in place of ${size}`);
});
for (let at = PAGE - 1; at < size; at += PAGE) mapping.write(at, new Uint8Array([1]));
const last = least(() => {
  for (let at = 0; at < size; at += PAGE) {
    if (memory.isZero(BigInt(at), PAGE)) throw new Error(`The page at ${at} is not zero`);
  }
});
for (let at = 0; at < size; at += PAGE) mapping.write(at, new Uint8Array([1]));
const hashed = least(() => void pass(newScan()));
const sent = newScan();
pass(sent);
const compared = least(() => {
  const { same } = pass(sent);
  if (same !== size) throw new Error(`${same} bytes are the same in place of ${size}`);
});
console.log(`${zeros} ${last} ${hashed} ${compared} ${copied}`);
