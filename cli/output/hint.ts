/**
 * What to do next, in the command line's words: the library knows no options and no commands.
 *
 * @module
 */

import { shellWord } from "../../src/base/shell.ts";
import type { Reason } from "../../src/vfio/mod.ts";
import type { Hint, Remedy } from "../../mod.ts";

/** What stands for a device in a command, if there are several, or it is not open. */
const DEVICE = "DEVICE";

/** How the command line words a remedy, after the hint's text; DEVICE is the device. */
const REMEDIES: Readonly<Record<Remedy, string>> = {
  "open-by-group": " (--via group)",
  "open-by-group-or-log": " (--via group, --tracker device)",
  "pass-container": " (--container-fd N)",
  "pass-ioas": " (--iommufd-fd N --ioas ID)",
  "pass-vf-token": " (--vf-token UUID)",
  "track-by-type1": ". Its IOMMU may track it: --tracker type1",
  converge: " (--downtime TIME, --on-no-converge stop)",
  "converge-or-promise": " (--downtime TIME, --on-no-converge stop, --owner-writes none)",
  force: " (--force)",
  reset: ": vfiokit reset DEVICE",
  "set-running": ": vfiokit state DEVICE running",
  "import-qemu": ": vfiokit import qemu FILE -o CHECKPOINT",
  lend: ": vfiokit with DEVICE -- COMMAND (in Deno: --allow-env=VFIOKIT_DEVICES)",
};

/**
 * A hint with its remedy; empty if nothing is to be done.
 *
 * @param device The name of the device that it is about.
 */
export function hintWords(hint: Hint | null, device?: string): string {
  if (hint === null) return "";
  return hint.remedy === null
    ? hint.text
    : `${hint.text}${withDevice(REMEDIES[hint.remedy], device)}`;
}

/** A command with the device in its place, as a shell takes it. */
function withDevice(command: string, device: string | undefined): string {
  // An fd means something to this process alone.
  if (device === undefined || device.startsWith("fd:")) return command;
  return command.replace(DEVICE, () => shellWord(device));
}

/** The hint of a reason; empty if nothing is to be done. */
export function reasonHint({ hint, remedy }: Reason): string {
  return hint === "" ? "" : hintWords({ text: hint, remedy: remedy ?? null });
}
