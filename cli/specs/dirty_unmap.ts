/**
 * The commands about the pages that a device dirties.
 *
 * @module
 */

import {
  argument,
  choice,
  type InferValue,
  integer,
  map,
  multiple,
  object,
  option,
  optional,
  text,
  withDefault,
} from "../optique.ts";
import type { Command } from "./command.ts";
import { json, jsonLines, open, quiet, toggle, trace } from "./options.ts";
import { tail } from "./program_to_run.ts";
import { bandwidth, device, duration, file, iovaRange, rangeToMap, wide } from "./value_parsers.ts";

const track = {
  device: argument(device(), { description: [text("The device to watch (see probe).")] }),
  map: multiple(option("--map", rangeToMap(), {
    description: [
      text(
        "Map memory of this size at this IOVA for the device: new memory, or a FILE as it is. FILE is a path (/dev/shm/…, /proc/self/fd/N) or fd:N; “,offset=BYTES” behind it says where in it the memory begins.",
      ),
    ],
  })),
  mapping: multiple(option("--mapping", iovaRange(), {
    description: [
      text("With fd:N: a mapping that its owner made. The kernel cannot list mappings."),
    ],
  })),
  hugepages: toggle(["--hugepages"], "Map huge pages, if the system has free ones."),
  tracker: withDefault(
    option("--tracker", choice(["type1", "device", "iommufd", "auto"], { metavar: "NAME" }), {
      description: [
        text(
          "The tracker: type1 (the container's IOMMU; opens the device by its group), device (the device's own log), iommufd (the IOMMU's page table; opens the device by its character device), or auto (the default: the log if it works, else iommufd, else type1).",
        ),
      ],
    }),
    "auto" as const,
  ),
  ...open,
  ...trace,
  iommufdFd: optional(option("--iommufd-fd", integer({ min: 0, metavar: "FD" }), {
    description: [text("With fd:N, the fd of its iommufd; --ioas goes with it.")],
  })),
  ioas: optional(option("--ioas", integer({ min: 1, metavar: "ID" }), {
    description: [text("With --iommufd-fd, the IOAS that the device is attached to.")],
  })),
};

const after = optional(option("--after", duration(), {
  description: [
    text("Read after this time (default: when COMMAND ends, or after 1s without one)."),
  ],
}));

const force = toggle(["-f", "--force"], "Replace an existing file.");

const LEND = "Run a program meanwhile; it inherits the device's fds and the memory.";

const LENT =
  "COMMAND inherits the device, with its group and container or its iommufd (see with), and the memory. VFIOKIT_MEMORY_FD is a memfd with all of the memory; VFIOKIT_MAPPINGS lists as JSON which part is mapped where: [{iova, size, offset}]. Stdout is COMMAND's: results go to stderr, or by --json=FILE to a file.";

const UNTRACKED =
  "The type1 IOMMU does not track passed-through devices: every page is dirty in every read, and the command reports that. Pages that a driver keeps pinned stay dirty and are counted separately.";

const LOGGED =
  "--tracker auto uses the device's own log if the driver has one (mlx5, pds) and the kernel can report it. The command says which tracker it uses, and why. The log covers this device only and does not know pinned pages.";

const getObject = object({
  ...track,
  after,
  format: withDefault(
    option("--format", choice(["ranges", "bitmap", "json"], { metavar: "FORMAT" }), {
      description: [text("ranges (IOVA:SIZE, the default), bitmap (the kernel's), or json.")],
    }),
    "ranges",
  ),
  output: optional(option("-o", "--output", file(), {
    description: [text("Write to this file; - is stdout (the default).")],
  })),
  force,
  command: tail(LEND),
  ...json,
  ...quiet,
});

const getArgs = map(getObject, (args) => ({ ...args, json: args.json || args.format === "json" }));

/** The arguments of `dirty get`. */
export type DirtyGetArgs = InferValue<typeof getArgs>;

const watchArgs = object({
  ...track,
  every: withDefault(
    option("--every", duration(), {
      description: [text("The time between two reads (default: 100ms).")],
    }),
    100,
  ),
  rounds: optional(option("--rounds", integer({ min: 1, metavar: "N" }), {
    description: [text("End after this many reads (default: when COMMAND ends, or at Ctrl-C).")],
  })),
  heatmap: toggle(["--heatmap"], "Draw which part of the memory is dirty, one line per round."),
  report: optional(option("--report", file(), {
    description: [text("At the end, write an HTML page: heatmap, dirty rate, working set.")],
  })),
  force,
  command: tail(LEND),
  ...jsonLines("round"),
  ...quiet,
});

/** The arguments of `dirty watch`. */
export type DirtyWatchArgs = InferValue<typeof watchArgs>;

