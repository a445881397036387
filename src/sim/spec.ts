/**
 * Parses `sim:…` names: personality, options, faults.
 *
 * @module
 */

import { VfiokitError } from "../base/vfiokit_error.ts";
import { registerErrorClass } from "../base/error_transfer.ts";
import { VFIO_MIGRATION_PRE_COPY } from "../uapi/constants.ts";
import { printable } from "../base/printable.ts";
import { type BugCarrier, bugsOf, canHaveBug } from "./faults/bug_carriers.ts";
import { type BugName, BUGS } from "./faults/bug_table.ts";
import { canHave, type Fault, parseFault } from "./faults/fault_plan.ts";
import { DMA_FORM, type DmaPattern, parseDmaPattern } from "./dma/dma_pattern.ts";
import { PAGE } from "./state/pages.ts";
import { formatSize, parseSize, parseU32 } from "./units.ts";
import { V2_DRIVERS } from "./v2_drivers.ts";
import { PERSONALITIES, type PersonalityName } from "./personalities.ts";

export type { DmaPattern } from "./dma/dma_pattern.ts";
export type { BugName } from "./faults/bug_table.ts";
export type { Fault, FaultName } from "./faults/fault_plan.ts";

/**
 * A `sim:…` name is invalid.
 *
 * @example
 * ```ts
 * import { parseSimSpec, SimSpecError } from "vfiokit/sim";
 * import assert from "node:assert/strict";
 *
 * assert.throws(() => parseSimSpec("sim:nothing"), SimSpecError);
 * ```
 */
export class SimSpecError extends VfiokitError {
  static {
    registerErrorClass(this);
  }

  /** Always `SimSpecError`. */
  override readonly name = "SimSpecError";
  /** Always `bad-name`. */
  readonly code = "bad-name" as const;

  /** Creates the error; `problem` says which part is wrong, and what is allowed. */
  constructor(spec: string, problem: string) {
    super(printable(`Cannot simulate ${JSON.stringify(spec)}: ${problem}`));
  }
}

/** A simulated device, as described by its name. */
export interface SimSpec {
  /** The personality. */
  readonly personality: PersonalityName;
  /** Size of the device state in bytes, a multiple of 4096. */
  readonly size: number;
  /** The seed of the state; null for the device's number in the kernel, counting from 1. */
  readonly seed: number | null;
  /** Bytes of state that the device changes per second while it runs. */
  readonly rate: number;
  /** The largest size of a transaction in bytes. */
  readonly chunk: number;
  /** Bits 3 to 31 of device_state at open. */
  readonly reserved: number;
  /**
   * How the IOMMU knows which pages are dirty: from the pages that the driver pins
   * and writes (`pinned`), or not at all, as for passed-through PCI devices
   * (`all-dirty`: every page always is). Hardware that can track (`dirty-tracking`) does so in page
   * tables of an iommufd alone; in a container it is as `all-dirty`.
   */
  readonly iommu: "pinned" | "all-dirty" | "dirty-tracking";
  /** How the device writes to memory by itself while it runs; null if it does not. */
  readonly dma: DmaPattern | null;
  /** The number of pages, from the first mapped page on, that the driver pins while it runs. */
  readonly pin: number;
  /** Bytes that the process may lock; null for no limit. */
  readonly memlock: number | null;
  /** The smallest page size of the device's own DMA log, in bytes; a power of two. */
  readonly logPage: number;
  /** v2: how often new initial data appears during pre-copy; null for a kernel before 7.1. */
  readonly reinit: number | null;
  /** Whether the kernel has /dev/iommu, and a character device per device. */
  readonly cdev: boolean;
  /** Whether BAR 2 has registers that make the device write to memory and interrupt its user. */
  readonly doorbell: boolean;
  /** Whether the device is in an IOMMU group; without one it has only its own node. */
  readonly group: boolean;
  /** The faults. */
  readonly faults: readonly Fault[];
  /** The driver's bugs. */
  readonly bugs: readonly BugName[];
}

