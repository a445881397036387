/**
 * The commands that save a device's state and put it back.
 *
 * @module
 */

import {
  argument,
  choice,
  type InferValue,
  map,
  message,
  metavar,
  multiple,
  object,
  option,
  text,
  withDefault,
} from "../optique.ts";
import type { Command } from "./command.ts";
import * as options from "./options.ts";
import { tail } from "./program_to_run.ts";
import { devicesAndFile, file, rangeToMap } from "./value_parsers.ts";

/** Both commands report notes; docs/driver-notes.md lists them. */
const NOTES =
  "If the driver breaks a rule but the work can go on, the command reports the rule at the end: as a note on stderr, and in notes of the JSON document.";

const leave = withDefault(
  option("--leave", choice(["running", "stop"], { metavar: "STATE" }), {
    description: [text("The state to leave the devices in: running (the default) or stop.")],
  }),
  "running",
);

const saveArgs = object({
  devices: options.devices(
    "The device to save (see probe). Several devices all stop, or none does.",
    options.MOST_DEVICES,
  ),
  output: option("-o", "--output", file(), {
    description: [text("The checkpoint to write; - is stdout.")],
  }),
  precopy: options.toggle(
    ["--precopy"],
    "First copy while the device runs (implied by the next four options).",
  ),
  ...options.precopy,
  leave,
  force: options.toggle(["-f", "--force"], "Replace an existing file."),
  ...options.stored,
  noReadBack: options.toggle(["--no-read-back"], "Do not read the file back before it appears."),
  ...options.qmp,
  command: tail("Run a program after the save, with the devices still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `save`. */
export type SaveArgs = InferValue<typeof saveArgs>;

const restoreWords = object({
  words: multiple(
    argument(devicesAndFile(), {
      description: [text(
        "The devices to restore into (see probe), in the order in which they were saved, and the checkpoint: a file, DIR or DIR@N (see checkpoint); - is stdin.",
      )],
    }),
    {
      min: 2,
      max: options.MOST_DEVICES + 1,
      errors: { tooFew: message`Expected ${metavar("DEVICE")} and ${metavar("FILE")}.` },
    },
  ),
  leave,
  map: multiple(option("--map", rangeToMap(), {
    description: [
      text(
        "What to use as the memory of one of the checkpoint's ranges (IOVA:SIZE@FILE, see dirty get); the others get new memory.",
      ),
    ],
  })),
  ...options.hold,
  force: options.toggle(
    ["-f", "--force"],
    "Restore even if the checkpoint is of another kind of device.",
  ),
  ...options.qmp,
  ...options.rollback,
  command: tail("Run a program after the restore, with the devices still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

// The last of the words: a parser that takes all it can get leaves none to another.
const restoreArgs = map(restoreWords, ({ words, ...rest }) => ({
  ...rest,
  devices: words.slice(0, -1),
  file: words.at(-1)!,
}));

/** The arguments of `restore`. */
export type RestoreArgs = InferValue<typeof restoreArgs>;

/** `save`. */
export const save: Command<SaveArgs> = {
  name: "save",
  lendsStdout: true,
  usage: "DEVICE... -o FILE|- [OPTIONS] [-- COMMAND...]",
  brief: "Save the state of one or several devices to a checkpoint.",
  details: [
    "The checkpoint file appears whole or not at all. If the save fails or is interrupted, the device goes back to running.",
    "A regular file is read back, as verify reads it, before it appears; the device runs meanwhile. If the file is bad, it is removed and the exit code is 1. This checks what was written, not the medium: the bytes may come from the kernel's page cache. Pipes and devices are not read back.",
    "Several devices are saved together, all or none, to one checkpoint, in the order given. Devices with P2P states (v2) stop peer-to-peer DMA before the first device stops, and all devices stop before the final state of any is read. If one fails, all go back to running, and the message names the state of each.",
    "A device that a running VMM has open (pid:N, with --qmp) is saved while the VMM has paused the machine, and goes on with it. Whatever fails, the device goes back to the state that the VMM believes in, and the machine goes on; if vfiokit is killed, a guard process does that. It also needs --allow-run. It is for v2 devices.",
    NOTES,
    "COMMAND runs after the save, when the file is in place. It inherits the open devices, the first as fd 3 (see with), in the state that --leave names. Stdout is COMMAND's: the report goes to stderr, and JSON, too, unless --json=FILE names a file. With -o - stdout is the checkpoint's, and COMMAND's goes to stderr. It also needs --allow-run and --allow-env.",
  ],
  examples: [
    {
      what: "save a running device, most of it while it runs",
      line: "vfiokit save 0000:3b:00.1 --precopy -o device.vfk",
    },
    {
      what: "save two devices that talk to each other",
      line: "vfiokit save 0000:3b:00.1 0000:5e:00.2 --precopy -o both.vfk",
    },
    {
      what: "stop it for about 300 ms at most, as far as the driver can estimate",
      line: "vfiokit save 0000:3b:00.1 --downtime 300ms -o device.vfk",
    },
    {
      what: "save a device that a running QEMU has open",
      line: "vfiokit save pid:4711 --qmp /run/qmp.sock -o device.vfk",
    },
    {
      what: "save to another host",
      line: "vfiokit save 0000:3b:00.1 -o - | ssh host vfiokit restore 0000:3b:00.1 -",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write"],
  args: saveArgs,
};

/** `restore`. */
export const restore: Command<RestoreArgs> = {
  name: "restore",
  lendsStdout: true,
  usage: "DEVICE... FILE|DIR|DIR@N|- [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Restore a checkpoint into one or several devices.",
  details: [
    "A file is verified as a whole before the device is opened. Data from a pipe is checked part by part before it is used; if the end is bad, the device is reset and the exit code is 4.",
    "A checkpoint of several devices needs as many devices, in the order in which they were saved; show lists them. All devices accept their state before the first one runs. If one fails, all are reset.",
    "A device that a running VMM has open (pid:N, with --qmp) gets its state while the VMM has paused the machine, after its present state was saved to FILE.rollback (--rollback). Its PCI configuration space must be the same afterwards. If the state cannot be loaded, the device is reset and gets its former state back; if that fails too, the machine stays paused and the exit code is 5. If vfiokit is killed, a guard process does the same. It also needs --allow-run and --allow-write. It is for v2 devices.",
    "DIR is a folder that checkpoint filled: its last checkpoint, DIR@N number N. The memory is mapped for the device as it was, and restored, too. So it is with a file that holds all memory: a full checkpoint, or one of receive --tee. All files that are needed are verified first; if one is missing or bad, the exit code is 4, and the last checkpoint that can be restored is named.",
    NOTES,
    "The device keeps the restored state only while it is open. --hold keeps it open; COMMAND inherits it as fd 3 (see with), and also needs --allow-run and --allow-env. Stdout is COMMAND's, as with save.",
  ],
  examples: [
    {
      what: "restore, and run a guest program on the device",
      line: "vfiokit restore 0000:3b:00.1 device.vfk -- ./use-it.sh",
    },
    {
      what: "put a device of a running QEMU back to what it was",
      line: "vfiokit restore pid:4711 --qmp /run/qmp.sock device.vfk",
    },
    {
      what: "restore two devices that were saved together",
      line: "vfiokit restore 0000:3b:00.1 0000:5e:00.2 both.vfk -- ./use-both.sh",
    },
    {
      what: "restore a device and its memory to number 12 of a folder of checkpoints",
      line: "vfiokit restore 0000:3b:00.1 checkpoints@12 -- ./use-it.sh",
    },
    {
      what: "restore its memory to a file, which a program uses as its own",
      line: "vfiokit restore 0000:3b:00.1 checkpoints --map 0x100000:64MiB@/dev/shm/memory --hold",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: restoreArgs,
};
