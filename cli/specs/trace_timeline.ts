/**
 * The commands about traces.
 *
 * @module
 */

import { object } from "@optique/core/constructs";
import { text } from "@optique/core/message";
import { multiple, optional } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { argument, option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";
import type { Command } from "./command.ts";
import { quiet, toggle } from "./options.ts";
import { file, shortDuration } from "./value_parsers.ts";

const showArgs = object({
  file: argument(file(), { description: [text("The trace, as --trace wrote it.")] }),
  filter: multiple(option("--filter", string({ metavar: "WORD" }), {
    description: [
      text(
        "Show only calls whose name, request, feature, register, state or errno has this word in it. With several, any of them counts.",
      ),
    ],
  })),
  slowerThan: optional(option("--slower-than", shortDuration(), {
    description: [text("Show only calls that took longer than this: 50us, 1ms.")],
  })),
  perfetto: optional(option("--perfetto", file(), {
    description: [
      text("Write the whole trace to this file as Perfetto and chrome://tracing open it."),
    ],
  })),
  force: toggle(["-f", "--force"], "Replace the file of --perfetto."),
  json: toggle(["--json"], "Print JSON Lines, one object per call, as in the trace."),
  ...quiet,
});

/** The arguments of `trace show`. */
export type TraceShowArgs = InferValue<typeof showArgs>;

/** `trace show`. */
export const traceShow: Command<TraceShowArgs> = {
  name: "trace show",
  usage: "FILE [--filter WORD]... [--slower-than TIME] [--json] [--perfetto FILE]",
  brief: "Print the calls of a trace, in VFIO's words.",
  details: [
    "Prints one line per call: seconds since the trace began, the thread if there are several, the request or register with its arguments, what came back, and how long it took.",
    "If the trace is bad, or its end is missing, the calls before that are printed, and the exit code is 4.",
  ],
  examples: [
    {
      what: "which calls of a save were slow?",
      line: "vfiokit trace show save.trace --slower-than 1ms",
    },
    {
      what: "see it in Perfetto",
      line: "vfiokit trace show save.trace --perfetto save.json --filter none",
    },
  ],
  permissions: ["--allow-read"],
  jsonLines: true,
  args: showArgs,
};
