/**
 * The command that takes over a device and its memory.
 *
 * @module
 */

import {
  type InferValue,
  multiple,
  object,
  option,
  optional,
  string,
  text,
} from "../../optique.ts";
import type { Command } from "../command.ts";
import * as options from "../options.ts";
import { tail } from "../program_to_run.ts";
import { file, rangeToMap } from "../value_parsers.ts";
import { events, journal, timeout, tls } from "./shared_options.ts";

const receiveArgs = object({
  devices: options.devices(
    "The device to take over (see probe), in the order in which migrate has them.",
    options.MOST_DEVICES,
  ),
  listen: option("--listen", string({ metavar: "ADDRESS" }), {
    description: [text(
      "Where to wait for migrate: unix:PATH, tcp://HOST:PORT (TLS 1.3), or - (stdin and stdout).",
    )],
  }),
  map: multiple(option("--map", rangeToMap(), {
    description: [
      text(
        "What to use as the memory of one of the source's ranges (IOVA:SIZE@FILE, see dirty get); the others get new memory.",
      ),
    ],
  })),
  ...options.hold,
  force: options.toggle(["-f", "--force"], "Take another kind of device, if the driver does."),
  tee: optional(option("--tee", file(), {
    description: [
      text(
        "Write what comes to this file, too, as one checkpoint of the device and its memory (see restore).",
      ),
    ],
  })),
  ...tls,
  journal,
  timeout,
  events,
  command: tail("Run a program once the device runs here, with the device still open."),
  ...options.drive,
  ...options.json,
  ...options.quiet,
});

/** The arguments of `receive`. */
export type ReceiveArgs = InferValue<typeof receiveArgs>;

/** `receive`. */
export const receive: Command<ReceiveArgs> = {
  name: "receive",
  lendsStdout: true,
  usage: "DEVICE... --listen ADDRESS [OPTIONS] [--hold | -- COMMAND...]",
  brief: "Take over a device and its memory from migrate.",
  details: [
    "Waits until migrate connects, takes one migration, and ends. The device is opened, with the same memory mapped, once the other side has sent its HELLO; a peer that speaks another protocol is turned away before that. So is one with another number of devices, or with memory that cannot be had here: it hears why, and the next one may come.",
    "The file of --tee appears once the device runs here, and not if the migration fails; it replaces none. What it is written to has to keep up: the source waits for it.",
    "A unix socket has mode 0600, and only your own user and root are let in. One that is left from a process that ended is replaced. Over tcp, only a peer that has the key of a --peer certificate can.",
    "attach:PATH is a device that another program has open, with its memory mapped at the source's IOVAs: it hands both over, and is told once the device runs (see migrate).",
    "The device keeps its state only while it is open: --hold keeps it open; COMMAND inherits it as fd 3 (see with), and also needs --allow-run.",
  ],
  examples: [
    {
      what: "wait for a device, and hold it",
      line: "vfiokit receive 0000:5e:00.2 --listen unix:/run/vfiokit.sock --hold",
    },
    {
      what: "a simulated device that moves to another one",
      line: "vfiokit receive sim:mlx5 --listen unix:/tmp/vfiokit.sock",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write", "--allow-env", "--allow-net"],
  args: receiveArgs,
};
