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

  const told: readonly (readonly [words: string, device: string, codes: readonly string[]])[] = [
    ["save --precopy", "mlx5?fault=precopy-info:1:EINVAL", ["precopy-info-failed"]],
    ["save --precopy", "mlx5?fault=precopy-info:2:EIO", ["precopy-info-failed"]],
    ["save", "mlx5?fault=data-size-zero:always", ["mig-data-size"]],
    ["save --precopy", "virtio?size=64KiB&fault=initial-never-zero", ["initial-bytes-left"]],
    ["save", "trapped?fault=short-read:2", ["short-transfer"]],
    ["save", "mlx5?fault=short-read:2", ["short-read"]],
    ["save", "trapped?fault=state-read:1:EIO", ["state-read-failed"]],
    ["save", "mapped?fault=no-data", ["state-empty"]],
    ["save", "qat?fault=no-data", ["stop-copy-empty"]],
    ["save", "trapped?size=64KiB&fault=pending-grows:2", ["pending-grows"]],
    ["state", "mlx5?fault=odd-flags", ["flags-undefined"]],
    ["state stop", "trapped?fault=state-late:1", ["state-lags"]],
    ["reset", "virtio?fault=odd-flags", ["flags-undefined"]],
  ];
  for (const [words, device, codes] of told) {
    it(`leave the exit code at 0: ${words} of sim:${device}`, async () => {
      using folder = new Folder();
      const [command, ...rest] = words.split(" ");
      const output = command === "save" ? ["-o", folder.file("a")] : [];
      const line = [command!, `sim:${device}`, ...rest, ...output, "--json"];
      const { code, out, err } = await vfiokit(line);
      assert.equal(code, 0, err);
      const { notes } = JSON.parse(out);
      assert.deepEqual(notes.map((note: { code: string }) => note.code), codes);
      for (const each of codes) assert.equal(err.split(`[${each}]`).length, 2, err);
    });
  }

  it("are printed by the script of a phase, too", async () => {
    const device = "sim:mlx5?size=64KiB&fault=data-size-zero:always";
    const { code, err } = await vfiokit([device, "--quiet"], {
      script: "cli/phases/stop_and_copy.ts",
    });
    assert.deepEqual([code, err], [0, ""]);
    const loud = await vfiokit([device], { script: "cli/phases/stop_and_copy.ts" });
    assert.equal(loud.code, 0);
    assert.match(
      loud.err,
      /^note: the driver: MIG_DATA_SIZE was 0, and \d+ bytes came \[mig-data-size\]$/m,
    );
  });

  it("are printed by probe for what a device reports", async () => {
    const words = ["probe", "sim:mlx5?fault=odd-flags", "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 0, err);
    const { driverNotes } = JSON.parse(out);
    assert.deepEqual(driverNotes.map((note: { code: string }) => note.code), ["flags-undefined"]);
    assert.match(
      err,
      /^note: the driver: the MIGRATION feature's flags were 0x107 \[flags-undefined\]$/m,
    );
  });

  it("are an empty list if there are none, and if no device was opened", async () => {
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
