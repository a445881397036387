/**
 * What a simulated kernel is given by the process around it: memory that is not its own, and
 * eventfds that are signalled outside.
 *
 * @module
 */

import { SysError } from "../../kernel/sys_error.ts";
import { type MappedRange, OpenFile } from "./open_file.ts";
import { refuse } from "./refusal.ts";

/** Memory outside the simulation. Either call throws a `SysError` if the memory is gone. */
export interface OutsideMemory {
  /** Reads `into.length` bytes from `offset` on. */
  read(offset: number, into: Uint8Array<ArrayBuffer>): void;
  /** Writes bytes to `offset`. */
  write(offset: number, from: Uint8Array<ArrayBuffer>): void;
}

/** What a mapping of such memory does. A device that cannot reach it gets EFAULT. */
export function outsideRange(memory: OutsideMemory): MappedRange {
  const reach = (access: () => void): void => {
    try {
      access();
    } catch (error) {
      if (error instanceof SysError) refuse("EFAULT");
      throw error;
    }
  };
  return {
    load(offset, into): void {
      const bytes = new Uint8Array(into.length);
      reach(() => memory.read(offset, bytes));
      into.set(bytes);
    },
    store(offset, from): void {
      reach(() => memory.write(offset, Uint8Array.from(from)));
    },
  };
}

/** What an eventfd is outside the simulation. */
export interface OutsideEventfd {
  /** Adds 1 to its counter. */
  signal(): void;
  /**
   * Calls `signalled` whenever the counter is not 0, and sets it to 0 then; null ends that. Called
   * again only after that.
   */
  watch(signalled: (() => void) | null): void;
  /** The eventfd, and what uses it, are closed. */
  released(): void;
}

/** An eventfd. What it counts is known outside only. */
export class EventFile extends OpenFile {
  readonly label = "anon_inode:[eventfd]";
  readonly #outside: OutsideEventfd;

  constructor(outside: OutsideEventfd) {
    super();
    this.#outside = outside;
  }

  protected release(): void {
    this.#outside.released();
  }

  ioctl(): number {
    return refuse("ENOTTY");
  }

  /** Adds 1 to its counter. */
  signal(): void {
    this.#outside.signal();
  }

  /** Has `signalled` called when it is signalled outside; null ends that. */
  watch(signalled: (() => void) | null): void {
    this.#outside.watch(signalled);
  }
}
