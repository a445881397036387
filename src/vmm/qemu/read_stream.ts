/**
 * Reads QEMU's migration stream: what is in it, and where the state of its VFIO devices is.
 *
 * @module
 */

import { packerOf } from "../../base/packed_file.ts";
import type { PciIds } from "../../vfio/sysfs/sysfs.ts";
import { VmmFileError } from "../vmm_file_error.ts";
import { readDeviceSections } from "./_device_sections.ts";
import {
  COMMANDS,
  QEMU_VM_COMMAND,
  QEMU_VM_CONFIGURATION,
  QEMU_VM_EOF,
  QEMU_VM_FILE_MAGIC,
  QEMU_VM_FILE_VERSION,
  QEMU_VM_SECTION_END,
  QEMU_VM_SECTION_FOOTER,
  QEMU_VM_SECTION_FULL,
  QEMU_VM_SECTION_PART,
  QEMU_VM_SECTION_START,
  QEMU_VM_SUBSECTION,
} from "./format.ts";
import { RamSections, unsupported } from "./_ram_section.ts";
import { StreamInput } from "./_stream_input.ts";
import { type StateRecord, VfioSections } from "./_vfio_section.ts";

export type { StateRecord };

/** A VFIO device in a stream. */
export interface QemuDevice {
  /** Its path in the guest: `0000:00:05.0`. */
  readonly name: string;
  /** Its PCI ids, as the guest saw them; null if it is no PCI device. */
  readonly ids: PciIds | null;
  /** Bytes of its state. */
  readonly bytes: number;
  /** Where they are in the file, in order. */
  readonly records: readonly StateRecord[];
}

/** What a stream holds. */
export interface QemuStream {
  /** The machine type, such as `pc-q35-10.0`; null if the stream does not say. */
  readonly machine: string | null;
  /** Its size, in bytes. */
  readonly bytes: number;
  /** The guest's memory. */
  readonly ram: {
    /** Its size, in bytes. */
    readonly bytes: number;
    /** Blocks that it consists of. */
    readonly blocks: number;
    /** Pages in the stream that have content. */
    readonly pages: number;
    /** Pages in the stream that are zero. */
    readonly zeroPages: number;
  };
  /** The VFIO devices that can be migrated. */
  readonly devices: readonly QemuDevice[];
  /** The names of the other devices' sections. */
  readonly others: readonly string[];
}

/** How to read a stream. */
export interface ReadStreamOptions {
  /** Ends it, with its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called after each chunk with the bytes so far, and at the end with those of what is returned.
   * What it throws ends the work.
   */
  readonly onProgress?: ((progress: Pick<QemuStream, "bytes">) => void) | undefined;
}

/** Sections that are saved in parts: RAM, and one for each VFIO device. */
const MOST_SECTIONS = 4096;

/** Bytes of the devices that are saved at once, and of their description. */
const MOST_TAIL = 64 << 20;

const DEFAULT_PAGE_SIZE = 4096;

/**
 * Reads a stream as QEMU's `migrate` writes it, checks it as a whole, and says where the state of
 * its VFIO devices is. RAM is walked past; memory does not grow with it.
 *
 * @throws {VmmFileError} `truncated` or `damaged`, with the offset; `unsupported` if it was written
 * with multifd, mapped-ram, xbzrle, compression, postcopy or another way that has no plain pages.
 *
 * @example
 * ```ts
 * import { readQemuStream, VmmFileError } from "vfiokit/vmm";
 * import assert from "node:assert/strict";
 *
 * const header = new Uint8Array([0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3]);
 * await assert.rejects(
 *   readQemuStream(ReadableStream.from([header])),
 *   (error: VmmFileError) => error.code === "truncated" && error.offset === 8,
 * );
 * ```
 */
export async function readQemuStream(
  stream: AsyncIterable<Uint8Array<ArrayBuffer>>,
  options: ReadStreamOptions = {},
): Promise<QemuStream> {
  const input = new StreamInput(watched(stream, options));
  try {
    const read = await new StreamWalk(input).walk();
    options.onProgress?.({ bytes: read.bytes });
    return read;
  } finally {
    await input.cancel();
  }
}