const MIN_CHUNK = 64;
const MAX_CHUNK = 1024 ** 3;
const MAX_SIZE = 64 * 1024 ** 3;
/** ice yields its state as one transaction, which must fit in memory. */
const MAX_ICE_SIZE = 1024 ** 3;
const MAX_RATE = 1024 ** 4;
const LEAST_LOG_PAGE = 4096;
const MOST_LOG_PAGE = 2 * 1024 ** 2;

/** An option of a spec, as help and error messages show it. */
export interface SimOption {
  /** The syntax of its value. */
  readonly form: string;
  /** Its default value. */
  readonly byDefault: string;
  /** What it does. */
  readonly text: string;
}

/** Every option but `fault` and `bug` by name. */
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
    | "group"
    | "doorbell",
    SimOption
  >
> = {
  size: {
    form: "BYTES",
    byDefault: "16MiB, ice 128KiB",
    text: "size of the device state, a multiple of 4KiB",
  },
  seed: {
    form: "NUMBER",
    byDefault: "the device's number, counting from 1",
    text: "seed that the state is generated from",
  },
  rate: {
    form: "BYTES",
    byDefault: "0",
    text: "state that the device changes per second while it runs",
  },
  chunk: {
    form: "BYTES",
    byDefault: "1MiB",
    text: "largest transaction (v2: largest data of a record); not for ice, which has only one, " +
      "and devices that do not migrate",
  },
  reserved: {
    form: "NUMBER",
    byDefault: "0xa5a5a5a0",
    text: "v1: bits 3 to 31 of device_state; not for ice, which has none",
  },
  dma: {
    form: DMA_FORM,
    byDefault: "none; N is 1000",
    text: "pages of memory that it writes to per second while it runs; hot:90/10 writes 90 % " +
      "of them to the first 10 % of the pages",
  },
  pin: {
    form: "PAGES",
    byDefault: "0",
    text: "number of pages, from the first mapped page on, that it holds pinned while it runs",
  },
  iommu: {
    form: "pinned|all-dirty|dirty-tracking",
    byDefault: "pinned for a mediated device, else all-dirty",
    text: "which pages are dirty: those that the driver pins and writes; always all of them; or, " +
      "with cdev=1, those that the IOMMU's page table tracks",
  },
  memlock: {
    form: "BYTES",
    byDefault: "no limit",
    text: "memory that the process may lock; all that is mapped is locked, unless iommu=pinned",
  },
  "log-page": {
    form: "BYTES",
    byDefault: "4KiB",
    text: "smallest page size of the device's own DMA log; only mlx5 and pds have one",
  },
  reinit: {
    form: "NUMBER",
    byDefault: "a kernel before 7.1, which has no such flag",
    text: "v2: how often new initial data appears once all pre-copy data was read " +
      "(VFIO_PRECOPY_INFO_REINIT); without PRE_COPY only 0, which stands for a kernel 7.1",
  },
  cdev: {
    form: "0|1",
    byDefault: "0",
    text: "whether the kernel has /dev/iommu and a character device per device",
  },
  group: {
    form: "0|1",
    byDefault: "1",
    text: "whether the device is in an IOMMU group; 0 is for mediated devices with cdev=1, as " +
      "in a kernel without CONFIG_VFIO_GROUP",
  },
  doorbell: {
    form: "0|1",
    byDefault: "0",
    text: "whether BAR 2 has registers that make the device write to memory and raise an interrupt",
  },
};

