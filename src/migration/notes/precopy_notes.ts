/**
 * Checks a driver's pre-copy data against the header's rules: each answer of
 * VFIO_MIG_GET_PRECOPY_INFO, and the bytes read since the previous one.
 */

import { VFIO_PRECOPY_INFO_REINIT, type VfioPrecopyInfo } from "../../uapi/mod.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";

/** Notes of one pre-copy. */
export class PrecopyNotes {
  readonly #notes: DriverNotes;
  #first: boolean;
  #before: VfioPrecopyInfo | null = null;
  /** Bytes read since then. */
  #read = 0;
  /** The last read, if it returned less than there was room for. */
  #short: { readonly count: number; readonly room: number } | null = null;

  /** `first`: the next answer is the first of its session. */
  constructor(notes: DriverNotes, first: boolean) {
    this.#notes = notes;
    this.#first = first;
  }

  /** Call this after reading bytes into `room` bytes of space. */
  read(count: number, room: number): void {
    const short = this.#short;
    // Dirty bytes may be new; initial bytes were there before.
    if (short !== null && this.#before !== null && this.#before.initial_bytes > 0n) {
      this.#notes.add(
        "short-read",
        () => `read gave ${short.count} of ${short.room} bytes, and the next one ${count} more`,
      );
    }
    this.#read += count;
    this.#short = count < room ? { count, room } : null;
  }

  /** Checks the driver's answer; `reinit`: whether that flag was enabled. */
  answered(info: VfioPrecopyInfo, reinit: boolean): void {
    this.#flags(info.flags, reinit);
    const anew = reinit && (info.flags & VFIO_PRECOPY_INFO_REINIT) !== 0;
    if (sum(info) > Number.MAX_SAFE_INTEGER) {
      this.#notes.add("precopy-info-wraps", () => spell(info));
    } else if (anew) this.#begunAnew(info);
    else if (this.#first) this.#begun(info);
    else this.#wentOn(info);
    this.#first = false;
    this.#before = info;
    this.#read = 0;
  }

  #flags(flags: number, reinit: boolean): void {
    const strange = reinit ? flags & ~VFIO_PRECOPY_INFO_REINIT : flags;
    if (strange === 0) return;
    const asked = reinit ? "" : ", and none was asked for";
    this.#notes.add(
      "precopy-info-flags",
      () => `the precopy info's flags were 0x${hex(flags)}${asked}`,
    );
  }

  #begun({ initial_bytes, dirty_bytes }: VfioPrecopyInfo): void {
    if (initial_bytes === 0n) {
      this.#notes.add("initial-bytes-zero", () => "initial_bytes was 0 at first");
    }
    if (dirty_bytes !== 0n) {
      this.#notes.add("dirty-bytes-first", () => `dirty_bytes was ${dirty_bytes} at first`);
    }
  }

  #begunAnew(info: VfioPrecopyInfo): void {
    this.#short = null;
    if (info.initial_bytes > 0n && info.dirty_bytes === 0n) return;
    this.#notes.add("precopy-reinit", () => `with VFIO_PRECOPY_INFO_REINIT ${spell(info)}`);
  }

  #wentOn({ initial_bytes }: VfioPrecopyInfo): void {
    const before = this.#before;
    // If there are dirty bytes as well, it is unknown which of the two were read.
    if (before === null || this.#read === 0 || before.dirty_bytes > 0n) return;
    if (before.initial_bytes === 0n || initial_bytes < before.initial_bytes) return;
    const read = this.#read;
    this.#notes.add(
      "initial-bytes-not-falling",
      () =>
        `initial_bytes was ${before.initial_bytes}, and ${initial_bytes} after ${read} bytes were read`,
    );
  }
}

function sum({ initial_bytes, dirty_bytes }: VfioPrecopyInfo): number {
  return Number(initial_bytes) + Number(dirty_bytes);
}

function spell({ initial_bytes, dirty_bytes }: VfioPrecopyInfo): string {
  return `initial_bytes was ${initial_bytes} and dirty_bytes ${dirty_bytes}`;
}

function hex(flags: number): string {
  return (flags >>> 0).toString(16);
}
