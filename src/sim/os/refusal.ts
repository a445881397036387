/**
 * How the parts of the simulated kernel refuse a call: by throwing an errno. The
 * entry point (kernel.ts) adds the name of the call and the fd.
 */

import { VfiokitError } from "../../base/vfiokit_error.ts";
import { ERRNO, type ErrnoName } from "../../kernel/errno_names.ts";

/** A call is refused with an errno. */
export class Refusal extends VfiokitError {
  /** The errno number. */
  readonly errno: number;
  /** Its name. */
  readonly code: ErrnoName;

  /** Creates the refusal. */
  constructor(code: ErrnoName) {
    super(code);
    this.errno = ERRNO[code];
    this.code = code;
  }
}

/** Refuses the call with an errno. */
export function refuse(code: ErrnoName): never {
  throw new Refusal(code);
}
