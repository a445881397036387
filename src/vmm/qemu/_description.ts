/**
 * The description at the end of a QEMU stream: JSON that says how long each device's section is.
 */

import { VmmFileError } from "../vmm_file_error.ts";
import { QEMU_VM_EOF, QEMU_VM_VMDESCRIPTION } from "./format.ts";

/** A device's section, as it is described. */
export interface DescribedSection {
  /** Its name. */
  readonly name: string;
  /** Which of several devices of that name. */
  readonly instance: number;
  /** The length of its content, in bytes. */
  readonly length: number;
}

/** A description, and where the sections before it end. */
export interface Description {
  /** The sections, in their order. */
  readonly sections: readonly DescribedSection[];
  /** Where they end in the bytes, at the mark of the end. */
  readonly end: number;
  /** The target's page size in bytes; null if it does not say. */
  readonly pageSize: number | null;
}

/** Structs in structs: QEMU has a handful. */
const MOST_LEVELS = 64;

type Json = Readonly<Record<string, unknown>>;

/**
 * Finds and reads the description.
 *
 * @param tail The stream from the first section without a length on.
 * @param base The offset of the tail in the stream.
 */
export function readDescription(tail: Uint8Array<ArrayBuffer>, base: number): Description {
  const start = findDescription(tail);
  if (start === null) {
    throw new VmmFileError(
      "truncated",
      base + tail.length,
      "it does not end with the description of its sections: it is cut, or QEMU was started with " +
        "suppress-vmdesc",
    );
  }
  const end = start - 6;
  const bad = (what: string): VmmFileError =>
    new VmmFileError("damaged", base + start, `the description of its sections ${what}`);
  let described: unknown;
  try {
    described = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(tail.subarray(start)));
  } catch {
    throw bad("is no JSON");
  }
  const { devices, page_size: pageSize } = asObject(described, bad);
  const sections = asList(devices, bad).map((device) => {
    const one = asObject(device, bad);
    const { name, instance_id: instance } = one;
    if (typeof name !== "string" || !isCount(instance)) throw bad("has a device without a name");
    return { name, instance, length: fieldsLength(one, bad, 0) };
  });
  return { sections, end, pageSize: isCount(pageSize) ? pageSize : null };
}

/** Where the JSON begins: behind the mark of the end, its own, and a length that reaches to the end. */
function findDescription(tail: Uint8Array<ArrayBuffer>): number | null {
  const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
  for (let at = tail.length - 6; at >= 0; at--) {
    if (
      tail[at] === QEMU_VM_EOF && tail[at + 1] === QEMU_VM_VMDESCRIPTION &&
      view.getUint32(at + 2) === tail.length - at - 6
    ) return at + 6;
  }
  return null;
}

type Bad = (what: string) => VmmFileError;

/** What the fields of a struct take, and its subsections with their headers. */
function fieldsLength(struct: Json, bad: Bad, level: number): number {
  if (level > MOST_LEVELS) throw bad("has structs in more structs than QEMU has");
  let length = 0;
  for (const item of asList(struct["fields"] ?? [], bad)) {
    const field = asObject(item, bad);
    const count = field["array_len"] ?? 1;
    if (!isCount(field["size"]) || !isCount(count)) throw bad("has a field without a size");
    length += field["size"] * count;
  }
  for (const item of asList(struct["subsections"] ?? [], bad)) {
    const subsection = asObject(item, bad);
    const name = subsection["vmsd_name"];
    if (typeof name !== "string") throw bad("has a subsection without a name");
    // Its mark, the length of its name, its name, its version.
    length += 1 + 1 + name.length + 4 + fieldsLength(subsection, bad, level + 1);
  }
  return length;
}

function asObject(value: unknown, bad: Bad): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw bad("has something else in place of an object");
}

function asList(value: unknown, bad: Bad): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw bad("has something else in place of a list");
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
