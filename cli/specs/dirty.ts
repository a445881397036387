/**
 * The commands about the pages that a device dirties.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { text } from "@optique/core/message";
import { map, multiple, optional, withDefault } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { choice, integer } from "@optique/core/valueparser";
import { type Command, defineCommand } from "./command.ts";
import { json, open, quiet, toggle } from "./options.ts";
import { tail } from "./tail.ts";
import { bandwidth, device, duration, file, iovaRange, wide } from "./values.ts";

const track = {
  device: argument(device(), { description: [text("The device to watch (see probe).")] }),
  map: multiple(option("--map", iovaRange(), {
    description: [text("Map memory of this size for the device to write to, at this IOVA.")],
  })),
  mapping: multiple(option("--mapping", iovaRange(), {
    description: [text("With fd:N: what its owner mapped. The kernel cannot list it.")],
  })),
  hugepages: toggle(["--hugepages"], "Map huge pages, where the system has some to spare."),
  tracker: withDefault(
    option("--tracker", choice(["type1", "device", "auto"], { metavar: "NAME" }), {
      description: [
        text(
          "Who tracks: type1, the container's IOMMU, for which the device is opened by its group; device, its own log; auto (the default), the log where it works, else type1.",
        ),
      ],
    }),
    "auto" as const,
  ),
  ...open,
  iommufdFd: optional(option("--iommufd-fd", integer({ min: 0, metavar: "FD" }), {
    description: [text("With fd:N, the fd of its iommufd; --ioas goes with it.")],
  })),
  ioas: optional(option("--ioas", integer({ min: 1, metavar: "ID" }), {
    description: [text("With --iommufd-fd, the IOAS that the device is attached to.")],
  })),
};

const after = optional(option("--after", duration(), {
  description: [
    text("Read after this time (default: when COMMAND has ended; without one, after 1s)."),
  ],
}));

const force = toggle(["-f", "--force"], "Replace a file that is there.");

const LEND =
  "Run a program meanwhile; it inherits the device, what it is opened by, and the memory.";

const LENT =
  "COMMAND inherits the device, with its group and container or its iommufd (see with), and the memory: VFIOKIT_MEMORY_FD is a memfd with all of it, VFIOKIT_MAPPINGS says as JSON which part is mapped where: [{iova, size, offset}].";

const UNTRACKED =
  "Passed-through devices are not tracked by the type1 IOMMU: every page is dirty at every read. The command says so where it sees it. Pages that a driver holds pinned stay dirty, and are counted apart.";

const LOGGED =
  "--tracker auto takes the device's own log where the driver has one (mlx5, pds) that the kernel can report, and says whom it took, and why. The log is of this device alone, and knows no pinned pages.";

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
    option("--every", duration(), { description: [text("Between two reads (default: 100ms).")] }),
    100,
  ),
  rounds: optional(option("--rounds", integer({ min: 1, metavar: "N" }), {
    description: [text("End after so many reads (default: when COMMAND ends, or at Ctrl-C).")],
  })),
  heatmap: toggle(["--heatmap"], "Draw which part of the memory is dirty, a line a round."),
  report: optional(option("--report", file(), {
    description: [text("Write a page of HTML at the end: heatmap, dirty rate, working set.")],
  })),
  force,
  command: tail(LEND),
  json: toggle(["--json"], "Print JSON Lines, an object a round."),
  ...quiet,
});

/** The arguments of `dirty watch`. */
export type DirtyWatchArgs = InferValue<typeof watchArgs>;

const forecastArgs = object({
  file: argument(file(), {
    description: [text("What dirty watch --json printed; - is stdin.")],
  }),
  bandwidth: option("--bandwidth", bandwidth(), {
    description: [text("What memory is sent over: 10Gbit, 400MiB (a second).")],
  }),
  downtime: withDefault(
    option("--downtime", duration(), {
      description: [text("How long the device may stand still (default: 300ms).")],
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
  withDirty: toggle(["--with-dirty"], "Track dirty pages, and read the last of them."),
  after,
  command: tail(LEND),
  ...json,
  ...quiet,
});

/** The arguments of `unmap`. */
export type UnmapArgs = InferValue<typeof unmapArgs>;

/** `dirty get`. */
export const dirtyGet: Command = defineCommand({
  name: "dirty get",
  usage: "DEVICE --map IOVA:SIZE... [OPTIONS] [-- COMMAND...]",
  brief: "Print the pages that a device dirties in a while.",
  details: [
    "Maps memory for the device, starts tracking, waits, and reads once. --format bitmap writes the bits as the kernel lays them out: one bit a page, little-endian, each mapping in words of 64 bits, by ascending IOVA.",
    LENT,
    LOGGED,
    UNTRACKED,
  ],
  examples: [
    {
      what: "what does a program make the device write?",
      line: "vfiokit dirty get 3b:00.1 --map 0x100000:64MiB -- ./run-a-job.sh",
    },
    {
      what: "with no hardware at hand",
      line: "vfiokit dirty get 'sim:mapped?dma=random:5000/s' --map 0:16MiB --after 1s",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: getArgs,
  load: () => import("../commands/dirty_get.ts"),
});

/** `dirty watch`. */
export const dirtyWatch: Command = defineCommand({
  name: "dirty watch",
  usage: "DEVICE --map IOVA:SIZE... [OPTIONS] [-- COMMAND...]",
  brief: "Read dirty pages again and again: rate, working set, pictures.",
  details: [
    "A line a round: dirty pages and bytes, the dirty rate, and the working set (different pages so far). It ends after --rounds, when COMMAND ends (its exit code is passed on), or at Ctrl-C; the report is written in all cases. Where nobody reads its lines any more, and there is neither a report nor a COMMAND, it ends with exit code 1.",
    LENT,
    LOGGED,
    UNTRACKED,
  ],
  examples: [
    {
      what: "a picture of a benchmark",
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
  load: () => import("../commands/dirty_watch.ts"),
});

/** `dirty forecast`. */
export const dirtyForecast: Command = defineCommand({
  name: "dirty forecast",
  usage: "FILE|- --bandwidth RATE [--downtime TIME] [--json]",
  brief: "Say whether pre-copy of the memory would converge, and how.",
  details: [
    "From what dirty watch --json measured: how many rounds pre-copy needs at that bandwidth, how long the device stands still in the end, and the bandwidth that it converges from. It counts with the busiest stretch that was measured, of each length; the device's own state is not in it.",
    "Exits with 3 where it does not converge.",
  ],
  examples: [
    {
      what: "can it move over a link of 10 Gbit/s?",
      line: "vfiokit dirty forecast s.jsonl --bandwidth 10Gbit --downtime 300ms",
    },
  ],
  permissions: ["--allow-read"],
  args: forecastArgs,
  load: () => import("../commands/dirty_forecast.ts"),
});

/** `unmap`. */
export const unmap: Command = defineCommand({
  name: "unmap",
  usage: "DEVICE --map IOVA:SIZE... --iova IOVA --size SIZE [--with-dirty] [-- COMMAND...]",
  brief: "Unmap memory from a device, and read its last dirty pages.",
  details: [
    "Mappings are taken back whole: a range that cuts one is refused. It says how much was really unmapped, and what is still mapped; where a failure leaves that unknown, it says so (null with --json).",
    LENT,
  ],
  examples: [
    {
      what: "what was written since the last look?",
      line:
        "vfiokit unmap 3b:00.1 --map 0:2MiB --iova 0 --size 2MiB --with-dirty -- ./run-a-job.sh",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read"],
  args: unmapArgs,
  load: () => import("../commands/unmap.ts"),
});
