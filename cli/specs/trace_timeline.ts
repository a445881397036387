/**
 * The commands about traces.
 *
 * @module
 */

import {
  argument,
  type InferValue,
  multiple,
  object,
  option,
  optional,
  string,
  text,
} from "../optique.ts";
import type { Command } from "./command.ts";
import { json, jsonLines, quiet, toggle } from "./options.ts";
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
  ...jsonLines("call, as in the trace"),
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

const timelineArgs = object({
  file: argument(file(), {
    description: [text("A trace, or a checkpoint, which has less.")],
  }),
  report: optional(option("--report", file(), {
    description: [
      text(
        "Write an HTML page: states, downtime, pending bytes, latencies of each call, slowest calls.",
      ),
    ],
  })),
  force: toggle(["-f", "--force"], "Replace the file of --report."),
  ...json,
  ...quiet,
});

/** The arguments of `timeline`. */
export type TimelineArgs = InferValue<typeof timelineArgs>;

/** `timeline`. */
export const timeline: Command<TimelineArgs> = {
  name: "timeline",
  usage: "TRACE|CHECKPOINT [--report FILE] [--json]",
  brief: "Show what devices did over time, and where their downtime went.",
  details: [
    "Of a trace: the states of each device over time with the bytes moved in each, the downtime in its parts, the calls by kind with their latencies, and the slowest calls. Of a checkpoint, with the numbers of the save: the phases, the rounds of pre-copy and why it ended, the downtime until the data was read.",
    "Exits with 4 if the file is bad.",
  ],
  examples: [
    {
      what: "where did the downtime of a save go?",
      line: "vfiokit timeline save.trace --report timeline.html",
    },
  ],
  permissions: ["--allow-read"],
  args: timelineArgs,
};
