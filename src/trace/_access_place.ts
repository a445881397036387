// Reads and writes: the calls that come by the thousand. What is the same each time is put into
// words once for each place, and the line of a register that has not changed is kept.

import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { rememberCrc } from "../base/known_crc.ts";
import { hex, v1StateName } from "./decode/names.ts";
import { placeIn, type RegionFacts, type TracedFile } from "./decode/traced_files.ts";
import type { AccessLine, TracedData, TraceEvent, TraceFields } from "./event.ts";

/** The calls that read and write bytes. */
export type AccessCall = "read" | "write" | "pread" | "pwrite";

/** What an event of an access has beside its time and its place. */
export type AccessParts = Pick<
  TraceEvent,
  "result" | "file" | "args" | "register" | "answer" | "state" | "data" | "raw"
>;

/** The most bytes of a region outside the migration data that are in every trace. */
const MAX_REGISTERS = 256;

/** The most bytes of data in one event: no call of this toolkit moves more at a time. */
const MAX_DATA = 2 << 20;

/** The most places that are kept: data sections may lie elsewhere each time. */
const MAX_PLACES = 64;

/** The places that a kernel's fds are read and written at. */
export class AccessPlaces {
  readonly #places = new Map<number, AccessPlace>();

  /** The place of an access to an fd; `offset` is null for what is read or written in a row. */
  of(
    call: AccessCall,
    fd: number,
    length: number,
    offset: number | null,
    file: TracedFile,
  ): AccessPlace {
    const key = offset ?? -1 - fd;
    const known = this.#places.get(key);
    if (known?.serves(call, fd, length, file)) return known;
    const place = new AccessPlace(call, fd, length, offset, file);
    if (this.#places.size >= MAX_PLACES) this.#places.clear();
    this.#places.set(key, place);
    return place;
  }
}

/** Accesses of one length at one offset of one fd. */
export class AccessPlace implements AccessLine {
  readonly call: AccessCall;
  readonly fd: number;
  readonly length: number;
  /** The register of a v1 migration region, or `data`; null for all else. */
  readonly register: string | null;
  readonly movesData: boolean;
  /** What is known before it is made. */
  readonly asked: { readonly args: TraceFields };
  readonly begun: Uint8Array<ArrayBuffer>;
  readonly #file: TracedFile;
  readonly #regions: readonly RegionFacts[];
  readonly #reads: boolean;
  readonly #known: boolean;
  readonly #args: TraceFields;
  /** The fields in front of the data, after an access of all the bytes. */
  readonly #head: string;
  /** The last value of a register, and its line. */
  #low = 0;
  #high = 0;
  #line: string | null = null;

  constructor(
    call: AccessCall,
    fd: number,
    length: number,
    offset: number | null,
    file: TracedFile,
  ) {
    this.call = call;
    this.fd = fd;
    this.length = length;
    this.#reads = call === "read" || call === "pread";
    this.#file = file;
    this.#regions = file.regions;
    const place = offset === null ? null : placeIn(file, offset, length);
    this.#known = place !== null;
    this.register = place?.register ?? null;
    this.movesData = offset === null ||
      (this.register !== null && this.register !== "device_state");
    const where = offset === null ? {} : { offset: hex(place?.at ?? offset) };
    this.#args = { length, ...(place !== null && { region: place.region }), ...where };
    this.#head = this.#text(this.#fixed(length));
    const label = file.label === null ? {} : { file: file.label };
    this.asked = { args: { length, ...(offset !== null && { offset: hex(offset) }) } };
    this.begun = new TextEncoder().encode(fieldsAsText({ call, fd, ...label, ...this.asked }));
  }

  /** Whether another access belongs here: to the same file, of which no more is known. */
  serves(call: AccessCall, fd: number, length: number, file: TracedFile): boolean {
    return this.call === call && this.fd === fd && this.length === length &&
      this.#file === file && this.#regions === file.regions;
  }

  /** What an event has of an access; `count` is null if it failed. */
  parts(buffer: Uint8Array, count: number | null, withBytes: boolean): AccessParts {
    const fixed = this.#fixed(count);
    if (this.#reads && count === null) return fixed;
    return { ...fixed, ...this.#moved(buffer.subarray(0, count ?? buffer.length), withBytes) };
  }

  /** The fields of an event behind `duration` as text, of an access that succeeded. */
  text(buffer: Uint8Array, count: number, withBytes: boolean): string {
    if (count !== this.length) return this.#text(this.parts(buffer, count, withBytes));
    if (this.#isData(buffer)) return this.#behindHead(this.#moved(buffer, withBytes));
    const { length } = buffer;
    if (length !== 8 && length !== 4) return this.#text(this.parts(buffer, count, withBytes));
    const low = word(buffer, 0);
    const high = length === 8 ? word(buffer, 4) : 0;
    if (this.#line === null || low !== this.#low || high !== this.#high) {
      this.#low = low;
      this.#high = high;
      // A value that is written is one of the arguments, which are part of the head.
      this.#line = this.#reads
        ? this.#behindHead(this.#moved(buffer, withBytes))
        : this.#text(this.parts(buffer, count, withBytes));
    }
    return this.#line;
  }

  /** The bytes that were moved: in words if they are a register's, by their CRC if they are data. */
  #moved(bytes: Uint8Array, withBytes: boolean): AccessParts {
    if (this.#isData(bytes)) return { data: movedData(bytes, this.#reads, withBytes) };
    const raw = this.#reads ? { after: toHex(bytes) } : { before: toHex(bytes) };
    const value = this.register === null ? null : registerValue(this.register, bytes);
    if (value === null) return { raw };
    const named = { [this.register!]: value };
    return {
      ...(this.#reads ? { raw, answer: named } : { args: { ...this.#args, ...named }, raw }),
      ...(this.register === "device_state" && { state: v1StateName(Number(value)) }),
    };
  }

  #isData(bytes: Uint8Array): boolean {
    return this.register === "data" || !this.#known || bytes.length > MAX_REGISTERS;
  }

  #fixed(count: number | null): AccessParts {
    const { label } = this.#file;
    return {
      ...(count !== null && { result: count }),
      ...(label !== null && { file: label }),
      args: this.#args,
      ...(this.register !== null && { register: this.register }),
    };
  }

  #behindHead(parts: AccessParts): string {
    return `${this.#head},${fieldsAsText(parts)}`;
  }

  #text(parts: AccessParts): string {
    return fieldsAsText({ call: this.call, fd: this.fd, ...parts });
  }
}

/** An object's fields as JSON, without the braces. */
function fieldsAsText(fields: object): string {
  return JSON.stringify(fields).slice(1, -1);
}

/** `read`: the bytes come from the device, and may go into a checkpoint. */
export function movedData(bytes: Uint8Array, read: boolean, withBytes: boolean): TracedData {
  const { length } = bytes;
  const crc = crc32(bytes);
  if (read) rememberCrc(bytes, crc);
  const sum = crc.toString(16).padStart(8, "0");
  return withBytes && length <= MAX_DATA
    ? { length, crc32: sum, bytes: asBuffer(bytes).toString("base64") }
    : { length, crc32: sum };
}

/** Bytes in hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("hex");
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Four bytes as a number, to tell values apart. */
function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
}

/** The value of a register; null if the access is not of its width. */
function registerValue(register: string, bytes: Uint8Array): number | string | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === 4) return hex(view.getUint32(0, true));
  if (bytes.length !== 8) return null;
  const value = view.getBigUint64(0, true);
  if (register === "data_offset") return hex(value);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
}