/**
 * Parses `[sim:]PERSONALITY[?OPTION=VALUE&…]`.
 *
 * @throws {SimSpecError} If a part of it is invalid. The message says which, and what is allowed.
 *
 * @example
 * ```ts
 * import { parseSimSpec } from "vfiokit/sim";
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
  const bugs: string[] = [];
  for (const part of mark < 0 ? [] : text.slice(mark + 1).split("&")) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    const value = equals < 0 ? "" : part.slice(equals + 1);
    if (key === "fault") faults.push(fault(value, personality, fail));
    else if (key === "bug") bugs.push(value);
    else if (!Object.hasOwn(OPTIONS, key)) {
      const names = Object.keys(OPTIONS).join(", ");
      fail(`no option is named ${JSON.stringify(key)}; there are ${names}, fault, bug`);
    } else if (given.has(key)) fail(`${key} is given twice`);
    else given.set(key, value);
  }
  const { protocol, mdev, defaultSize } = PERSONALITIES[personality];
  if ((personality === "ice" || protocol === null) && given.has("chunk")) {
    fail(`${personality} has no chunk`);
  }
  const flag = (key: "cdev" | "group" | "doorbell", byDefault: string): boolean => {
    const value = given.get(key) ?? byDefault;
    if (value === "0" || value === "1") return value === "1";
    return fail(`${key} is ${JSON.stringify(value)}; it takes ${OPTIONS[key].form}`);
  };
  const cdev = flag("cdev", "0");
  const group = flag("group", "1");
  if (!group && (!cdev || mdev === null)) {
    fail("group=0 is for mediated devices with cdev=1: there is no other way to open them");
  }
  const registers = protocol === "v1" && personality !== "ice";
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
  const iommu = choice === "pinned" || choice === "all-dirty" || choice === "dirty-tracking"
    ? choice
    : fail(`iommu is ${JSON.stringify(choice)}; it takes ${OPTIONS.iommu.form}`);
  const pattern = given.get("dma");
  const dma = pattern === undefined ? null : parseDmaPattern(pattern) ??
    fail(`dma is ${JSON.stringify(pattern)}; it takes ${DMA_FORM}, such as random:5000/s`);
  const pin = u32("pin", 0);
  if (pin > 0 && iommu !== "pinned") {
    fail(`pin and iommu=${iommu} exclude each other: once a driver pins, only pinned pages count`);
  }
  const logPage = bytes("log-page", LEAST_LOG_PAGE, LEAST_LOG_PAGE, MOST_LOG_PAGE);
  if (!Number.isInteger(Math.log2(logPage))) {
    fail(`log-page is ${logPage}; it takes a power of two`);
  }
  if (given.has("log-page") && (V2_DRIVERS[personality]?.log ?? null) === null) {
    fail(`${personality} has no log`);
  }
  if (given.has("reinit") && protocol !== "v2") fail(`${personality} has no reinit`);
  const reinit = u32("reinit", null);
  const preCopy = ((V2_DRIVERS[personality]?.flags ?? 0) & VFIO_MIGRATION_PRE_COPY) !== 0;
  if (reinit !== null && reinit > 0 && !preCopy) {
    fail(`reinit is ${reinit}; ${personality} has no PRE_COPY, so it takes 0 only (a kernel 7.1)`);
  }
  const most = personality === "ice" ? MAX_ICE_SIZE : MAX_SIZE;
  const size = bytes("size", defaultSize, PAGE, most);
  if (size % PAGE !== 0) fail(`size is ${size}; it takes a multiple of ${PAGE}`);
  const reserved = u32("reserved", 0xa5a5a5a0);
  if ((reserved & 7) !== 0) {
    fail(`reserved is 0x${reserved.toString(16)}; bits 0 to 2 are not reserved`);
  }
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
    reinit,
    cdev,
    group,
    doorbell: flag("doorbell", "0"),
    faults,
    bugs: bugs.map((name) => bug(name, { personality, reinit }, fail)),
  };
}

function bug(text: string, carrier: BugCarrier, fail: (problem: string) => never): BugName {
  const { personality } = carrier;
  if (!Object.hasOwn(BUGS, text)) {
    fail(`no bug is named ${JSON.stringify(text)}; ${personality} can have ${list(carrier)}`);
  }
  const name = text as BugName;
  if (canHaveBug(carrier, name)) return name;
  if (BUGS[name].to === "v2-reinit") fail(`the bug ${name} shows only with reinit=1 or more`);
  return fail(`${personality} cannot have the bug ${name}; it can have ${list(carrier)}`);
}

function list(carrier: BugCarrier): string {
  return bugsOf(carrier).join(", ") || "none";
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
