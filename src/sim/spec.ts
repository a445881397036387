/**
 * What a `sim:…` name says: personality, options, faults.
 *
 * @module
 */

import { printable } from "../text/mod.ts";
import { canHave, type Fault, parseFault } from "./_faults.ts";
import { DMA_FORM, type DmaPattern, parseDmaPattern } from "./_dma_pattern.ts";
import { PAGE } from "./_pages.ts";
import { formatSize, parseSize, parseU32 } from "./_units.ts";
import { V2_DRIVERS } from "./_v2_drivers.ts";
import { PERSONALITIES, type PersonalityName } from "./personalities.ts";

export type { DmaPattern } from "./_dma_pattern.ts";
export type { Fault, FaultName } from "./_faults.ts";

/** A name that stands for no simulated device: a mistake of the caller. */
export class SimSpecError extends Error {
  /** Always `SimSpecError`. */
  override readonly name = "SimSpecError";

  /** Makes the error; `problem` names the part that is wrong, and what is allowed. */
  constructor(spec: string, problem: string) {
    super(printable(`Cannot simulate ${JSON.stringify(spec)}: ${problem}`));
  }
}

/** A simulated device, as its name describes it. */
export interface SimSpec {
  /** The kind of device. */
  readonly personality: PersonalityName;
  /** Bytes of device state, a multiple of 4096. */
  readonly size: number;
  /** What the state is made from; null: the device's number in the kernel, from 1 on. */
  readonly seed: number | null;
  /** Bytes of its state that the device changes a second while it runs. */
  readonly rate: number;
  /** Bytes of a transaction, at most. */
  readonly chunk: number;
  /** device_state as it is at open, bits 3 to 31. */
  readonly reserved: number;
  /**
   * How its IOMMU tells what is dirty: by what its driver pins and writes
   * (`pinned`), or not at all, as with passed-through PCI devices (`all-dirty`).
   */
  readonly iommu: "pinned" | "all-dirty";
  /** How it writes to memory while it runs; null: not by itself. */
  readonly dma: DmaPattern | null;
  /** Pages, the first that are mapped, that its driver holds pinned while it runs. */
  readonly pin: number;
  /** Bytes that the process may lock; null without a limit. */
  readonly memlock: number | null;
  /** Bytes of the smallest page that its own log goes by; a power of two. */
  readonly logPage: number;
  /** v2: how often in a pre-copy there is new initial data; null before Linux 7.1. */
  readonly reinit: number | null;
  /** Whether its kernel has /dev/iommu, and character devices of the devices' own. */
  readonly cdev: boolean;
  /** Whether it is in an IOMMU group; without one it has its own node alone. */
  readonly group: boolean;
  /** What goes wrong, and when. */
  readonly faults: readonly Fault[];
}

const MIN_CHUNK = 64;
const MAX_CHUNK = 1024 ** 3;
const MAX_SIZE = 64 * 1024 ** 3;
/** ice yields its state in one piece, which has to be in memory. */
const MAX_ICE_SIZE = 1024 ** 3;
const MAX_RATE = 1024 ** 4;
const LEAST_LOG_PAGE = 4096;
const MOST_LOG_PAGE = 2 * 1024 ** 2;

/** An option of a spec, as help and error messages tell it. */
export interface SimOption {
  /** How its value is written. */
  readonly form: string;
  /** Its value where it is not given. */
  readonly byDefault: string;
  /** What it does. */
  readonly text: string;
}

/** Every option but `fault` by name. */
export const OPTIONS: Readonly<
  Record<
    | "size"
    | "seed"
    | "rate"
    | "chunk"
    | "reserved"
    | "dma"
    | "pin"
    | "iommu"
    | "memlock"
    | "log-page"
    | "reinit"
    | "cdev"
    | "group",
    SimOption
  >
