/**
 * Value parsers: devices, sizes, durations and addresses on the command line.
 *
 * @module
 */

import {
  message,
  type Suggestion,
  text,
  type ValueParser,
  type ValueParserResult,
} from "../optique.ts";
import { parseQuantity, SIZE_UNITS, unitNamed } from "../../src/base/size_units.ts";
import { deviceWords } from "../completion/device_words.ts";
import type { IovaMapping } from "../../src/vfio/mod.ts";

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000 };

const SHORT_TIME_UNITS: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };

/**
 * Bits and bytes a second, as bytes; the decimal prefixes are those of network links. `10G` is the
 * size of that name, as everywhere else.
 */
const BANDWIDTH_UNITS: Readonly<Record<string, number>> = {
  ...SIZE_UNITS,
  bit: 1 / 8,
  Kbit: 1e3 / 8,
  Mbit: 1e6 / 8,
  Gbit: 1e9 / 8,
  Tbit: 1e12 / 8,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};

/** Repeated here, so that help and completion do not load the library. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The end of all IOVAs. */
const IOVA_END = 1n << 64n;

/** A device's name. Opening the device decides whether it is valid. */
export function device(): ValueParser<"sync", string> {
  return {
    mode: "sync",
    metavar: "DEVICE",
    placeholder: "sim:trapped",
    parse(input: string): ValueParserResult<string> {
      return input === ""
        ? { success: false, error: message`A device's name is empty.` }
        : { success: true, value: input };
    },
    format: (value: string): string => value,
    *suggest(prefix: string): Generator<Suggestion> {
      // This is an option: no device's name begins with a dash.
      if (prefix.startsWith("-")) return;
      for (const { word, what } of deviceWords(prefix)) {
        yield { kind: "literal", text: word, description: [text(what)] };
      }
      yield { kind: "file", type: "any", pattern: prefix };
    },
  };
}

/** A checkpoint's file name, or `-`. */
export function file(metavar: "FILE" | "DIR" = "FILE"): ValueParser<"sync", string> {
  return {
    mode: "sync",
    metavar,
    placeholder: "-",
    parse(input: string): ValueParserResult<string> {
      return input === ""
        ? { success: false, error: message`A file's name is empty.` }
        : { success: true, value: input };
    },
    format: (value: string): string => value,
    *suggest(prefix: string): Generator<Suggestion> {
      yield { kind: "file", type: "file", pattern: prefix };
    },
  };
}

/** Devices, then a checkpoint's file name. */
export function devicesAndFile(): ValueParser<"sync", string> {
  // An empty device name and an empty file name get the same error.
  return { ...device(), metavar: "DEVICE... FILE" };
}

