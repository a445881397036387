/**
 * The device's own log of its DMA.
 *
 * @module
 */

import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT as LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START as LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP as LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET as GET,
  VFIO_DEVICE_FEATURE_SET as SET,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
} from "../../uapi/mod.ts";
import { hasState } from "../../vfio/state/v2_plan.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import { DmaWindow, WINDOW_BYTES } from "../dma_window.ts";
import { rule } from "../rules.ts";
import { RUNNING, RUNNING_P2P, STOP } from "../v2/states.ts";

const group = "dma-log";
const needs: Needs = {
  protocol: "v2",
  features: [LOGGING_START, LOGGING_STOP, LOGGING_REPORT],
  // Reports would take pages from another program that tracks them.
  closable: true,
};
const PAGE = 4096n;
const PAGES = WINDOW_BYTES / Number(PAGE);
/** Bytes of a report's bitmap: a bit for each page. */
const BITMAP = PAGES / 8;
/** Bytes around a bitmap that a report must not touch. */
const CANARY = 64;
const CANARY_BYTE = 0xa5;
/** Ranges that fit in a page. */
const RANGES_MAX = 256;
/** How long the device writes before a report, in milliseconds. */
const BUSY_MS = 300;
const FEW_MS = 10;
/** The longest that it runs if it writes nothing. */
const LONGEST_MS = 2000;

interface Range {
  readonly iova: bigint;
  readonly length: bigint;
}

/** One log, with the memory that its structs point to. */
class Log implements Disposable {
  readonly #context: CheckContext;
  readonly #memory: Mapping;

  constructor(context: CheckContext) {
    this.#context = context;
    const prot = PROT_READ | PROT_WRITE;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    this.#memory = context.kernel.mmap(65536, { prot, flags });
  }

  /** DMA_LOGGING_START; answers the errno's name, and the page size that came back. */
  start(ranges: readonly Range[], pageSize: bigint = PAGE): { errno: string | null; page: bigint } {
    const { size } = vfioDeviceFeatureDmaLoggingRange;
    ranges.slice(0, RANGES_MAX + 1).forEach((range, index) =>
      this.#memory.write(index * size, vfioDeviceFeatureDmaLoggingRange.pack(range))
    );
    const control = vfioDeviceFeatureDmaLoggingControl.pack({
      page_size: pageSize,
      num_ranges: ranges.length,
      ranges: this.#memory.address,
    });
    const { value, errno } = this.#context.v2.feature(SET | LOGGING_START, control);
    const ends = ranges.length === 1
      ? `0x${ranges[0]!.length.toString(16)} bytes at 0x${ranges[0]!.iova.toString(16)}`
      : `${ranges.length} ranges`;
    this.#context.step(`START of ${ends}, page size ${pageSize} → ${errno ?? "success"}`);
    const page = value === null ? 0n : vfioDeviceFeatureDmaLoggingControl.unpack(value).page_size;
    return { errno, page };
  }

  /** START that must succeed. */
  begin(ranges: readonly Range[]): bigint {
    const { errno, page } = this.start(ranges);
    if (errno !== null) this.#context.unclear(`DMA_LOGGING_START failed with ${errno}`);
    return page;
  }

  /** DMA_LOGGING_STOP. */
  stop(): string | null {
    const { errno } = this.#context.v2.feature(SET | LOGGING_STOP);
    this.#context.step(`STOP → ${errno ?? "success"}`);
    return errno;
  }

  /**
   * DMA_LOGGING_REPORT into a bitmap between canaries; every bit that is set in `before` is set
   * beforehand.
   */
  report(
    { iova, length }: Range,
    pageSize: bigint = PAGE,
    before: number = 0,
  ): { errno: string | null; bitmap: Uint8Array; intact: boolean } {
    const bytes = new Uint8Array(BITMAP + 2 * CANARY).fill(CANARY_BYTE);
    bytes.fill(before, CANARY, CANARY + BITMAP);
    this.#memory.write(0, bytes);
    const bitmap = this.#memory.address + BigInt(CANARY);
    const request = vfioDeviceFeatureDmaLoggingReport
      .pack({ iova, length, page_size: pageSize, bitmap });
    const { errno } = this.#context.v2.feature(GET | LOGGING_REPORT, request);
    this.#memory.read(0, bytes);
    const found = bytes.slice(CANARY, CANARY + BITMAP);
    const rest = [...bytes.subarray(0, CANARY), ...bytes.subarray(CANARY + BITMAP)];
    this.#context.step(
      `REPORT of 0x${length.toString(16)} bytes, page size ${pageSize} → ` +
        (errno ?? `${count(found)} bits`),
    );
    return { errno, bitmap: found, intact: rest.every((byte) => byte === CANARY_BYTE) };
  }

  /** A report that must succeed: fails by rule 96, or skips where the kernel lacks iommufd. */
  read(range: Range, pageSize?: bigint, before?: number): Uint8Array {
    const { errno, bitmap } = this.report(range, pageSize, before);
    if (errno === "EOPNOTSUPP") {
      this.#context.skip("the kernel lacks iommufd, which reports need (EOPNOTSUPP)");
    }
    this.#context.expect(errno === null, "REPORT succeeds", `it failed with ${errno}`, 96);
    return bitmap;
  }

  [Symbol.dispose](): void {
    this.#context.v2.feature(SET | LOGGING_STOP);
    this.#memory.close();
  }
}