> = {
  size: {
    form: "BYTES",
    byDefault: "16MiB, ice 128KiB",
    text: "device state, a multiple of 4KiB",
  },
  seed: {
    form: "NUMBER",
    byDefault: "the device's number, from 1 on",
    text: "what the state is made from",
  },
  rate: {
    form: "BYTES",
    byDefault: "0",
    text: "state that the device changes a second while it runs",
  },
  chunk: {
    form: "BYTES",
    byDefault: "1MiB",
    text: "the largest transaction (v2: the data of a record); not for ice, which has one",
  },
  reserved: {
    form: "NUMBER",
    byDefault: "0xa5a5a5a0",
    text: "bits 3 to 31 of device_state; not for ice and v2, which have none",
  },
  dma: {
    form: DMA_FORM,
    byDefault: "none; 1000/s",
    text: "pages of memory that it writes to a second while it runs; hot:90/10 writes 90 % " +
      "of them to the first 10 % of the pages",
  },
  pin: {
    form: "PAGES",
    byDefault: "0",
    text: "pages of memory, the first that are mapped, that it holds pinned while it runs",
  },
  iommu: {
    form: "pinned|all-dirty",
    byDefault: "pinned where the device is mediated",
    text: "who knows what is dirty: its driver, or nobody, so that every page always is",
  },
  memlock: {
    form: "BYTES",
    byDefault: "no limit",
    text: "memory that the process may lock: all that is mapped with iommu=all-dirty",
  },
  "log-page": {
    form: "BYTES",
    byDefault: "4KiB",
    text: "the smallest page that its own log of what it wrote to goes by; of mlx5 and pds, " +
      "which have one",
  },
  reinit: {
    form: "NUMBER",
    byDefault: "a kernel before 7.1, which cannot tell",
    text: "v2: how often, with all of pre-copy read, there is new initial data " +
      "(VFIO_PRECOPY_INFO_REINIT)",
  },
  cdev: {
    form: "0|1",
    byDefault: "0",
    text: "whether the kernel has /dev/iommu, and a character device of each device's own",
  },
  group: {
    form: "0|1",
    byDefault: "1",
    text: "whether it is in an IOMMU group, as a mediated device is not in a kernel without " +
      "CONFIG_VFIO_GROUP; without, with cdev=1",
  },
};

/**
 * Reads `[sim:]PERSONALITY[?OPTION=VALUE&…]`.
 *
 * @throws {SimSpecError} If a part of it is wrong: which, and what is allowed.
 *
 * @example
 * ```ts
 * import { parseSimSpec } from "./spec.ts";
 * import assert from "node:assert/strict";
 *
 * const spec = parseSimSpec("sim:mapped?size=256MiB&rate=64MiB&fault=read:2:EFAULT");
 * assert.equal(spec.size, 268435456);
 * assert.equal(spec.faults[0]?.errno, "EFAULT");
 * ```
 */
