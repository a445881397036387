/**
 * Walks a VFIO device's sections of a QEMU stream, and notes where its data is.
 */

import { VmmFileError } from "../vmm_file_error.ts";
import {
  VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY,
  VFIO_MIG_FLAG_DEV_CONFIG_STATE,
  VFIO_MIG_FLAG_DEV_DATA_STATE,
  VFIO_MIG_FLAG_DEV_INIT_DATA_SENT,
  VFIO_MIG_FLAG_DEV_SETUP_STATE,
  VFIO_MIG_FLAG_END_OF_STATE,
  VFIO_MIG_FLAG_HIGH,
  VFIO_MIG_FLAG_MAGIC,
} from "./format.ts";
import { unsupported } from "./_ram_section.ts";
import type { StreamInput } from "./_stream_input.ts";

/** Where a piece of a device's state is in the file. */
export interface StateRecord {
  /** Its offset, in bytes. */
  readonly offset: number;
  /** Its length, in bytes; not 0. */
  readonly length: number;
  /** Whether the device ran when it was read. */
  readonly precopy: boolean;
}

/** Records of all devices of a file: 4 TiB of state in pieces of a MiB. */
const MOST_RECORDS = 1 << 22;

/** A VFIO device's state, as its sections come. */
export class VfioSections {
  /** Where its state is, in order. */
  readonly records: StateRecord[] = [];
  /** Bytes of it. */
  bytes = 0;
  readonly #input: StreamInput;
  readonly #name: string;

  constructor(input: StreamInput, name: string) {
    this.#input = input;
    this.#name = name;
  }

  /** Walks to the end of a section; `precopy` unless it is the last one. */
  async walk(precopy: boolean): Promise<void> {
    for (;;) {
      const at = this.#input.offset;
      switch (await this.#tag()) {
        case VFIO_MIG_FLAG_END_OF_STATE:
          return;
        case VFIO_MIG_FLAG_DEV_SETUP_STATE:
        case VFIO_MIG_FLAG_DEV_INIT_DATA_SENT:
          break;
        case VFIO_MIG_FLAG_DEV_DATA_STATE:
          await this.#data(precopy);
          break;
        case VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY:
          throw unsupported(at, "multifd");
        case VFIO_MIG_FLAG_DEV_CONFIG_STATE:
          throw new VmmFileError(
            "unsupported",
            at,
            `the configuration of ${this.#name} stands before its state, as QEMU before 6.0 wrote ` +
              "it, and has no length",
          );
        default:
          throw new VmmFileError("damaged", at, `${this.#name} has a tag that VFIO does not have`);
      }
    }
  }

  /** The low 16 bits of the next tag; -1 for what is none. */
  async #tag(): Promise<number> {
    const [high, low] = [await this.#input.be32(), await this.#input.be32()];
    return high === VFIO_MIG_FLAG_HIGH && low >>> 16 === VFIO_MIG_FLAG_MAGIC ? low & 0xffff : -1;
  }

  async #data(precopy: boolean): Promise<void> {
    const length = await this.#input.count();
    const { offset } = this.#input;
    // v1: the driver had nothing at that time, and QEMU's destination takes no notice of it.
    if (length === 0) return;
    if (this.records.length === MOST_RECORDS) {
      throw new VmmFileError(
        "unsupported",
        offset,
        `${this.#name} has more than ${MOST_RECORDS} pieces`,
      );
    }
    this.records.push({ offset, length, precopy });
    this.bytes += length;
    await this.#input.skip(length);
  }
}