async function* watched(
  stream: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { signal, onProgress }: ReadStreamOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let bytes = 0;
  for await (const chunk of stream) {
    signal?.throwIfAborted();
    // A consumer that is done with a chunk may give its buffer back to the stream.
    const { length } = chunk;
    yield chunk;
    onProgress?.({ bytes: bytes += length });
  }
}

/** Whether a file begins like a stream of QEMU's. */
export function isQemuStream(start: Uint8Array): boolean {
  return start.length >= 4 &&
    new DataView(start.buffer, start.byteOffset).getUint32(0) === QEMU_VM_FILE_MAGIC;
}

/** A section that goes on in later parts. */
interface OpenSection {
  readonly name: string;
  readonly content: RamSections | VfioSections;
  ended: boolean;
}

class StreamWalk {
  readonly #input: StreamInput;
  readonly #sections = new Map<number, OpenSection>();
  #machine: string | null = null;
  #pageSize = DEFAULT_PAGE_SIZE;
  #ram: RamSections | null = null;

  constructor(input: StreamInput) {
    this.#input = input;
  }

  async walk(): Promise<QemuStream> {
    await this.#header();
    for (;;) {
      const at = this.#input.offset;
      this.#input.what = "the mark of a section";
      const type = await this.#input.peek();
      switch (type) {
        case QEMU_VM_SECTION_START:
          await this.#start();
          break;
        case QEMU_VM_SECTION_PART:
        case QEMU_VM_SECTION_END:
          await this.#part(type === QEMU_VM_SECTION_END);
          break;
        case QEMU_VM_COMMAND:
          await this.#command();
          break;
        case QEMU_VM_SECTION_FULL:
        case QEMU_VM_EOF:
          return await this.#devices();
        case null:
          throw new VmmFileError(
            "truncated",
            at,
            "it ends after a section, without the mark of its end",
          );
        default:
          throw new VmmFileError("damaged", at, `no section begins with the byte ${type}`);
      }
    }
  }

