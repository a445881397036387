/**
 * Whether this machine's kernel can find writes by write-protection (Linux 6.7).
 */

import { demandPagemapScan, WriteProtection } from "../src/dirty/mod.ts";
import { libcKernel } from "../src/kernel/mod.ts";
import { UnsupportedError } from "../src/vfio/mod.ts";

function lacks(): string | false {
  try {
    WriteProtection.begin([])[Symbol.dispose]();
    demandPagemapScan(libcKernel());
    return false;
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
}

/** Why it cannot; false if it can. */
export const NO_WRITE_PROTECTION: string | false = lacks();
