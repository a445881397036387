/**
 * The command that moves a device and its memory to another process while it runs.
 *
 * @module
 */

import {
  argument,
  choice,
  type InferValue,
  integer,
  multiple,
  object,
  option,
  optional,
  string,
  text,
  withDefault,
} from "../../optique.ts";
import type { Command } from "../command.ts";
import * as options from "../options.ts";
import { tail } from "../program_to_run.ts";
import { device, duration, file, rangeToMap } from "../value_parsers.ts";
import { events, journal, timeout, tls } from "./shared_options.ts";

const migrateArgs = object({
  devices: multiple(
    argument(device(), { description: [text("The device to move (see probe).")] }),
    { max: options.MOST_DEVICES },
  ),
  to: optional(option("--to", string({ metavar: "ADDRESS" }), {
    description: [
      text(
        "Where receive listens: unix:PATH, tcp://HOST:PORT (TLS 1.3), exec:COMMAND, whose stdin and stdout it has, or fd:N, an inherited socket that is connected to it.",
      ),
    ],
  })),
  map: multiple(option("--map", rangeToMap(), {
    description: [
      text(
        "Map memory of this size at this IOVA for the device, and move it, too: new memory, or a FILE as it is (see dirty get).",
      ),
    ],
  })),
  tracker: withDefault(
    option(
      "--tracker",
      choice(["type1", "device", "iommufd", "auto", "none"], { metavar: "NAME" }),
      {
        description: [
          text(
            "What tracks dirty pages: type1, device (its own log), iommufd (the IOMMU's page table), auto (the default: the log if it works, else iommufd, else type1), or none (all memory is dirty).",
          ),
        ],
      },
    ),
    "auto" as const,
  ),
  downtime: withDefault(
    option("--downtime", duration(), {
      description: [text("How long the device may stand still (default: 300ms).")],
    }),
    300,
  ),
  maxRounds: withDefault(
    option("--max-rounds", integer({ min: 1, metavar: "N" }), {
      description: [text("How many rounds it may take to converge (default: 30).")],
    }),
    30,
  ),
  maxTime: optional(option("--max-time", duration(), {
    description: [text("How long it may take to converge.")],
  })),
  onNoConverge: withDefault(
    option("--on-no-converge", choice(["fail", "stop", "throttle"], { metavar: "WHAT" }), {
      description: [
        text(
          "If it does not converge: fail (the default; the device keeps running), stop the device anyway, or throttle: ask its owner to give it less work (see --owner-writes).",
        ),
      ],
    }),
    "fail" as const,
  ),
  ownerWrites: withDefault(
    option(
      "--owner-writes",
      choice(["compare", "reported", "protect", "none"], { metavar: "HOW" }),
      {
        description: [
          text(
            "What programs write to the memory, which no tracker sees: compare (the default: all pages, after the stop), reported (the owner says what it writes: attach:PATH, or COMMAND), protect (the owner write-protects its memory, and the kernel finds what it writes: Linux 6.7), or none (a promise that they do not).",
          ),
        ],
      },
    ),
    "compare" as const,
  ),
  verifyMemory: options.toggle(
    ["--verify-memory"],
    "Compare all memory on both sides before the switch; adds to the downtime.",
  ),
  compress: optional(option("--compress", choice(["zstd"], { metavar: "HOW" }), {
    description: [text("Compress memory and device data where that makes them smaller: zstd.")],
  })),
  streams: withDefault(
    option("--streams", integer({ min: 1, max: 16, metavar: "N" }), {
      description: [
        text(
          "Send memory by so many connections at the same time, 1 (the default) to 16; not with exec or fd.",
        ),
      ],
    }),
    1,
  ),
  resolve: optional(option("--resolve", string({ metavar: "ID" }), {
    description: [
      text("Decide about a migration that ended in doubt, from both journals; takes no device."),
    ],
  })),
  other: optional(option("--other", file(), {
    description: [text("With --resolve: a copy of the journal of the side on another machine.")],
  })),
  peerEnded: options.toggle(
    ["--peer-ended"],
    "With --resolve: vouch that the process on the other machine has ended.",
  ),
  insist: options.toggle(
    ["--insist-on-source"],
    "With --resolve: let the source run although the destination may have worked on.",
  ),
  command: tail("Run a program that uses the device while it is moved, until the program ends."),
  ...tls,
  journal,
  timeout,
  events,
  report: optional(option("--report", file(), {
    description: [
      text(
        "Write an HTML page: rounds, dirty pages, where the downtime went, and the forecast beside them.",
      ),
    ],
  })),
  force: options.toggle(["-f", "--force"], "Replace the file of --report."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `migrate`. */
export type MigrateArgs = InferValue<typeof migrateArgs>;

/** `migrate`. */
export const migrate: Command<MigrateArgs> = {
  name: "migrate",
  lendsStdout: true,
  usage: "DEVICE... --map IOVA:SIZE... --to ADDRESS [OPTIONS] [-- COMMAND...]",
  brief: "Move a running device and the memory of its DMA to receive.",
  details: [
    "Memory is sent while the device runs, in rounds of what became dirty since. When what is left fits --downtime at the measured speed, the device is stopped, the rest is sent, and the device runs on the other side. It never runs on both: the two sides agree in two steps, each with a journal.",
    "If it fails before that, the device keeps running here. If the connection breaks at the switch, both devices stand still, and both sides say so, until migrate --resolve ID has decided from both journals.",
    "A device that another program owns is attach:PATH, the socket where that program listens, or attach:fd:N, a socket that it left here: it hands over the device's fds and its memory, is asked to stop its own writes before the device stops, and is told how it ended. Several are moved together, each from its own owner. docs/attach.md has the protocol. COMMAND inherits the device as fd 3 (see with), and such a socket (VFIOKIT_ATTACH_FD); a program that says nothing on it is asked nothing. With COMMAND, results go to stderr; it also needs --allow-run.",
    "The downtime that is expected has what is left to send, and comparing memory. The two sides' agreement, which takes some milliseconds, --verify-memory, and the sync of a --tee come on top.",
    "Comparing memory after the stop is part of the downtime: with much memory, --owner-writes protect makes it shorter, or none if nothing but the device writes there.",
  ],
  examples: [
    {
      what: "to another process of this machine, where receive listens",
      line: "vfiokit migrate 0000:3b:00.1 --map 0x100000:64MiB --to unix:/run/vfiokit.sock",
    },
    {
      what: "to another host",
      line:
        "vfiokit migrate 0000:3b:00.1 --map 0x100000:64MiB --to exec:'ssh host vfiokit receive 0000:5e:00.2 --listen - --hold'",
    },
    {
      what: "to another host, by TLS: each side has its own key and the other's certificate",
      line:
        "vfiokit migrate 0000:3b:00.1 --map 0x100000:64MiB --to tcp://host:7000 --key a/key.pem --certificate a/certificate.pem --peer b.pem",
    },
    {
      what: "a device and its memory of a program that runs",
      line: "vfiokit migrate attach:/run/app.sock --to unix:/run/vfiokit.sock",
    },
    {
      what: "after both sides said that they are in doubt",
      line: "vfiokit migrate --resolve 0123456789abcdef0123456789abcdef",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write", "--allow-env", "--allow-net"],
  args: migrateArgs,
};
