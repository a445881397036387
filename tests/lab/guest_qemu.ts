/**
 * QEMU for the guest: a virtual machine in the virtual machine, whose devices are the guest's.
 *
 * @module
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Apt } from "./apt.ts";
import { cached } from "./host.ts";

/** Debian's releases whose QEMU the guest has: bookworm's is the last that speaks v1. */
const SUITES = ["bookworm", "trixie"] as const;

/**
 * A folder with a QEMU of each release, with all that it needs: the guest has no libraries for it.
 * `tests/lab/guest/vmm.ts` starts them.
 */
export function guestQemu(cache: string, apt: (suite: string) => Apt): string {
  const root = join(cache, "guest-qemu");
  mkdirSync(root, { recursive: true });
  for (const suite of SUITES) {
    cached(join(root, suite), (folder) => {
      apt(suite).extractWithDependencies("qemu-system-x86", folder, "all");
    });
  }
  return root;
}