/** A VF token: any 16 bytes written as a UUID, as the kernel accepts it: no RFC version is required. */
export function vfToken(): ValueParser<"sync", string> {
  return {
    mode: "sync",
    metavar: "UUID",
    placeholder: "00000000-0000-0000-0000-000000000000",
    parse(input: string): ValueParserResult<string> {
      const form = text("a UUID such as 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
      return UUID.test(input)
        ? { success: true, value: input.toLowerCase() }
        : { success: false, error: message`Expected ${form}, but got ${input}.` };
    },
    format: (value: string): string => value,
  };
}

/** A number of bytes, such as `4096`, `64KiB`, `1.5MiB`, `10G`. */
export function size(): ValueParser<"sync", number> {
  return quantity("BYTES", SIZE_UNITS, "a number of bytes such as 4096, 64KiB or 1M");
}

/** A time in milliseconds, written as `500ms`, `2s`, `1min`. */
export function duration(): ValueParser<"sync", number> {
  return quantity("TIME", TIME_UNITS, "a time such as 500ms or 2s");
}

/** A time in microseconds, written as `50us`, `1ms`, `2s`. */
export function shortDuration(): ValueParser<"sync", number> {
  return quantity("TIME", SHORT_TIME_UNITS, "a time such as 50us or 1ms");
}

/** A bandwidth in bytes a second, written as `10Gbit`, `1.2GiB`; `10G` is 10 GiB. */
export function bandwidth(): ValueParser<"sync", number> {
  const expected = "a bandwidth such as 10Gbit, 400MiB or 10G (a second)";
  return quantity("RATE", BANDWIDTH_UNITS, expected);
}

/** A range of IOVAs, written as `0x100000:64MiB`. */
export function iovaRange(): ValueParser<"sync", IovaMapping> {
  return {
    mode: "sync",
    metavar: "IOVA:SIZE",
    placeholder: { iova: 0n, size: 4096n },
    parse(input: string): ValueParserResult<IovaMapping> {
      const [iova, size] = input.split(":").map(address);
      if (input.split(":").length !== 2 || iova == null || size == null) {
        const form = text("a range such as 0x100000:64MiB");
        return { success: false, error: message`Expected ${form}, but got ${input}.` };
      }
      if (size === 0n) return { success: false, error: message`The range ${input} is empty.` };
      if (iova + size > IOVA_END) {
        return { success: false, error: message`The range ${input} does not end below 2^64.` };
      }
      return { success: true, value: { iova, size } };
    },
    format: ({ iova, size }): string => `0x${iova.toString(16)}:0x${size.toString(16)}`,
  };
}

/** A range of IOVAs to map. */
export interface RangeToMap extends IovaMapping {
  /** The file that is its memory. */
  readonly file?: string | undefined;
  /** The fd that this process inherited of that file. */
  readonly fd?: number | undefined;
  /** Where in the file its memory begins, in bytes. */
  readonly offset?: bigint | undefined;
}

/** A range of IOVAs and the file that is its memory: `0x100000:64MiB@/dev/shm/memory`. */
export function rangeToMap(): ValueParser<"sync", RangeToMap> {
  const range = iovaRange();
  return {
    ...range,
    metavar: "IOVA:SIZE[@FILE]",
    parse(input: string): ValueParserResult<RangeToMap> {
      const [, before, memory, at] = /^([^@]*)(?:@(.*?)(?:,offset=([^,]*))?)?$/s.exec(input)!;
      const parsed = range.parse(before!);
      if (!parsed.success || memory === undefined) return parsed;
      const offset = at === undefined ? undefined : address(at);
      const [, fd] = /^fd:(\d{1,9})$/.exec(memory) ?? [];
      if (memory === "" || offset === null) {
        const form = text("a range such as 0x100000:64MiB@/dev/shm/memory");
        return { success: false, error: message`Expected ${form}, but got ${input}.` };
      }
      const file = fd === undefined ? { file: memory } : { fd: Number(fd) };
      return { success: true, value: { ...parsed.value, ...file, offset } };
    },
    format({ file, fd, offset, ...rest }): string {
      const memory = file ?? (fd === undefined ? undefined : `fd:${fd}`);
      const at = offset === undefined ? "" : `,offset=0x${offset.toString(16)}`;
      return range.format(rest) + (memory === undefined ? "" : `@${memory}${at}`);
    },
  };
}

/** An IOVA, or a number of bytes as large as one: `0x100000`, `64MiB`. */
export function wide(metavar: "IOVA" | "SIZE"): ValueParser<"sync", bigint> {
  return {
    mode: "sync",
    metavar,
    placeholder: 0n,
    parse(input: string): ValueParserResult<bigint> {
      const value = address(input);
      const form = text("a number such as 0x100000, 4096 or 64MiB");
      return value === null
        ? { success: false, error: message`Expected ${form}, but got ${input}.` }
        : { success: true, value };
    },
    format: (value: bigint): string => `0x${value.toString(16)}`,
  };
}

function address(input: string): bigint | null {
  const parts = /^(0x[0-9a-f]+|\d+)([a-z]*)$/i.exec(input);
  const hex = parts?.[1]?.startsWith("0x") === true;
  const unit = unitNamed(parts?.[2] ?? "", SIZE_UNITS);
  if (parts === null || unit === undefined || (hex && parts[2] !== "")) return null;
  const value = BigInt(parts[1]!) * BigInt(unit);
  return value < IOVA_END ? value : null;
}

function quantity(
  metavar: "BYTES" | "TIME" | "RATE",
  units: Readonly<Record<string, number>>,
  expected: string,
): ValueParser<"sync", number> {
  return {
    mode: "sync",
    metavar,
    placeholder: 0,
    parse(input: string): ValueParserResult<number> {
      const value = parseQuantity(input, units);
      return value === null
        ? { success: false, error: message`Expected ${text(expected)}, but got ${input}.` }
        : { success: true, value };
    },
    format: (value: number): string => String(value),
  };
}
