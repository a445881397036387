/**
 * How the parts of the simulated kernel say no: with an errno. What call that
 * was, and on which fd, is known where it came in (kernel.ts).
 */

import { ERRNO, type ErrnoName } from "../kernel/errno.ts";

/** A call that is answered with an errno. */
export class Refusal extends Error {
  /** The errno number. */
  readonly errno: number;

  /** Makes the answer. */
  constructor(code: ErrnoName) {
    super(code);
    this.errno = ERRNO[code];
  }
}

/** Answers the call with an errno. */
export function refuse(code: ErrnoName): never {
  throw new Refusal(code);
}
