/**
 * How the parts of the simulated kernel refuse a call: by throwing an errno. The
 * entry point (kernel.ts) adds the name of the call and the fd.
 */

import { ERRNO, type ErrnoName } from "../../kernel/errno.ts";

/** A call is refused with an errno. */
export class Refusal extends Error {
  /** The errno number. */
  readonly errno: number;

  /** Creates the refusal. */
  constructor(code: ErrnoName) {
    super(code);
    this.errno = ERRNO[code];
  }
}

/** Refuses the call with an errno. */
export function refuse(code: ErrnoName): never {
  throw new Refusal(code);
}