  async #header(): Promise<void> {
    const input = this.#input;
    if (await input.peek() === null) throw new VmmFileError("truncated", 0, "it is empty");
    const magic = await input.be32();
    if (magic !== QEMU_VM_FILE_MAGIC) {
      const start = [magic >>> 24, magic >>> 16, magic >>> 8, magic, await input.peek() ?? 0];
      const packer = packerOf(new Uint8Array(start));
      const what = packer === null ? "" : `, but a ${packer.name} file`;
      throw new VmmFileError(
        "not-a-vmm-file",
        0,
        `it is no migration stream of QEMU's${what}`,
        packer?.hint,
      );
    }
    const version = await input.be32();
    if (version !== QEMU_VM_FILE_VERSION) {
      throw new VmmFileError("unsupported", 4, `it has version ${version} of the stream's format`);
    }
    input.what = "the configuration";
    if (await input.peek() !== QEMU_VM_CONFIGURATION) return;
    await input.byte();
    const length = await input.be32();
    if (length > 255) {
      throw new VmmFileError("damaged", input.offset - 4, `the machine's name has ${length} bytes`);
    }
    this.#machine = await input.text(length);
    while (await input.peek() === QEMU_VM_SUBSECTION) await this.#configuration();
  }

  /** A subsection of the configuration. */
  async #configuration(): Promise<void> {
    const input = this.#input;
    const at = input.offset;
    await input.byte();
    const name = await input.string();
    await input.be32();
    switch (name) {
      case "configuration/target-page-bits": {
        const bits = await input.be32();
        if (bits < 10 || bits > 24) {
          throw new VmmFileError("damaged", input.offset - 4, `pages have 2^${bits} bytes`);
        }
        this.#pageSize = 2 ** bits;
        return;
      }
      case "configuration/capabilities": {
        const count = await input.be32();
        for (let index = 0; index < count; index++) {
          const offset = input.offset;
          throw unsupported(offset, await input.string());
        }
        return;
      }
      case "configuration/uuid":
        return await input.skip(16);
      default:
        throw new VmmFileError("unsupported", at, `its configuration has the part "${name}"`);
    }
  }

  async #start(): Promise<void> {
    const input = this.#input;
    const at = input.offset;
    await input.byte();
    const id = await input.be32();
    const name = await input.string();
    await input.skip(4);
    const version = await input.be32();
    input.what = `section ${id} (${name})`;
    if (this.#sections.has(id) || this.#sections.size === MOST_SECTIONS) {
      throw new VmmFileError("damaged", at, `section ${id} begins again`);
    }
    const section = { name, content: this.#content(at, name, version), ended: false };
    this.#sections.set(id, section);
    await this.#walkContent(section);
    await this.#footer(id);
  }

  #content(at: number, name: string, version: number): RamSections | VfioSections {
    if (isVfio(name)) return new VfioSections(this.#input, name);
    if (name !== "ram") throw unsupported(at, `a section "${name}" in parts`);
    if (version !== 4 || this.#ram !== null) {
      throw new VmmFileError("damaged", at, `RAM begins again, or has version ${version}`);
    }
    return this.#ram = new RamSections(this.#input, this.#pageSize);
  }

  async #part(last: boolean): Promise<void> {
    const input = this.#input;
    const at = input.offset;
    await input.byte();
    const id = await input.be32();
    const section = this.#sections.get(id);
    if (section === undefined || section.ended) {
      throw new VmmFileError("damaged", at, `section ${id} goes on, and is not open`);
    }
    input.what = `section ${id} (${section.name})`;
    section.ended = last;
    await this.#walkContent(section);
    await this.#footer(id);
  }

  async #walkContent({ content, ended }: OpenSection): Promise<void> {
    if (content instanceof RamSections) await content.walk();
    else await content.walk(!ended);
  }

  async #footer(id: number): Promise<void> {
    const at = this.#input.offset;
    const mark = await this.#input.byte();
    if (mark !== QEMU_VM_SECTION_FOOTER || await this.#input.be32() !== id) {
      throw new VmmFileError("damaged", at, `${this.#input.what} does not end here`);
    }
  }

  async #command(): Promise<void> {
    const input = this.#input;
    const at = input.offset;
    input.what = "a command";
    await input.byte();
    const number = await input.be16();
    const command = COMMANDS[number] ?? "";
    if (command === "" || command === "invalid") {
      throw new VmmFileError("damaged", at, `there is no command ${number}`);
    }
    if (/postcopy|packaged|COLO|bitmap/.test(command)) {
      throw unsupported(at, /COLO/.test(command) ? "COLO" : "postcopy");
    }
    await input.skip(await input.be16());
  }

  /** The devices that are saved at once, and the end. */
  async #devices(): Promise<QemuStream> {
    const input = this.#input;
    const base = input.offset;
    const open = [...this.#sections.values()].find(({ ended }) => !ended);
    if (open !== undefined) {
      throw new VmmFileError("damaged", base, `section "${open.name}" has no end`);
    }
    const tail = await input.rest(MOST_TAIL);
    if (tail === null) {
      throw new VmmFileError("unsupported", base, `its devices take more than ${MOST_TAIL} bytes`);
    }
    const { names, pageSize, ids } = readDeviceSections(tail, base, isVfio);
    if (pageSize !== null && pageSize !== this.#pageSize) {
      throw new VmmFileError(
        "damaged",
        base,
        `its pages have ${pageSize} bytes, by its description`,
      );
    }
    const ram = this.#ram;
    return {
      machine: this.#machine,
      bytes: base + tail.length,
      ram: {
        bytes: ram?.bytes ?? 0,
        blocks: ram?.blocks ?? 0,
        pages: ram?.pages ?? 0,
        zeroPages: ram?.zeroPages ?? 0,
      },
      devices: [...this.#sections.values()].flatMap(({ name, content }) =>
        content instanceof RamSections ? [] : [{
          name: name.replace(/\/?vfio$/, ""),
          ids: ids.get(name) ?? null,
          bytes: content.bytes,
          records: content.records,
        }]
      ),
      others: names.filter((name) => !isVfio(name)),
    };
  }
}

/** Whether a section is a VFIO device's: its path, and `vfio`. */
function isVfio(name: string): boolean {
  return name === "vfio" || name.endsWith("/vfio");
}
