/**
 * Sessions that track dirty pages, on devices that fail.
 */

import { DirtyRangeError } from "../../src/dirty/range_error.ts";
import type { DirtyReading } from "../../src/dirty/reading.ts";
import { DirtySession } from "../../src/dirty/session.ts";
import type { IovaMapping } from "../../src/vfio/dma/iova.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { checkClosed } from "./_bench.ts";
import { checkError } from "./_errors.ts";
import { Find } from "./_kind.ts";
import type { DirtyOperation, FaultsPlan } from "./_plan.ts";
import { nameOf } from "./_specs.ts";

const PAGE = 4096n;

/** Pages that were written to and that no reading has told yet. */
class Written {
  readonly #pages = new Set<bigint>();

  add(iova: bigint): void {
    this.#pages.add(iova);
  }

  clear(): void {
    this.#pages.clear();
  }

  /** Each page that a reading covers is dirty in it. */
  checkTold(reading: DirtyReading): void {
    for (const { bitmap } of reading.ranges) {
      const { iova, size, pgsize } = bitmap;
      const dirty = new Set(bitmap.pages());
      for (const page of this.#pages) {
        if (page < iova || page >= iova + size) continue;
        if (!dirty.has(page - (page - iova) % BigInt(pgsize))) {
          throw new Find("dirty page", `the page at 0x${page.toString(16)} was lost`);
        }
        this.#pages.delete(page);
      }
    }
  }
}

/** Lays mappings out, one behind the other. */
function layOut(maps: DirtyOperation["maps"]): IovaMapping[] {
  let at = 0x100000n;
  return maps.map(({ gap, pages }) => {
    const iova = at + BigInt(gap) * PAGE;
    const size = BigInt(pages) * PAGE;
    at = iova + size;
    return { iova, size };
  });
}

/** Carries out a session. */
export function runDirty({ specs }: FaultsPlan, operation: DirtyOperation): void {
  const kernel = new SimKernel(nameOf(specs[0]!));
  const sim = kernel.devices[0]!;
  const maps = layOut(operation.maps);
  const { tracker, via, steps } = operation;
  let session: DirtySession;
  try {
    session = DirtySession.open(sim.path, { kernel, maps, tracker, via });
  } catch (error) {
    checkError(error, [], "opening");
    return checkClosed(kernel);
  }
  const written = new Written();
  const unmapped = new Set<number>();
  const take = (step: DirtyOperation["steps"][number]): void => {
    switch (step.ask) {
      case "start":
        if (!session.tracker.active) written.clear();
        return session.tracker.start();
      case "stop":
        written.clear();
        return session.tracker.stop();
      case "read":
      case "readTwice":
        // To read before the start is a mistake that a script's author sees at once.
        if (!session.tracker.active) return;
        return written.checkTold(session.tracker.read({ twice: step.ask === "readTwice" }));
      case "write":
        for (const [index, { iova, size }] of maps.entries()) {
          if (unmapped.has(index)) continue;
          sim.dma.write(iova, new Uint8Array([1]));
          sim.dma.write(iova + size - PAGE, new Uint8Array([1]));
          if (!session.tracker.active) continue;
          written.add(iova);
          written.add(iova + size - PAGE);
        }
        return;
      case "unmap": {
        if (!session.tracker.active) return;
        const { iova, size } = maps[step.map]!;
        const twice = unmapped.has(step.map);
        const result = session.tracker.unmapWithDirty(iova, size);
        if (result.unmapped > 0n) unmapped.add(step.map);
        if (result.error !== null) checkError(result.error, [], "unmapping");
        else if (result.unmapped !== size && !twice) {
          throw new Find("dirty page", `${result.unmapped} bytes of ${size} were unmapped`);
        }
        return written.checkTold(result.reading);
      }
    }
  };
  for (const step of steps) {
    try {
      take(step);
    } catch (error) {
      if (error instanceof Find) throw error;
      // To unmap twice is the caller's mistake.
      checkError(error, [DirtyRangeError], step.ask);
    }
  }
  try {
    session.close();
  } catch (error) {
    checkError(error, [], "closing");
  }
  checkClosed(kernel);
}
