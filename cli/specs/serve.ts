/**
 * The command that serves a device to other processes.
 *
 * @module
 */

import { argument, type InferValue, object, option, text } from "../optique.ts";
import type { Command } from "./command.ts";
import { quiet, trace } from "./options.ts";
import { device, file } from "./value_parsers.ts";

const args = object({
  device: argument(device(), {
    description: [text("sim:NAME (simulated; sim:help lists them), or replay:FILE (a trace).")],
  }),
  socket: option("--socket", file(), {
    description: [text("The socket to make; it is removed at the end.")],
  }),
  ...trace,
  ...quiet,
});

/** The arguments of `serve`. */
export type ServeArgs = InferValue<typeof args>;

/** `serve`. */
export const serve: Command<ServeArgs> = {
  name: "serve",
  usage: "DEVICE --socket PATH",
  brief: "Serve a simulated device to other processes, by the vfio-user protocol.",
  details: [
    "QEMU (from 11.1 on, -device vfio-user-pci), libvfio-user's clients and vfiokit itself (vfio-user:PATH) drive the device through the socket. Only your own user and root may.",
    "One client is served at a time; others wait. When a client has gone, however it ended, the device is closed; the next client gets it newly opened.",
    "Runs until a signal comes (Ctrl-C, SIGTERM). A socket that is left from a process that was killed is replaced.",
  ],
  examples: [
    {
      what: "a network function without hardware",
      line: "vfiokit serve sim:mlx5 --socket mlx5.sock",
    },
    {
      what: "a device that writes to a guest's memory and interrupts it",
      line: 'vfiokit serve "sim:mlx5?doorbell=1" --socket mlx5.sock',
    },
    {
      what: "what a client makes the device do, call by call",
      line: "vfiokit serve sim:mlx5 --socket mlx5.sock --trace mlx5.trace",
    },
  ],
  permissions: ["--allow-ffi", "--allow-read", "--allow-write"],
  args,
};