function count(bitmap: Uint8Array): number {
  return bitmap.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
}

function isSet(bitmap: Uint8Array, page: number): boolean {
  return ((bitmap[page >> 3] ?? 0) & (1 << (page & 7))) !== 0;
}

/** A START that has to be refused. */
function refusedStart(
  id: string,
  number: number,
  errnos: readonly string[],
  ranges: readonly Range[],
): Check {
  return defineCheck({
    id: `v2.log.${id}`,
    group,
    rules: [rule(number)],
    needs,
    run: (context) => {
      using log = new Log(context);
      const { errno } = log.start(ranges);
      context.expect(
        errno !== null && errnos.includes(errno),
        `it fails with ${errnos.join(" or ")}`,
        errno ?? "it succeeds",
      );
    },
  });
}

const range = (iova: bigint, length: bigint): Range => ({ iova, length });
const WHOLE = range(0x4000_0000n, BigInt(WINDOW_BYTES));

/** Runs a judgement with the log on memory that the device was seen to write to. */
function withWrites(
  id: string,
  numbers: readonly [number, ...number[]],
  judge: (context: CheckContext, log: Log, whole: Range, memory: DmaWindow) => void,
): Check {
  const [first, ...others] = numbers;
  return defineCheck({
    id: `v2.log.${id}`,
    group,
    rules: [rule(first), ...others.map(rule), rule(96)],
    needs: { ...needs, dma: true, load: true },
    run: (context) => {
      using memory = DmaWindow.map(context);
      using log = new Log(context);
      const whole = range(memory.iova, BigInt(WINDOW_BYTES));
      log.begin([whole]);
      memory.demandWrites(BUSY_MS);
      judge(context, log, whole, memory);
    },
  });
}

/** Lets the device run for a moment, from an empty log of these ranges and empty memory. */
function runAnew(
  context: CheckContext,
  { log, ranges, memory }: {
    readonly log: Log;
    readonly ranges: readonly Range[];
    readonly memory: DmaWindow;
  },
  milliseconds: number = BUSY_MS,
): void {
  context.v2.enter(STOP);
  for (const each of ranges) log.read(each);
  memory.clear();
  context.v2.enter(RUNNING);
  context.pause(milliseconds);
}

/**
 * What the device writes while it runs for a moment, from a quiet begin: the pages, by their
 * numbers. A load may be slow to make it write: then it runs anew, for twice as long. It is left in
 * STOP.
 */
function pagesWritten(
  context: CheckContext,
  { milliseconds = BUSY_MS, ...written }: Parameters<typeof runAnew>[1] & {
    readonly milliseconds?: number;
  },
): number[] {
  for (let long = milliseconds; long <= LONGEST_MS; long *= 2) {
    runAnew(context, written, long);
    context.v2.enter(STOP);
    const changed = written.memory.written();
    if (changed.length > 0) return changed;
  }
  return context.unclear("the device wrote to no memory meanwhile");
}

/** The parts of the memory that are reported one by one: their ends are not whole words. */
const PARTS: readonly number[] = [0, 3, 40, 111, PAGES];

