/**
 * The lab's command line.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type KernelRelease, KERNELS } from "./kernel.ts";

const NAMES = KERNELS.map(({ name }) => name).join(", ");

/** What `--help` says. */
export const USAGE = `Usage: deno task lab [OPTIONS] [-- COMMAND…]

Boots a Debian kernel in an emulator and runs the toolkit against vendor
drivers in it; with a COMMAND, runs that in the guest instead.

  --kernel NAME[,NAME…]  The kernels: ${NAMES}
                         (default: 6.1); all: those that are not built here.
  --only WORD            The cases that have a word in their name.
  --timeout SECONDS      When a guest is killed (default: 1800).
  --append WORD          A word more for the kernel's command line, as often as wanted:
                         --append intremap=off shows what needs interrupts that are not remapped.
  --long                 Runs the cases that take minutes, too; --only runs them without it.
  --once                 Of several kernels, runs each case on the first that can, but for those
                         that compare the kernel's own answers with what the toolkit expects.
  --guests N             2 boots two guests of the kernel, with a network between them, and runs
                         the cases that need both; a COMMAND runs in each (default: 1).
  --serve                Boots with Debian's newest QEMU, and a device that vfiokit serves by the
                         vfio-user protocol; runs the cases of that device.

Of several kernels, what none of them changes is shown on the first that can.
Exit code 0: all passed; 1: not; 3: this machine lacks something.`;

/** What is asked for. */
export interface Options {
  /** The kernels to boot, one after the other. */
  readonly kernels: readonly KernelRelease[];
  /** A word of the names of the cases to run. */
  readonly only: string | undefined;
  /** Seconds after which a guest is killed. */
  readonly timeout: number;
  /** More words for the kernel's command line. */
  readonly append: readonly string[];
  /** Whether cases that take minutes are run. */
  readonly long: boolean;
  /** Whether a case that one kernel has shown is not run on the next. */
  readonly once: boolean;
  /** How many guests there are: two have a network between them. */
  readonly guests: 1 | 2;
  /** Whether there is a device that vfiokit serves. */
  readonly serve: boolean;
  /** What to run in place of the cases. */
  readonly command: readonly string[];
}

function kernelsOf(text: string): KernelRelease[] {
  if (text === "all") return KERNELS.filter(({ built }) => !built);
  return text.split(",").map((name) => {
    const release = KERNELS.find((kernel) => kernel.name === name);
    if (release !== undefined) return release;
    throw new TypeError(`Cannot boot kernel "${name}": known are ${NAMES}, and all`);
  });
}

/**
 * Reads the command line; null where help is asked for.
 *
 * @throws {TypeError} If it cannot be right.
 */
export function parseOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      kernel: { type: "string", default: "6.1" },
      only: { type: "string" },
      timeout: { type: "string", default: "1800" },
      append: { type: "string", multiple: true, default: [] },
      long: { type: "boolean", default: false },
      once: { type: "boolean", default: false },
      guests: { type: "string", default: "1" },
      serve: { type: "boolean", default: false },
      help: { type: "boolean" },
    },
  });
  if (values.help) return null;
  const timeout = Number(values.timeout);
  if (!(timeout > 0)) throw new TypeError(`Cannot wait "${values.timeout}" seconds`);
  const { append, once, serve } = values;
  const guests = values.guests === "1" ? 1 : values.guests === "2" ? 2 : null;
  if (guests === null) throw new TypeError(`Cannot boot "${values.guests}" guests: 1 or 2`);
  if (guests === 2 && serve) throw new TypeError("Cannot serve a device to two guests");
  const only = values.only ?? (serve ? "served:" : guests === 2 ? "guests:" : undefined);
  const long = values.long || only !== undefined;
  const kernels = kernelsOf(values.kernel);
  return { kernels, only, timeout, append, long, once, guests, serve, command: positionals };
}
