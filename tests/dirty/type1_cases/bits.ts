/**
 * Which pages are dirty, and how their bits come to the caller.
 *
 * @module
 */

import {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
} from "../../../src/uapi/mod.ts";
import { type Asker, pages } from "./asker.ts";
import type { CaseGroup } from "./case.ts";

const START = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
const STOP = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
const NONE = "0000000000000000";
const ONES = "ffffffffffffffff";

function write(a: Asker, ...numbers: number[]): void {
  for (const page of numbers) a.dma.write(pages(page), 1);
}

/** One call a mapping, as a tracker asks. */
function each(a: Asker, ...ranges: [first: number, count: number][]): string {
  return ranges.map(([first, count]) => BigInt(`0x${a.get(first, count)}`).toString(16)).join(" ");
}

export const BITS: CaseGroup = {
  name: "dirty bits",
  opened: true,
  cases: [
    { name: "MAP pages 0-99", ask: (a) => a.map(0, 100), answer: "0" },
    { name: "MAP pages 100-163", ask: (a) => a.map(100, 64), answer: "0" },
    { name: "MAP pages 256-383", ask: (a) => a.map(256, 128), answer: "0" },
    {
      name: "written before START, which begins clean",
      ask: (a) => {
        write(a, 1, 101);
        a.dirty(START);
        return a.get(256, 128);
      },
      answer: `0 ${NONE} ${NONE}`,
      only: "dma",
    },
    {
      name: "20 pages from page 3 on, each seventh",
      ask: (a) => {
        write(a, ...Array.from({ length: 20 }, (_, i) => 3 + 7 * i));
        return a.get(0, 164);
      },
      answer: "0 0810204081020408 0408102040810204 0000000000000102",
      only: "dma",
    },
    {
      name: "and again: no page, but what was shifted out behind the second mapping",
      ask: (a) => a.get(0, 164),
      answer: `0 ${NONE} ${NONE} 0000102000000000`,
      only: "dma",
    },
    {
      name: "START again does not clear",
      ask: (a) => {
        write(a, 300);
        a.dirty(START);
        return a.get(256, 128);
      },
      answer: `0 0000100000000000 ${NONE}`,
      only: "dma",
    },
    {
      name: "pages 120-123 pinned",
      ask: (a) => {
        a.dma.pin(pages(120), 4);
        return a.get(0, 164);
      },
      answer: `0 ${NONE} 0f00000000000000 ${NONE}`,
      only: "dma",
    },
    {
      name: "pinned pages stay dirty",
      ask: (a) => a.get(0, 164),
      answer: `0 ${NONE} 0f00000000000000 ${NONE}`,
      only: "dma",
    },
    {
      name: "and are, once more, after they were unpinned",
      ask: (a) => {
        a.dma.unpin(pages(120), 4);
        return a.get(0, 164);
      },
      answer: `0 ${NONE} 0f00000000000000 ${NONE}`,
      only: "dma",
    },
    {
      name: "then no more",
      ask: (a) => a.get(0, 164),
      answer: `0 ${NONE} ${NONE} ${NONE}`,
      only: "dma",
    },
    {
      name: "pinned before START: dirty from the start",
      ask: (a) => {
        a.dirty(STOP);
        a.dma.pin(pages(257), 1);
        a.dirty(START);
        return a.get(256, 128);
      },
      answer: `0 0000000000000002 ${NONE}`,
      only: "dma",
    },
    {
      name: "STOP loses what was not read",
      ask: (a) => {
        a.dma.unpin(pages(257), 1);
        write(a, 300);
        a.dirty(STOP);
        a.dirty(START);
        return a.get(256, 128);
      },
      answer: `0 ${NONE} ${NONE}`,
      only: "dma",
    },
    {
      name: "a write to what is not mapped",
      ask: (a) => write(a, 200),
      answer: "EINVAL",
      only: "dma",
    },
    {
      name: "GET that fails at the second mapping has cleared the first",
      ask: (a) => {
        // The first mapping's last bit is in the word in front of it, in memory.
        write(a, 5);
        a.unmap(100, 64);
        a.map(128, 64);
        try {
          a.get(0, 192, { data: a.bitmapAtTheEdge - 8n, bytes: 24n });
        } catch {
          return a.get(0, 100);
        }
        return "did not fail";
      },
      answer: `0 ${NONE} ${NONE}`,
      only: "dma",
    },
  ],
};

const THREE: [number, number][] = [[600, 10], [610, 10], [620, 44]];

export const PHANTOMS: CaseGroup = {
  name: "three mappings in one word: pages 600-609, 610-619, 620-663",
  opened: true,
  cases: [
    {
      name: "MAP and START",
      ask: (a) => {
        for (const [first, count] of THREE) a.map(first, count);
        a.dirty(START);
      },
      answer: "0",
    },
    {
      name: "page 615 is written once: GET of all three",
      ask: (a) => {
        write(a, 615);
        return a.get(600, 64);
      },
      answer: "0 0000000000008000",
      only: "dma",
    },
    { name: "second GET", ask: (a) => a.get(600, 64), answer: "0 0000000002000000", only: "dma" },
    { name: "third GET", ask: (a) => a.get(600, 64), answer: "0 0000000800000000", only: "dma" },
    { name: "fourth GET", ask: (a) => a.get(600, 64), answer: "0 0000200000000000", only: "dma" },
    {
      name: "page 615 again, one GET a mapping: the phantoms are behind the last page of each",
      ask: (a) => {
        write(a, 615);
        return each(a, ...THREE);
      },
      answer: "0 0 200000000020 200000000000",
      only: "dma",
    },
    {
      name: "second round",
      ask: (a) => each(a, ...THREE),
      answer: "0 0 200000000000 200000000000",
      only: "dma",
    },
    {
      name: "third round",
      ask: (a) => each(a, ...THREE),
      answer: "0 0 200000000000 200000000000",
      only: "dma",
    },
  ],
};

export const HARDWARE_WORD: CaseGroup = {
  name: "three mappings in one word that were never read together",
  opened: true,
  cases: [
    {
      name: "MAP and START",
      ask: (a) => {
        for (const [first, count] of THREE) a.map(first, count);
        a.dirty(START);
      },
      answer: "0",
    },
    {
      name: "one GET a mapping: none has a phantom",
      ask: (a) => each(a, ...THREE),
      answer: "0 0 0 0",
      hardware: "0 3ff 3ff fffffffffff",
    },
  ],
};

export const SHIFTED: CaseGroup = {
  name: "pages 10-19, in a range that begins at page 0",
  opened: true,
  cases: [
    {
      name: "MAP and START",
      ask: (a) => {
        a.map(10, 10);
        a.dirty(START);
      },
      answer: "0",
    },
    {
      name: "GET over ones: the caller's whole word is kept",
      ask: (a) => a.get(0, 64, { prefill: 0xff }),
      answer: `0 ${ONES}`,
    },
    {
      name: "GET over zeros: what was the caller's has become the kernel's",
      ask: (a) => a.get(0, 64),
      answer: "0 fffffffffff00000",
      hardware: "0 fffffffffffffc00",
    },
  ],
};
