/** What the drivers did against the rules, as the command line tells it. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

const DEVICE = "sim:trapped?size=64KiB&fault=data-size-zero:2";
const SEEN = "data_size was 0 with 65568 bytes pending";

describe("notes about a driver", () => {
  it("come on stderr after the summary, once, with the rule and how often", async () => {
    using folder = new Folder();
    const { code, out, err } = await vfiokit(["save", DEVICE, "-o", folder.file("a")]);
    assert.equal(code, 0, err);
    assert.match(out, /^Saved /);
    const [seen, rule, source] = err.trimEnd().split("\n").slice(-3);
    assert.equal(seen, `note: the driver: ${SEEN} (2 times) [data-size-zero]`);
    assert.match(rule!, /^ {2}rule: /);
    assert.match(source!, /^ {2}from: linux\/vfio\.h /);
  });

  it("are in the JSON document, with the number of the device", async () => {
    using folder = new Folder();
    const words = ["save", "sim:mlx5?size=1MiB", DEVICE, "-o", folder.file("a"), "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 0, err);
    const { notes, devices } = JSON.parse(out);
    const [{ rule, source, ...note }] = notes;
    assert.deepEqual(note, {
      device: 1,
      code: "data-size-zero",
      kind: "mistake",
      seen: SEEN,
      count: 2,
    });
    assert.equal(typeof rule, "string");
    assert.match(source, /linux\/vfio\.h/);
    assert.deepEqual(devices.map(({ notes }: { notes: unknown[] }) => notes.length), [0, 1]);
    assert.match(err, /^note: device 1 \(sim:trapped/m);
  });

  it("come after the error of what failed, and in its document", async () => {
    using folder = new Folder();
    const words = ["save", `${DEVICE}&fault=read:1:EIO`, "-o", folder.file("a"), "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 1);
    const { notes, error } = JSON.parse(out);
    assert.equal(error.errno, "EIO");
    assert.deepEqual(notes.map((note: { code: string }) => note.code), ["data-size-zero"]);
    assert.match(err, /vfiokit save: .*EIO[\s\S]*\nnote: the driver: data_size was 0/);
  });

  it("are told by probe of what a device says of itself", async () => {
    const words = ["probe", "sim:mlx5?fault=odd-flags", "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 0, err);
    const { driverNotes } = JSON.parse(out);
    assert.deepEqual(driverNotes.map((note: { code: string }) => note.code), ["flags-undefined"]);
    assert.match(err, /^note: the driver: flags were 0x107 \[flags-undefined\]$/m);
  });

  it("are an empty list where there are none, and where no device was opened", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    for (
      const words of [
        ["save", "sim:mlx5?size=1MiB", "-o", file],
        ["restore", "sim:mlx5?size=1MiB", file],
        ["state", "sim:mlx5"],
        ["reset", "sim:mlx5"],
        ["save", "sim:none", "-o", file],
        ["state", "sim:trapped?fault=open:EIO"],
        ["reset", "sim:trapped?fault=open:EIO"],
      ]
    ) {
      const { out } = await vfiokit([...words, "--json"]);
      assert.deepEqual(JSON.parse(out).notes, [], words.join(" "));
    }
  });
});