/** The checks of the device's log. */
export const DMA_LOG_CHECKS: readonly Check[] = [
  refusedStart("no-range", 82, ["EINVAL"], []),
  refusedStart(
    "too-many-ranges",
    83,
    ["E2BIG"],
    Array.from({ length: RANGES_MAX + 1 }, (_, at) => range(BigInt(at) * 2n * PAGE, PAGE)),
  ),
  refusedStart("unaligned", 84, ["EINVAL"], [range(PAGE / 2n, PAGE)]),
  refusedStart("unaligned-length", 84, ["EINVAL"], [range(PAGE, PAGE / 2n)]),
  refusedStart("overlap", 85, ["EINVAL"], [range(0n, 4n * PAGE), range(2n * PAGE, 4n * PAGE)]),
  refusedStart("wraps", 86, ["EOVERFLOW"], [range(2n ** 64n - PAGE, 2n * PAGE)]),
  defineCheck({
    id: "v2.log.start-twice",
    group,
    rules: [rule(87)],
    needs,
    run: (context) => {
      using log = new Log(context);
      log.begin([WHOLE]);
      const { errno } = log.start([WHOLE]);
      context.expect(errno !== null, "the second START fails", "it succeeds");
    },
  }),
  defineCheck({
    id: "v2.log.page-size",
    group,
    rules: [rule(88)],
    needs,
    run: (context) => {
      using log = new Log(context);
      const page = log.begin([WHOLE]);
      context.step(`START answers page size ${page}`);
      context.prefer(
        page > 0n && (page & (page - 1n)) === 0n,
        "the page size is a power of two",
        `it is ${page}`,
      );
    },
  }),
  defineCheck({
    id: "v2.log.report-page-size",
    group,
    rules: [rule(89)],
    needs,
    run: (context) => {
      using log = new Log(context);
      log.begin([WHOLE]);
      for (const page of [2048n, 12288n]) {
        const { errno } = log.report(WHOLE, page);
        context.expect(
          errno === "EINVAL",
          `REPORT with page size ${page} fails with EINVAL`,
          errno ?? "it succeeds",
        );
      }
    },
  }),
  defineCheck({
    id: "v2.log.report-while-off",
    group,
    rules: [rule(90)],
    needs,
    run: (context) => {
      using log = new Log(context);
      const { errno: never } = log.report(WHOLE);
      context.expect(never !== null, "REPORT fails before the first START", "it succeeds");
      log.begin([WHOLE]);
      const stopped = log.stop();
      context.expect(stopped === null, "STOP succeeds", `it failed with ${stopped}`);
      const { errno } = log.report(WHOLE);
      context.expect(errno !== null, "REPORT fails after STOP", "it succeeds");
      const again = log.start([WHOLE]);
      context.expect(again.errno === null, "START succeeds after STOP", `it fails: ${again.errno}`);
    },
  }),
  defineCheck({
    id: "v2.log.report",
    group,
    rules: [rule(96)],
    needs,
    run: (context) => {
      using log = new Log(context);
      log.begin([WHOLE]);
      log.read(WHOLE);
    },
  }),
  defineCheck({
    id: "v2.log.bits",
    group,
    rules: [rule(92), rule(96)],
    needs,
    run: (context) => {
      using log = new Log(context);
      log.begin([WHOLE]);
      const { errno, bitmap, intact } = log.report(WHOLE, PAGE, 0xff);
      if (errno === "EOPNOTSUPP") context.skip("the kernel lacks iommufd (EOPNOTSUPP)");
      context.expect(errno === null, "REPORT succeeds", `it failed with ${errno}`, 96);
      context.expect(
        bitmap.every((byte) => byte === 0xff),
        "bits that were set stay set",
        `${PAGES - count(bitmap)} were cleared`,
      );
      context.expect(intact, `${CANARY} bytes around the bitmap stay`, "some were written to");
      const half = range(WHOLE.iova, WHOLE.length / 2n);
      const part = log.report(half, PAGE, 0);
      context.expect(
        part.intact && part.bitmap.subarray(BITMAP / 2).every((byte) => byte === 0),
        "a report of half of the range leaves the other half of the bitmap",
        "it writes there",
      );
    },
  }),
  withWrites("clears", [91], (context, log, whole) => {
    context.v2.enter(STOP);
    const first = log.read(whole);
    const again = log.read(whole);
    context.expect(
      count(first) > 0 && count(again) === 0,
      "the stopped device's second report is empty",
      `the first has ${count(first)} bits, the second ${count(again)}`,
    );
  }),
  withWrites("part", [91], (context, log, whole, memory) => {
    const half = whole.length / 2n;
    runAnew(context, { log, ranges: [whole], memory });
    context.v2.enter(STOP);
    log.read(range(whole.iova, half));
    const upper = log.read(range(whole.iova + half, half));
    const changed = memory.written().filter((page) => page >= PAGES / 2);
    const missing = changed.filter((page) => !isSet(upper, page - PAGES / 2));
    context.expect(
      missing.length === 0,
      "a report of one half leaves the pages of the other half in the log",
      `${missing.length} of its ${changed.length} pages are missing`,
    );
    if (changed.length === 0) context.unclear("the device wrote to no memory meanwhile");
  }),
  withWrites("parts", [151, 92], (context, log, whole, memory) => {
    const changed = pagesWritten(context, { log, ranges: [whole], memory });
    PARTS.slice(1).forEach((end, index) => {
      const begin = PARTS[index]!;
      const part = range(whole.iova + BigInt(begin) * PAGE, BigInt(end - begin) * PAGE);
      const bitmap = log.read(part);
      const missing = changed.find((page) =>
        page >= begin && page < end && !isSet(bitmap, page - begin)
      );
      context.expect(
        missing === undefined,
        `a report that begins at page ${begin} has bit N for page ${begin} + N`,
        `page ${missing} changed, and bit ${(missing ?? 0) - begin} is not set`,
      );
      const beyond = Array.from({ length: PAGES - (end - begin) }, (_, at) => end - begin + at)
        .filter((bit) => isSet(bitmap, bit));
      context.expect(
        beyond.length === 0,
        `no bit from ${end - begin} on is set`,
        `${beyond.length} are`,
        92,
      );
    });
  }),
  defineCheck({
    id: "v2.log.ranges",
    group,
    rules: [rule(141), rule(96)],
    needs: { ...needs, dma: true, load: true },
    run: (context) => {
      using memory = DmaWindow.map(context);
      using log = new Log(context);
      const quarter = BigInt(WINDOW_BYTES) / 4n;
      const ranges = [0n, 1n, 3n].map((at) => range(memory.iova + at * quarter, quarter));
      log.begin(ranges);
      memory.demandWrites(BUSY_MS);
      runAnew(context, { log, ranges, memory });
      context.v2.enter(STOP);
      const changed = memory.written();
      for (const each of ranges) {
        const first = Number((each.iova - memory.iova) / PAGE);
        const bitmap = log.read(each);
        const missing = changed.filter((page) =>
          page >= first && page < first + PAGES / 4 && !isSet(bitmap, page - first)
        );
        context.expect(
          missing.length === 0,
          `of ${ranges.length} ranges, the one from page ${first} on has all pages that changed`,
          `${missing.length} are missing, such as page ${missing[0]}`,
        );
      }
      if (changed.length === 0) context.unclear("the device wrote to no memory meanwhile");
    },
  }),
  defineCheck({
    id: "v2.log.ends-with-close",
    group,
    safety: "reset",
    rules: [rule(150)],
    needs,
    run: (context) => {
      using log = new Log(context);
      log.begin([WHOLE]);
      context.reopen();
      const { errno } = log.start([WHOLE]);
      context.expect(errno === null, "after the next open START succeeds", `it fails: ${errno}`);
    },
  }),
  withWrites("folded", [93], (context, log, whole, memory) => {
    const folds = 16;
    // A few pages only: if all are written to, every bit is set whatever it stands for.
    const changed = pagesWritten(context, {
      log,
      ranges: [whole],
      memory,
      milliseconds: FEW_MS,
    });
    const large = log.read(whole, PAGE * BigInt(folds));
    const missing = changed.find((page) => !isSet(large, Math.floor(page / folds)));
    context.expect(
      missing === undefined,
      `with pages of ${Number(PAGE) * folds} bytes, each page that changed has its bit`,
      `page ${missing} changed, and bit ${Math.floor((missing ?? 0) / folds)} is not set`,
    );
    const outside = count(large.subarray(PAGES / folds / 8));
    context.expect(
      outside === 0,
      `only the first ${PAGES / folds} bits are set`,
      `${outside} more`,
    );
  }),
  withWrites("nothing-lost", [141], (context, log, whole, memory) => {
    const changed = pagesWritten(context, { log, ranges: [whole], memory });
    const bitmap = log.read(whole);
    const missing = changed.filter((page) => !isSet(bitmap, page));
    context.expect(
      missing.length === 0,
      `all ${changed.length} pages that changed are reported`,
      `${missing.length} are missing, such as page ${missing[0]}`,
    );
  }),
  withWrites("lives-through-steps", [95], (context, log, whole, memory) => {
    const { v2 } = context;
    runAnew(context, { log, ranges: [whole], memory });
    if (hasState(RUNNING_P2P, v2.flags)) v2.enter(RUNNING_P2P);
    v2.enter(STOP);
    const changed = memory.written().length;
    const reported = count(log.read(whole));
    context.expect(
      reported >= changed && log.report(whole).errno === null,
      `the ${changed} pages written to before the steps are reported after them`,
      `${reported} are`,
    );
  }),
];
