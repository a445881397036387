import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

interface Part {
  readonly kind: string;
  readonly state: string;
  readonly to: string | null;
  readonly seconds: number;
}

/** A traced save: its trace, its checkpoint, and its JSON document. */
async function saved(folder: Folder, device: string): Promise<{
  readonly trace: string;
  readonly checkpoint: string;
  // deno-lint-ignore no-explicit-any -- a JSON document
  readonly document: any;
}> {
  const [trace, checkpoint] = [folder.file("trace"), folder.file("checkpoint")];
  const { code, out, err } = await vfiokit(
    ["save", device, "--precopy", "-o", checkpoint, "--trace", trace, "--json"],
  );
  assert.equal(code, 0, err);
  return { trace, checkpoint, document: JSON.parse(out) };
}

describe("vfiokit timeline", () => {
  it("has the states and the downtime that the save itself reported", async () => {
    using folder = new Folder();
    const { trace, document } = await saved(folder, "sim:mlx5?size=1MiB");
    const { code, out, err } = await vfiokit(["timeline", trace, "--json"]);
    assert.equal(code, 0, err);
    const { kind, devices: [device] } = JSON.parse(out);
    assert.equal(kind, "trace");
    assert.deepEqual(device.states.map(({ state }: { state: string }) => state), [
      ...["running", "pre-copy", "pre-copy-p2p", "stop-copy", "stop", "running-p2p", "running"],
    ]);
    const names = (parts: Part[]): string[] => parts.map(({ kind, state }) => `${kind} ${state}`);
    const told = document.devices[0].downtime;
    assert.deepEqual(names(device.downtime.parts), names(told.parts));
    // The same time, measured on both sides of the calls.
    assert.ok(device.downtime.seconds <= told.seconds + 1e-4);
    const bytes = device.states.reduce(
      (sum: number, each: { bytes: number }) => sum + each.bytes,
      0,
    );
    assert.equal(bytes, document.bytes);
    const calls = device.calls.find(({ name }: { name: string }) => name === "read");
    const inBuckets = calls.histogram.reduce((sum: number, count: number) => sum + count, 0);
    assert.equal(inBuckets, calls.count);
    assert.ok(device.slowest[0].duration >= device.slowest[1].duration);
    assert.ok(device.pending.length >= 2);
  });

  it("prints them, and writes a page that loads nothing", async () => {
    using folder = new Folder();
    const page = folder.file("t.html");
    const device = "sim:trapped?size=256KiB&seed=<b>";
    const { trace } = await saved(folder, "sim:trapped?size=256KiB");
    // A trace may come from anywhere, and so may a name in it.
    writeFileSync(trace, readFileSync(trace, "utf8").replaceAll("sim:trapped?size=256KiB", device));
    const { code, out, err } = await vfiokit(["timeline", trace, "--report", page]);
    assert.equal(code, 0, err);
    assert.match(out, /^ {2}stop-and-copy +\d/m);
    assert.match(out, /^It stood still for \d.*first byte .*, data .*, commit /m);
    assert.match(out, /^ {2}pread data_offset +\d/m);
    const html = readFileSync(page, "utf8");
    assert.match(html, /<title>stop-and-copy → stop: /);
    assert.match(html, /seed=&lt;b&gt;/);
    assert.doesNotMatch(html, /seed=<b>|https?:|src=|<script>/);
  });

  it("has the phases of a checkpoint", async () => {
    using folder = new Folder();
    const { checkpoint, document } = await saved(folder, "sim:mlx5?size=8MiB");
    const { code, out, err } = await vfiokit(["timeline", checkpoint, "--json"]);
    assert.equal(code, 0, err);
    const { kind, phases } = JSON.parse(out);
    assert.equal(kind, "checkpoint");
    const sizes = (of: { readonly bytes: number }[]): number[] => of.map(({ bytes }) => bytes);
    assert.deepEqual(sizes(phases), sizes(document.phases));
    const text = await vfiokit(["timeline", checkpoint]);
    assert.match(text.out, /pre-copy +\d+ +8\.0 MiB/);
  });

  it("exits with 4 for a bad file, and leaves no report", async () => {
    using folder = new Folder();
    const { trace } = await saved(folder, "sim:mlx5?size=64KiB");
    writeFileSync(trace, readFileSync(trace, "utf8").slice(0, -50));
    const page = folder.file("t.html");
    const cut = await vfiokit(["timeline", trace, "--report", page, "--json"]);
    assert.equal(cut.code, 4, cut.err);
    assert.equal(JSON.parse(cut.out).error.code, "cut");
    assert.throws(() => readFileSync(page));
    writeFileSync(trace, "neither");
    assert.equal((await vfiokit(["timeline", trace])).code, 4);
  });
});
