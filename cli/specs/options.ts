/**
 * The options that several commands share.
 *
 * @module
 */

import {
  argument,
  choice,
  flag,
  integer,
  message,
  metavar,
  multiple,
  option,
  optional,
  type OptionName,
  type Parser,
  text,
  withDefault,
} from "../optique.ts";
import { jsonFile } from "./json_file.ts";
import { device, duration, file, size, vfToken } from "./value_parsers.ts";

/** The most devices that a checkpoint holds, or a migration moves. */
export const MOST_DEVICES = 64;

/** An option that is on or off. */
export function toggle(
  names: readonly [OptionName, ...OptionName[]],
  description: string,
): Parser<"sync", boolean, unknown> {
  return withDefault(flag(...names, { description: [text(description)] }), false);
}

/** One device or more, but no more than `max`. */
export function devices(
  description: string,
  max?: number,
): Parser<"sync", readonly string[], unknown> {
  return multiple(argument(device(), { description: [text(description)] }), {
    min: 1,
    ...(max === undefined ? {} : { max }),
    errors: { tooFew: message`Expected a ${metavar("DEVICE")}.` },
  });
}

/** `--quiet`, on every command. */
export const quiet = {
  quiet: toggle(["-q", "--quiet"], "Print no progress, notes or summaries."),
};

/** `--json`. */
export const json = {
  json: toggle(
    ["--json"],
    "Print the result as one JSON document; --json=FILE writes it to that file.",
  ),
  jsonFile: jsonFile(),
};

/** The same for a command that prints an object for each of many things, as it goes. */
export function jsonLines(each: string): {
  json: Parser<"sync", boolean, unknown>;
  jsonFile: ReturnType<typeof jsonFile>;
} {
  const what = `Print JSON Lines, one object per ${each}; --json=FILE writes them to that file.`;
  return { json: toggle(["--json"], what), jsonFile: jsonFile() };
}

/** `--trace`, on every command that opens a device. */
export const trace = {
  trace: optional(option("--trace", file(), {
    description: [
      text(
        "Write every call to the kernel to this file, with its time and its arguments (see trace show).",
      ),
    ],
  })),
  traceData: toggle(
    ["--trace-data"],
    "With --trace, write the data of the state, too, and not only its length and CRC-32.",
  ),
};

/** The monitor of the VMM that has a device open. */
export const qmp = {
  qmp: optional(option("--qmp", file(), {
    description: [
      text("With pid:N, the Unix socket of the VMM's monitor (QEMU: -qmp unix:SOCKET,server=on)."),
    ],
  })),
};

/** Where a restore into such a device keeps the state that the device had. */
export const rollback = {
  rollback: optional(option("--rollback", file(), {
    description: [
      text(
        "With pid:N, the file of the state that the device had before a restore (default: FILE.rollback).",
      ),
    ],
  })),
};

/** How a device is opened. */
export const open = {
  via: optional(option("--via", choice(["cdev", "group", "auto"], { metavar: "WAY" }), {
    description: [
      text(
        "How to open the device: cdev (its own character device, with /dev/iommu), group (its IOMMU group), or auto (the default: cdev if the kernel has it).",
      ),
    ],
  })),
  vfToken: optional(option("--vf-token", vfToken(), {
    description: [text("The VF token that the driver of an SR-IOV function requires.")],
  })),
  groupFd: optional(option("--group-fd", integer({ min: 0, metavar: "FD" }), {
    description: [text("With fd:N, the fd of its IOMMU group.")],
  })),
  containerFd: optional(option("--container-fd", integer({ min: 0, metavar: "FD" }), {
    description: [text("With fd:N, the fd of its container.")],
  })),
};

/** How a device is driven. */
export const drive = {
  ...open,
  ...trace,
  quirk: optional(option("--quirk", choice(["ice", "nvidia-vgpu"], { metavar: "NAME" }), {
    description: [
      text(
        "Drive a v1 device as this vendor's driver requires: ice or nvidia-vgpu (default: as probed).",
      ),
    ],
  })),
  onError: withDefault(
    option("--on-error", choice(["reset", "leave"], { metavar: "WHAT" }), {
      description: [
        text(
          "What to do with a device that cannot go back to running: reset (the default) or leave.",
        ),
      ],
    }),
    "reset",
  ),
};

/** `--hold`. */
export const hold = {
  hold: toggle(["--hold"], "Keep the device open, with its state, until a signal comes."),
};

/** How the state is stored in a checkpoint. */
export const stored = {
  compress: optional(option("--compress", choice(["zstd"], { metavar: "HOW" }), {
    description: [text("Compress the state: zstd.")],
  })),
  digest: optional(option("--digest", choice(["sha256"], { metavar: "HOW" }), {
    description: [text("Add a digest of the state: sha256.")],
  })),
};

/** When pre-copy ends. */
export const precopy = {
  threshold: optional(option("--threshold", size(), {
    description: [text("End pre-copy when less than this is pending.")],
  })),
  downtime: optional(option("--downtime", duration(), {
    description: [
      text("End pre-copy when the rest takes no longer than this at the rate so far."),
    ],
  })),
  maxRounds: optional(option("--max-rounds", integer({ min: 1, metavar: "N" }), {
    description: [text("End pre-copy after this many rounds (default: 30).")],
  })),
  maxTime: optional(option("--max-time", duration(), {
    description: [text("End pre-copy after this time.")],
  })),
};