export function parseSimSpec(spec: string): SimSpec {
  const fail = (problem: string): never => {
    throw new SimSpecError(spec, problem);
  };
  const text = spec.startsWith("sim:") ? spec.slice(4) : spec;
  const mark = text.indexOf("?");
  const name = mark < 0 ? text : text.slice(0, mark);
  if (!Object.hasOwn(PERSONALITIES, name)) {
    const names = Object.keys(PERSONALITIES).join(", ");
    fail(`no personality is named ${JSON.stringify(name)}; there are ${names}`);
  }
  const personality = name as PersonalityName;
  const given = new Map<string, string>();
  const faults: Fault[] = [];
  for (const part of mark < 0 ? [] : text.slice(mark + 1).split("&")) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? "" : part.slice(equals + 1);
    if (key === "fault") faults.push(fault(value, personality, fail));
    else if (!Object.hasOwn(OPTIONS, key)) {
      const names = Object.keys(OPTIONS).join(", ");
      fail(`no option is named ${JSON.stringify(key)}; there are ${names}, fault`);
    } else if (given.has(key)) fail(`${key} is given twice`);
    else given.set(key, value);
  }
  const { protocol, mdev, defaultSize } = PERSONALITIES[personality];
  if (personality === "ice" && given.has("chunk")) fail("ice has no chunk");
  const flag = (key: "cdev" | "group", byDefault: string): boolean => {
    const value = given.get(key) ?? byDefault;
    if (value === "0" || value === "1") return value === "1";
    return fail(`${key} is ${JSON.stringify(value)}; it takes ${OPTIONS[key].form}`);
  };
  const cdev = flag("cdev", "0");
  const group = flag("group", "1");
  if (!group && (!cdev || mdev === null)) {
    fail("group=0 is for mediated devices with cdev=1: there is no other way to open them");
  }
  const registers = protocol !== "v2" && personality !== "ice";
  if (!registers && given.has("reserved")) fail(`${personality} has no reserved`);
  const bytes = (key: string, byDefault: number, least: number, most: number): number => {
    const value = given.get(key);
    if (value === undefined) return byDefault;
    const size = parseSize(value);
    if (size !== null && size >= least && size <= most) return size;
    return fail(
      `${key} is ${JSON.stringify(value)}; it takes bytes from ${formatSize(least)} to ${
        formatSize(most)
      }, such as 256MiB`,
    );
  };
  const u32 = <T>(key: string, byDefault: T): number | T => {
    const value = given.get(key);
    if (value === undefined) return byDefault;
    return parseU32(value) ??
      fail(`${key} is ${JSON.stringify(value)}; it takes a number below 2^32`);
  };
  const choice = given.get("iommu") ?? (mdev === null ? "all-dirty" : "pinned");
  const iommu = choice === "pinned" || choice === "all-dirty"
    ? choice
    : fail(`iommu is ${JSON.stringify(choice)}; it takes ${OPTIONS.iommu.form}`);
  const pattern = given.get("dma");
  const dma = pattern === undefined ? null : parseDmaPattern(pattern) ??
    fail(`dma is ${JSON.stringify(pattern)}; it takes ${DMA_FORM}, such as random:5000/s`);
  const pin = u32("pin", 0);
  if (pin > 0 && iommu === "all-dirty") {
    fail("pin and iommu=all-dirty exclude each other: whose driver pins is believed by the IOMMU");
  }
  const logPage = bytes("log-page", LEAST_LOG_PAGE, LEAST_LOG_PAGE, MOST_LOG_PAGE);
  if (!Number.isInteger(Math.log2(logPage))) {
    fail(`log-page is ${logPage}; it takes a power of two`);
  }
  if (given.has("log-page") && (V2_DRIVERS[personality]?.log ?? null) === null) {
    fail(`${personality} has no log`);
  }
  if (given.has("reinit") && protocol !== "v2") fail(`${personality} has no reinit`);
  const most = personality === "ice" ? MAX_ICE_SIZE : MAX_SIZE;
  const size = bytes("size", defaultSize, PAGE, most);
  if (size % PAGE !== 0) fail(`size is ${size}; it takes a multiple of ${PAGE}`);
  const reserved = u32("reserved", 0xa5a5a5a0);
  if ((reserved & 7) !== 0) fail(`reserved is 0x${reserved.toString(16)}; bits 0 to 2 are not`);
  return {
    personality,
    size,
    seed: u32("seed", null),
    rate: bytes("rate", 0, 0, MAX_RATE),
    chunk: bytes("chunk", 1024 ** 2, MIN_CHUNK, MAX_CHUNK),
    reserved: registers ? reserved : 0,
    iommu,
    dma,
    pin,
    memlock: given.has("memlock") ? bytes("memlock", 0, 0, MAX_SIZE) : null,
    logPage,
    reinit: u32("reinit", null),
    cdev,
    group,
    faults,
  };
}

function fault(
  text: string,
  personality: PersonalityName,
  fail: (problem: string) => never,
): Fault {
  try {
    const parsed = parseFault(text);
    return canHave(personality, parsed.name)
      ? parsed
      : fail(`${personality} cannot have the fault ${parsed.name}`);
  } catch (error) {
    if (error instanceof RangeError) return fail(error.message);
    throw error;
  }
}