const forecastArgs = object({
  file: argument(file(), {
    description: [text("The output of dirty watch --json; - is stdin.")],
  }),
  bandwidth: option("--bandwidth", bandwidth(), {
    description: [
      text("The bandwidth to send memory over, per second: 10Gbit, 400MiB, 10G (10 GiB)."),
    ],
  }),
  downtime: withDefault(
    option("--downtime", duration(), {
      description: [text("How long the device may be stopped (default: 300ms).")],
    }),
    300,
  ),
  ...json,
  ...quiet,
});

/** The arguments of `dirty forecast`. */
export type DirtyForecastArgs = InferValue<typeof forecastArgs>;

const unmapArgs = object({
  ...track,
  iova: option("--iova", wide("IOVA"), { description: [text("Where to unmap from.")] }),
  size: option("--size", wide("SIZE"), { description: [text("How much to unmap.")] }),
  withDirty: toggle(["--with-dirty"], "Track dirty pages, and read the last ones."),
  after,
  command: tail(LEND),
  ...json,
  ...quiet,
});

/** The arguments of `unmap`. */
export type UnmapArgs = InferValue<typeof unmapArgs>;

/** `dirty get`. */
export const dirtyGet: Command<DirtyGetArgs> = {
  name: "dirty get",
  lendsStdout: true,
  usage: "DEVICE --map IOVA:SIZE... [OPTIONS] [-- COMMAND...]",
  brief: "Print the pages that a device dirties in a period of time.",
  details: [
    "Maps memory for the device, starts tracking, waits, and reads once. --format bitmap writes the kernel's layout: one bit per page, little-endian, in 64-bit words per mapping, by ascending IOVA.",
    LENT,
    LOGGED,
    UNTRACKED,
  ],
  examples: [
    {
      what: "which pages does the device write while a program runs?",
      line: "vfiokit dirty get 3b:00.1 --map 0x100000:64MiB -- ./run-a-job.sh",
    },
    {
      what: "with no hardware at hand",
      line: "vfiokit dirty get 'sim:mapped?dma=random:5000/s' --map 0:16MiB --after 1s",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: getArgs,
};

/** `dirty watch`. */
export const dirtyWatch: Command<DirtyWatchArgs> = {
  name: "dirty watch",
  lendsStdout: true,
  jsonLines: true,
  usage: "DEVICE --map IOVA:SIZE... [OPTIONS] [-- COMMAND...]",
  brief: "Read dirty pages round by round: rate, working set, heatmap.",
  details: [
    "Prints one line per round: dirty pages and bytes, the dirty rate, and the working set (distinct pages so far). Ends after --rounds, when COMMAND ends (and passes on its exit code), or at Ctrl-C; the report is written in each case. If stdout is closed, and there is neither a report nor a COMMAND, it exits with 1.",
    LENT,
    LOGGED,
    UNTRACKED,
  ],
  examples: [
    {
      what: "an HTML report of a benchmark",
      line: "vfiokit dirty watch 3b:00.1 --map 0:1GiB --report dirty.html -- ./benchmark.sh",
    },
    {
      what: "samples for dirty forecast",
      line:
        "vfiokit dirty watch 'sim:mapped?dma=hot:90/10' --map 0:64MiB --rounds 50 --json > s.jsonl",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: watchArgs,
};

/** `dirty forecast`. */
export const dirtyForecast: Command<DirtyForecastArgs> = {
  name: "dirty forecast",
  usage: "FILE|- --bandwidth RATE [--downtime TIME] [--json]",
  brief: "Forecast whether pre-copy of the memory would converge.",
  details: [
    "From the samples of dirty watch --json, computes how many rounds pre-copy needs at that bandwidth, how long the device is stopped at the end, and the lowest bandwidth at which pre-copy converges. It uses the busiest measured window of each length. The device's own state is not included.",
    "Exits with 3 if pre-copy does not converge.",
  ],
  examples: [
    {
      what: "can it move over a link of 10 Gbit/s?",
      line: "vfiokit dirty forecast s.jsonl --bandwidth 10Gbit --downtime 300ms",
    },
  ],
  permissions: ["--allow-read"],
  args: forecastArgs,
};

/** `unmap`. */
export const unmap: Command<UnmapArgs> = {
  name: "unmap",
  lendsStdout: true,
  usage: "DEVICE --map IOVA:SIZE... --iova IOVA --size SIZE [--with-dirty] [-- COMMAND...]",
  brief: "Unmap memory from a device, and read its last dirty pages.",
  details: [
    "Mappings are unmapped whole; a range that cuts one is refused. Prints how much was unmapped, and what is still mapped. If a failure leaves that unknown, unmap says so (null with --json).",
    LENT,
  ],
  examples: [
    {
      what: "which pages were written before the unmap?",
      line:
        "vfiokit unmap 3b:00.1 --map 0:2MiB --iova 0 --size 2MiB --with-dirty -- ./run-a-job.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: unmapArgs,
};
