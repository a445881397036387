// What the fuzzer has found, made small, and mended since: each stays as it is here, whatever a
// seed comes to mean. Add to it what `deno task fuzz` prints as the plan of a find.

import assert from "node:assert/strict";
import { after, it } from "node:test";
import { kindOf, KINDS } from "./_kinds.ts";
import { attempt } from "./_try.ts";

interface Found {
  /** What must hold. */
  readonly right: string;
  readonly kind: string;
  readonly plan: unknown;
}

const FOUND: readonly Found[] = [
  {
    right: "a device that nothing can be handed over from is told to run",
    kind: "faults",
    plan: {
      specs: [{ personality: "hisi", options: [], faults: [] }],
      host: "inline",
      onError: "reset",
      operation: { do: "states", steps: [{ ask: "handOver" }] },
      interruption: null,
    },
  },
  {
    right:
      "a vGPU's data at the very end of its region is outside of it, and not an empty iteration",
    kind: "faults",
    plan: {
      specs: [{ personality: "nvidia-vgpu", options: ["size=16KiB"], faults: ["lie-offset"] }],
      host: "inline",
      onError: "reset",
      operation: { do: "save", to: "own", options: { leave: "running" }, full: null },
      interruption: null,
    },
  },
  {
    right: "a trailer with fewer devices is told of by their number",
    kind: "checkpoints",
    plan: {
      specs: [{ personality: "hisi", options: ["size=8KiB"], faults: [] }],
      options: {},
      edits: [{ edit: "json", last: true, path: [412], value: [] }],
      fit: false,
      damage: null,
      pieces: [6],
      way: "pipe",
      host: "inline",
      force: false,
    },
  },
  {
    right: "memory that an owner hands over has an end: to touch /dev/zero behind it is a SIGBUS",
    kind: "attach",
    plan: {
      fds: ["device", "zero"],
      later: [],
      first: 1048576,
      attach: {
        edits: [{ path: ["memory", 1, "offset"], value: 65536 }],
        changes: [],
        times: 1,
      },
      answers: [],
    },
  },
  {
    right: "an IOAS without its iommufd is a mistake of the owner's, and said to be one",
    kind: "attach",
    plan: {
      fds: ["device", "memory"],
      later: [],
      first: 1048576,
      attach: { edits: [{ path: ["ioas"], value: 65536 }], changes: [], times: 1 },
      answers: [],
    },
  },
  {
    right: "check ends at a signal while it waits for foreign data on stdin",
    kind: "commands",
    plan: {
      command: "check",
      words: ["check", "--foreign=-", "--json", "sim:mapped?size=12KiB"],
      devices: [{ personality: "mapped", options: ["size=12KiB"], faults: [] }],
      base: { personality: "mapped", options: ["size=12KiB"], faults: [] },
      edits: [],
      ownProcess: false,
      stdin: "checkpoint",
      signal: "SIGTERM",
      after: 300,
    },
  },
];

after(async () => {
  for (const kind of KINDS) await kind.end?.();
});

for (const { right, kind, plan } of FOUND) {
  it(right, async () => {
    const find = await attempt(kindOf(kind), plan);
    assert.equal(find, null, String(find?.message));
  });
}
