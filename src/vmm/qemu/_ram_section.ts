/**
 * Walks past the RAM of a QEMU stream: its sections have no length.
 */

import { VmmFileError } from "../vmm_file_error.ts";
import {
  RAM_SAVE_FLAG_COMPRESS_PAGE,
  RAM_SAVE_FLAG_CONTINUE,
  RAM_SAVE_FLAG_EOS,
  RAM_SAVE_FLAG_HOOK,
  RAM_SAVE_FLAG_MEM_SIZE,
  RAM_SAVE_FLAG_MULTIFD_FLUSH,
  RAM_SAVE_FLAG_PAGE,
  RAM_SAVE_FLAG_XBZRLE,
  RAM_SAVE_FLAG_ZERO,
} from "./format.ts";
import type { StreamInput } from "./_stream_input.ts";

/** Blocks of RAM of a machine: each device with memory or a ROM has some. */
const MOST_BLOCKS = 65_536;

/** Ways of sending a page that cannot be walked past, by flag. */
const REFUSED: readonly (readonly [flag: number, what: string])[] = [
  [RAM_SAVE_FLAG_XBZRLE, "xbzrle"],
  [RAM_SAVE_FLAG_COMPRESS_PAGE, "compression"],
  [RAM_SAVE_FLAG_MULTIFD_FLUSH, "multifd"],
  [RAM_SAVE_FLAG_HOOK, "RDMA"],
];

const ZERO_AGAIN = RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_CONTINUE;
const PAGE_AGAIN = RAM_SAVE_FLAG_PAGE | RAM_SAVE_FLAG_CONTINUE;

/** The RAM of a stream, section by section. */
export class RamSections {
  readonly #input: StreamInput;
  readonly #pageSize: number;
  readonly #blocks = new Map<string, number>();
  #block = 0;
  /** Bytes of all blocks. */
  bytes = 0;
  /** Pages with content; a page that was sent twice counts twice. */
  pages = 0;
  /** Pages of zeros. */
  zeroPages = 0;

  /** @param pageSize The target's, in bytes. */
  constructor(input: StreamInput, pageSize: number) {
    this.#input = input;
    this.#pageSize = pageSize;
  }

  /** Names of the blocks. */
  get blocks(): number {
    return this.#blocks.size;
  }

  /** Walks to the end of a section. */
  async walk(): Promise<void> {
    const input = this.#input;
    for (;;) {
      this.#walkNow();
      if (input.left < 8) await input.need(8);
      const low = input.be32At(4);
      const flags = low & (this.#pageSize - 1);
      const address = input.be32At(0) * 2 ** 32 + (low - flags);
      input.skipNow(8);
      if (flags === PAGE_AGAIN || flags === ZERO_AGAIN) await this.#page(flags, address);
      else if (flags === RAM_SAVE_FLAG_PAGE || flags === RAM_SAVE_FLAG_ZERO) {
        await this.#enterBlock();
        await this.#page(flags, address);
      } else if (flags === RAM_SAVE_FLAG_EOS && address === 0) return;
      else if (flags === RAM_SAVE_FLAG_MEM_SIZE) await this.#blockList(address);
      else throw this.#refused(flags);
    }
  }

  /** Walks past pages of the same block that are there as a whole: there are millions of them. */
  #walkNow(): void {
    const input = this.#input;
    const size = this.#pageSize;
    while (input.left >= 8 + size) {
      const low = input.be32At(4);
      const flags = low & (size - 1);
      if (flags !== PAGE_AGAIN && flags !== ZERO_AGAIN) return;
      const address = input.be32At(0) * 2 ** 32 + (low - flags);
      if (address >= this.#block) return;
      if (flags === PAGE_AGAIN) {
        this.pages++;
        input.skipNow(8 + size);
      } else {
        this.zeroPages++;
        input.skipNow(8 + 1);
      }
    }
  }

  async #page(flags: number, address: number): Promise<void> {
    if (address >= this.#block) throw this.#outside(address);
    if ((flags & RAM_SAVE_FLAG_ZERO) !== 0) {
      this.zeroPages++;
      await this.#input.skip(1);
    } else {
      this.pages++;
      await this.#input.skip(this.#pageSize);
    }
  }

  async #enterBlock(): Promise<void> {
    const at = this.#input.offset;
    const name = await this.#input.string();
    const length = this.#blocks.get(name);
    if (length === undefined) {
      throw new VmmFileError(
        "damaged",
        at,
        `a page is in the RAM block "${name}", which is not listed`,
      );
    }
    this.#block = length;
  }

  /** The list of blocks: names and lengths, until the lengths add up to the total. */
  async #blockList(total: number): Promise<void> {
    this.bytes = total;
    for (let left = total; left > 0;) {
      const at = this.#input.offset;
      const name = await this.#input.string();
      const length = await this.#input.count();
      left -= length;
      if (left < 0 || length === 0 || this.#blocks.has(name) || this.blocks === MOST_BLOCKS) {
        throw new VmmFileError(
          "damaged",
          at,
          `the list of RAM blocks does not add up at "${name}"`,
        );
      }
      this.#blocks.set(name, length);
    }
  }

  #outside(address: number): VmmFileError {
    const at = this.#input.offset - 8;
    return new VmmFileError(
      "damaged",
      at,
      `a page at 0x${address.toString(16)} lies outside its RAM block of ${this.#block} bytes`,
    );
  }

  #refused(flags: number): VmmFileError {
    const at = this.#input.offset - 8;
    const refused = REFUSED.find(([flag]) => (flags & flag) !== 0 && flags < 0x400);
    if (refused === undefined) {
      return new VmmFileError(
        "damaged",
        at,
        `RAM has a page with the flags 0x${flags.toString(16)}`,
      );
    }
    return unsupported(at, refused[1]);
  }
}

/** The refusal of a way to migrate, with what to do. */
export function unsupported(at: number, what: string): VmmFileError {
  return new VmmFileError(
    "unsupported",
    at,
    `it was written with ${what}, which vfiokit does not read`,
    `Migrate again without ${what}`,
  );
}
