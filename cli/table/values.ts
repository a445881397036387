/**
 * Value parsers: how a device, a size or a duration is written on the command
 * line.
 *
 * @module
 */

import { message, text } from "@optique/core/message";
import type { Suggestion } from "@optique/core/parser";
import type { ValueParser, ValueParserResult } from "@optique/core/valueparser";

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000 };

const SIMULATED = ["trapped", "mapped", "partitioned", "ice", "nvidia-vgpu", "none"];

/** A device's name. What is a good one is decided where it is opened. */
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
      for (const name of SIMULATED) {
        const word = `sim:${name}`;
        if (word.startsWith(prefix)) {
          yield { kind: "literal", text: word, description: message`A simulated device` };
        }
      }
      yield { kind: "file", type: "any", pattern: prefix };
    },
  };
}

/** A checkpoint's file name, or `-`. */
export function file(): ValueParser<"sync", string> {
  return {
    mode: "sync",
    metavar: "FILE",
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

/** A number of bytes, such as `4096`, `64KiB`, `1.5MiB`. */
export function size(): ValueParser<"sync", number> {
  return quantity("BYTES", SIZE_UNITS, "a number of bytes such as 4096, 64KiB or 1MiB");
}

/** A time in milliseconds, written as `500ms`, `2s`, `1min`. */
export function duration(): ValueParser<"sync", number> {
  return quantity("TIME", TIME_UNITS, "a time such as 500ms or 2s");
}

function quantity(
  metavar: "BYTES" | "TIME",
  units: Readonly<Record<string, number>>,
  expected: string,
): ValueParser<"sync", number> {
  return {
    mode: "sync",
    metavar,
    placeholder: 0,
    parse(input: string): ValueParserResult<number> {
      const parts = /^(\d+(?:\.\d+)?)([a-zA-Z]*)$/.exec(input);
      const unit = Object.entries(units).find(([name]) =>
        name.toLowerCase() === parts?.[2]?.toLowerCase()
      );
      const value = Math.round(Number(parts?.[1]) * (unit?.[1] ?? Number.NaN));
      return Number.isSafeInteger(value)
        ? { success: true, value }
        : { success: false, error: message`Expected ${text(expected)}, but got ${input}.` };
    },
    format: (value: number): string => String(value),
  };
}
