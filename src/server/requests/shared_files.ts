/**
 * The files behind the memory that a client sent: one fd for each file, in however many mappings.
 */

import { SysError } from "../../kernel/sys_error.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { refuse } from "./refuse.ts";

/** The most files of one client. A virtual machine has one for each part of its memory. */
const MOST_FILES = 256;

/** A file that mappings use. */
export interface SharedFile {
  /** Its fd. */
  readonly fd: number;
  /** One mapping less uses it. */
  release(): void;
}

/** The files of one client. */
export class SharedFiles {
  readonly #kernel: Kernel;
  readonly #files = new Map<string, { readonly fd: number; users: number }>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Takes an fd, and closes it if its file is known already.
   *
   * @throws {SysError} ENFILE if there are too many files; the fd stays the caller's then.
   */
  take(fd: number): SharedFile {
    const key = this.#identity(fd);
    let file = this.#files.get(key);
    if (file === undefined) {
      if (this.#files.size === MOST_FILES) refuse("ENFILE");
      file = { fd, users: 0 };
      this.#files.set(key, file);
    } else this.#kernel.close(fd);
    file.users += 1;
    const taken = file;
    return {
      fd: taken.fd,
      release: () => {
        taken.users -= 1;
        if (taken.users > 0) return;
        this.#files.delete(key);
        this.#kernel.close(taken.fd);
      },
    };
  }

  /** What tells the file and its access apart from others; the fd itself before Linux 5.14. */
  #identity(fd: number): string {
    let text: string;
    try {
      text = this.#kernel.readText(`/proc/self/fdinfo/${fd}`, 4096);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return `fd ${fd}`;
    }
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}:\\s*(\\S+)$`, "m").exec(text)?.[1];
    const inode = field("ino");
    return inode === undefined
      ? `fd ${fd}`
      : `file ${field("mnt_id")} ${inode} with flags ${field("flags")}`;
  }
}
