import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { openDevice } from "../../mod.ts";
import {
  formatCall,
  perfettoJson,
  readTrace,
  Trace,
  TraceError,
  type TraceErrorCode,
  TraceFileError,
} from "../../src/trace/mod.ts";
import { Folder } from "../cli/_folder.ts";
import { linesOf, recordedSave, writeLines } from "./_recorded.ts";

/** Reads a trace to its end; how many lines were good before that. */
function readAll(path: string): { good: number; error: TraceError | null } {
  let good = 0;
  try {
    using trace = readTrace(path);
    for (const line of trace.lines()) {
      good++;
      if (line.type === "call") formatCall(line);
    }
    return { good, error: null };
  } catch (error) {
    assert.ok(error instanceof TraceError, String(error));
    return { good, error };
  }
}

/** A small trace, as lines. */
async function small(folder: Folder): Promise<string[]> {
  const path = folder.file("small");
  {
    using trace = Trace.create(path, { devices: ["sim:mlx5"] });
    await using device = await openDevice("sim:mlx5", { trace });
    await device.state();
  }
  return linesOf(path);
}

describe("readTrace", () => {
  it("reads what was written", async () => {
    using folder = new Folder();
    const { trace } = await recordedSave(folder, "sim:mlx5?size=256KiB", { data: true });
    const { good, error } = readAll(trace);
    assert.equal(error, null);
    assert.equal(good, linesOf(trace).length - 2);
    using read = readTrace(trace);
    assert.deepEqual(read.header.devices, ["sim:mlx5?size=256KiB"]);
    assert.equal(read.header.data, true);
  });

  it("refuses what is wrong, and says where", async () => {
    using folder = new Folder();
    const lines = await small(folder);
    const [header, thread, first, second, ...rest] = lines as [string, string, string, string];
    const end = lines.at(-1)!;
    const body = rest.slice(0, -1);
    const deep = `${"[".repeat(20)}${"]".repeat(20)}`;
    const cases: [name: string, lines: string[], code: TraceErrorCode, line: number][] = [
      ["empty", [], "not-a-trace", 1],
      ["another file", ["# notes"], "not-a-trace", 1],
      ["other JSON", ['{"schema":"vfiokit/save/1"}'], "not-a-trace", 1],
      ["a later version", [header.replace("trace/1", "trace/2")], "version", 1],
      ["no end", lines.slice(0, -1), "cut", lines.length],
      ["a call is missing", [header, thread, second, ...body, end], "order", 3],
      ["calls in another order", [header, thread, second, first, ...body, end], "order", 3],
      ["a call twice", [header, thread, first, first], "order", 4],
      ["no thread", [header, first], "order", 2],
      ["a thread twice", [header, thread, first, thread], "order", 4],
      ["a second header", [header, thread, header], "line", 3],
      ["the end too early", [header, thread, first, end], "order", 4],
      ["more behind the end", [...lines, first], "order", lines.length + 1],
      ["no JSON", [header, thread, first.slice(0, 40)], "line", 3],
      ["no object", [header, thread, "[1]"], "line", 3],
      ["an unknown type", [header, thread, '{"type":"note"}'], "line", 3],
      ["an unknown call", [header, thread, first.replace('"realPath"', '"fork"')], "line", 3],
      ["a number as text", [header, thread, first.replace('"n":1', '"n":"1"')], "line", 3],
      ["a negative time", [header, thread, first.replace('"time":', '"time":-')], "line", 3],
      ["too deep", [header, thread, first.replace('"args":', `"x":${deep},"args":`)], "line", 3],
      [
        "data that is too short",
        [
          header,
          thread,
          first.replace('"args":', '"data":{"length":9,"crc32":"00000000","bytes":"AA=="},"args":'),
        ],
        "line",
        3,
      ],
    ];
    for (const [name, written, code, line] of cases) {
      const path = folder.file("bad");
      writeLines(path, written);
      const { error } = readAll(path);
      assert.ok(error !== null, name);
      assert.deepEqual([error.code, error.line], [code, line], `${name}: ${error.message}`);
    }
  });

  it("refuses lines of absurd length, without keeping them", () => {
    using folder = new Folder();
    const path = folder.file("long");
    fs.writeFileSync(path, "x".repeat(5 << 20));
    assert.equal(readAll(path).error?.code, "length");
    assert.throws(() => readTrace(folder.file("none")), TraceFileError);
    assert.throws(() => readTrace("/proc"), TraceFileError);
  });

  it("finds any cut, and gives out only whole lines before it", async () => {
    using folder = new Folder();
    const whole = new TextEncoder().encode((await small(folder)).join("\n") + "\n");
    const path = folder.file("cut");
    fc.assert(fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (length) => {
      fs.writeFileSync(path, whole.subarray(0, length));
      const { good, error } = readAll(path);
      // Without its newline the last line is whole, and not known to be.
      assert.ok(error !== null && ["cut", "not-a-trace"].includes(error.code));
      const newlines = whole.subarray(0, length).filter((byte) => byte === 0x0a).length;
      assert.ok(good <= Math.max(0, newlines - 1));
    }));
  });

  it("survives any damage: a documented error, or a trace", async () => {
    using folder = new Folder();
    const lines = await small(folder);
    const whole = lines.join("\n") + "\n";
    const path = folder.file("damaged");
    const at = fc.nat(whole.length - 1);
    const text = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('"', "1e999", "null", "{}"));
    fc.assert(
      fc.property(fc.array(fc.tuple(at, fc.nat(12), text), { maxLength: 4 }), (edits) => {
        let damaged = whole;
        for (const [from, length, put] of edits) {
          damaged = damaged.slice(0, from) + put + damaged.slice(from + length);
        }
        fs.writeFileSync(path, damaged);
        readAll(path);
        try {
          using trace = readTrace(path);
          for (const piece of perfettoJson(trace)) assert.equal(typeof piece, "string");
        } catch (error) {
          assert.ok(error instanceof TraceError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("perfettoJson", () => {
  it("has a slice for each call and each state, and the pending bytes", async () => {
    using folder = new Folder();
    const { trace: path } = await recordedSave(folder, "sim:mlx5?size=256KiB");
    using trace = readTrace(path);
    const { traceEvents } = JSON.parse([...perfettoJson(trace)].join(""));
    type Part = { ph: string; cat?: string; name: string; ts: number; dur: number };
    const parts = traceEvents as Part[];
    assert.equal(
      parts.filter(({ ph, cat }) => ph === "X" && cat !== "state").length,
      linesOf(path).length - 3,
    );
    const states = parts.filter(({ cat }) => cat === "state");
    assert.deepEqual(states.map(({ name }) => name), [
      ...["running", "pre-copy", "pre-copy-p2p", "stop-copy", "stop", "running-p2p", "running"],
    ]);
    states.forEach(({ ts, dur }, index) => {
      const next = states[index + 1];
      if (next !== undefined) assert.ok(Math.abs(ts + dur - next.ts) < 0.01);
    });
    assert.ok(parts.some(({ ph, name }) => ph === "C" && name.startsWith("pending bytes")));
  });
});
