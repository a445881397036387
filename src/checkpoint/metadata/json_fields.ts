/**
 * Fields of JSON from outside, each checked before it is believed.
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { printable } from "../../base/printable.ts";
import { MAX_META } from "../frames/constants.ts";

/** A field that is missing or makes no sense; the reader adds where. */
export class FieldError extends VfiokitError {
  override readonly name = "FieldError";
  readonly code = "bad-field" as const;
}

/** An object whose fields are taken one by one; fields nobody asks for are ignored. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path = "") {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new FieldError(`${path === "" ? "it" : path} is not an object`);
    }
    this.#object = value as Record<string, unknown>;
    this.#path = path;
  }

  /** The name of a field, for messages. */
  name(key: string): string {
    return this.#path === "" ? key : `${this.#path}.${key}`;
  }

  /** The field as it stands; inherited names do not count. */
  value(key: string): unknown {
    return Object.hasOwn(this.#object, key) ? this.#object[key] : undefined;
  }

  /** Text without control or formatting characters: it will meet a terminal. */
  text(key: string, maxLength = 256): string {
    const value = this.value(key);
    if (typeof value !== "string") throw this.#wrong(key, "a string");
    if (value.length > maxLength || value !== printable(value)) {
      throw this.#wrong(key, `at most ${maxLength} printable characters`);
    }
    return value;
  }

  /** A whole number from 0 to `max`. */
  count(key: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.value(key);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > max) {
      throw this.#wrong(key, `a whole number from 0 to ${max}`);
    }
    return value;
  }

  /** A number of up to 64 bits, in hex (`"0x1000"`); a writer's own is a bigint. */
  address(key: string): bigint {
    const value = this.value(key);
    if (typeof value === "string" && /^0x[0-9a-f]{1,16}$/.test(value)) return BigInt(value);
    if (typeof value !== "bigint") throw this.#wrong(key, "a number in hex");
    return value;
  }

  /** A finite number that is not negative, such as seconds. */
  measure(key: string): number {
    const value = this.value(key);
    if (!isMeasure(value)) throw this.#wrong(key, "a number from 0 on");
    return value;
  }

  /** A list of at most `max` lists, each of `width` numbers as {@linkcode Fields.measure}. */
  measures(key: string, max: number, width: number): number[][] {
    const value = this.value(key);
    const isRow = (row: unknown): row is number[] =>
      Array.isArray(row) && row.length === width && row.every(isMeasure);
    if (!Array.isArray(value) || value.length > max || !value.every(isRow)) {
      throw this.#wrong(key, `a list of at most ${max} lists of ${width} numbers from 0 on`);
    }
    return value;
  }

  /** true or false. */
  flag(key: string): boolean {
    const value = this.value(key);
    if (typeof value !== "boolean") throw this.#wrong(key, "true or false");
    return value;
  }

  /** One of a few words. */
  word<Word extends string>(key: string, words: readonly Word[]): Word {
    const value = this.value(key);
    const found = words.find((word) => word === value);
    if (found === undefined) throw this.#wrong(key, words.map((word) => `"${word}"`).join(" or "));
    return found;
  }

  /** A list of at most `max` objects. */
  list(key: string, max: number): Fields[] {
    const value = this.value(key);
    if (!Array.isArray(value) || value.length > max) {
      throw this.#wrong(key, `a list of at most ${max}`);
    }
    return value.map((item, index) => new Fields(item, this.name(`${key}[${index}]`)));
  }

  /** An object, with its fields. */
  fields(key: string): Fields {
    return new Fields(this.value(key), this.name(key));
  }

  /** null as null, everything else by `read`. */
  nullable<Value>(key: string, read: (key: string) => Value): Value | null {
    return this.value(key) === null ? null : read(key);
  }

  #wrong(key: string, expected: string): FieldError {
    return new FieldError(`${this.name(key)} is not ${expected}`);
  }
}

function isMeasure(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** The fields of a JSON object in UTF-8. */
export function parseFields(bytes: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw new FieldError("it is not JSON in UTF-8");
  }
  return new Fields(value);
}

/** An object as JSON in UTF-8, with bigints in hex, behind `before` bytes left for a frame's header. */
export function stringifyFields(value: unknown, before: number): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(
    value,
    (_, field) => typeof field === "bigint" ? `0x${field.toString(16)}` : field,
  ));
  if (json.length > MAX_META) {
    throw new FieldError(`it takes ${json.length} bytes of JSON where ${MAX_META} are allowed`);
  }
  const bytes = new Uint8Array(new ArrayBuffer(before + json.length));
  bytes.set(json, before);
  return bytes;
}
