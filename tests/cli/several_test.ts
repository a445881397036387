// Several devices on one command line.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname } from "node:path";
import { describe, it } from "node:test";
import { COMMANDS } from "../../cli/specs/commands.ts";
import { IN_DENO, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { interrupted } from "./_interrupted.ts";

/** The keys of each of `devices`, in their order. */
const KEYS = [
  "name",
  "protocol",
  "p2p",
  "state",
  "recovery",
  "transactions",
  "bytes",
  "phases",
  "downtime",
  "precopy",
  "notes",
  "error",
];

interface Entry {
  readonly name: string;
  readonly state: string | null;
  readonly recovery: string | null;
  readonly error: string | null;
}

function entries(out: string): Entry[] {
  const { devices } = JSON.parse(out);
  for (const device of devices) assert.deepEqual(Object.keys(device), KEYS);
  return devices;
}

describe("save and restore of several devices", () => {
  it("put them into one checkpoint and back, and say how each went", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const devices = ["sim:mlx5?size=2MiB&rate=1MiB", "sim:trapped?size=1MiB", "sim:pds?size=1MiB"];
    const saved = await vfiokit(["save", ...devices, "-o", file, "--precopy"]);
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.out, /^Saved 3 devices to .*: \d+\.\d MiB in \d+ transactions/);
    assert.match(saved.out, /^ {2}0 sim:mlx5.* {2}pre-copy /m);
    assert.match(saved.out, /^ {2}1 sim:trapped.* {2}stop-and-copy /m);
    assert.match(saved.out, /^The devices are in state running\.$/m);
    assert.match(saved.err, /sim:trapped.* has no P2P states: its DMA to the other devices cannot/);
    assert.match(saved.err, /sim:pds.* has no pre-copy/);
    assert.match(
      saved.err,
      /^hint: restore the devices in the same order: vfiokit restore DEVICE DEVICE DEVICE \S+$/m,
    );
    const [verified, shown, restored] = await Promise.all([
      vfiokit(["verify", file]),
      vfiokit(["show", file]),
      vfiokit(["restore", ...devices.map((name) => `${name}&seed=9`), file, "--json"]),
    ]);
    assert.match(verified.out, /: sound, .* of 3 devices in \d+ transactions/);
    assert.match(shown.out, /^Device 1: mdev, .*protocol v1/m);
    assert.match(shown.out, /^ {7}2 {2}stop-and-copy/m);
    assert.equal(restored.code, 0, restored.err);
    const document = JSON.parse(restored.out);
    assert.deepEqual(entries(restored.out).map(({ state }) => state), [
      "running",
      "running",
      "running",
    ]);
    assert.deepEqual([document.device, document.protocol, document.state], [null, null, "running"]);
    const bytes = document.devices.reduce(
      (sum: number, each: Entry & { bytes: number }) => sum + each.bytes,
      0,
    );
    assert.equal(document.bytes, bytes);
    assert.match(restored.err, /The devices are closed now/);
  });

  it("go through a pipe, from one to the other", async () => {
    const devices = ["sim:qat?size=1MiB", "sim:mlx5?size=1MiB"];
    const saved = await vfiokit(["save", ...devices, "-o", "-", "--digest", "sha256"]);
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.err, /Saved 2 devices to stdout/);
    const restored = await vfiokit(["restore", ...devices, "-", "--json"], {
      stdin: saved.stdout,
    });
    assert.equal(restored.code, 0, restored.err);
    assert.deepEqual(JSON.parse(restored.out).protocol, "v2");
  });

  it("take the same simulated device more than once, each a separate device", async () => {
    using folder = new Folder();
    const device = "sim:stop-copy-only?size=1MiB";
    const { code, out } = await vfiokit(["save", device, device, "-o", folder.file("a"), "--json"]);
    assert.equal(code, 0);
    assert.deepEqual(entries(out).map(({ name }) => name), [device, device]);
  });

  it("say nothing at all on stderr with `--quiet`", async () => {
    using folder = new Folder();
    const devices = ["sim:qat?size=1MiB", "sim:trapped?size=1MiB"];
    const file = folder.file("a");
    for (
      const words of [["save", ...devices, "--precopy", "-o", file], ["restore", ...devices, file]]
    ) {
      const { code, err } = await vfiokit([...words, "--quiet"]);
      assert.deepEqual([code, err], [0, ""]);
    }
  });

  it("need no more permissions than those of one", {
    skip: IN_DENO ? false : "permissions are Deno's",
  }, async () => {
    using folder = new Folder();
    const devices = ["sim:qat?size=1MiB", "sim:trapped?size=1MiB"];
    const file = folder.file("a");
    for (const words of [["save", ...devices, "-o", file], ["restore", ...devices, file]]) {
      const { permissions } = COMMANDS.find(({ name }) => name === words[0])!;
      const { code, err } = await vfiokit(words, { permissions });
      assert.equal(code, 0, err);
    }
  });
});

describe("save of several devices that fails", () => {
  const good = "sim:mlx5?size=1MiB";
  const resets = "&fault=reset:1:EIO&fault=reset:2:EIO&fault=reset:3:EIO";
  const cases: readonly (readonly [what: string, second: string, number, RegExp, string[]])[] = [
    [
      "one whose data cannot be read",
      "sim:qat?size=1MiB&fault=read:1:EIO",
      1,
      /device 1 \(sim:qat.*EIO.*; all of them are running again/,
      ["running", "running"],
    ],
    [
      "one that is lost",
      `sim:trapped?size=1MiB&fault=error-state:1${resets}`,
      5,
      /device 0 \(sim:mlx5.*\) is running again; device 1 \(sim:trapped.*\) could not be reset/,
      ["running", "error"],
    ],
    ["one that goes away", "sim:mapped?size=1MiB&fault=gone:1", 5, /ENODEV/, [
      "running",
      "unknown",
    ]],
  ];
  for (const [what, second, exitCode, says, states] of cases) {
    it(`exits with ${exitCode} for ${what}, leaves no file, and prints the state of each`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await vfiokit(["save", good, second, "-o", file, "--json"]);
      assert.equal(code, exitCode, err);
      assert.match(err, says);
      const found = entries(out);
      assert.deepEqual(found.map(({ state }) => state), states);
      assert.deepEqual(found.map(({ error }) => error !== null), [false, true]);
      assert.equal(JSON.parse(out).error.deviceState, states[1]);
      assert.deepEqual(readdirSync(dirname(file)), []);
    });
  }

  it("exits with 3 if one does not migrate, and with 2 if one is given twice", async () => {
    using folder = new Folder();
    const [none, twice] = await Promise.all([
      vfiokit(["save", good, "sim:none", "-o", folder.file("a"), "--json"]),
      vfiokit(["save", "fd:9", "fd:9", "-o", folder.file("b"), "--json"]),
    ]);
    assert.equal(none.code, 3, none.err);
    assert.match(none.err, /device 1 \(sim:none\): .*no migration region.*\(sim:mlx5.*is running/);
    assert.match(none.err, /hint: Look for a newer driver/);
    assert.deepEqual(entries(none.out).map(({ state }) => state), ["running", null]);
    assert.equal(twice.code, 2, twice.err);
    assert.match(twice.err, /Cannot open "fd:9" twice/);
    assert.deepEqual(readdirSync(dirname(folder.file("a"))), []);
  });
});

describe("restore of several devices that fails", () => {
  it("exits with 4, nothing touched, if number, order or kind differ", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const [first, second] = ["sim:mlx5?size=1MiB", "sim:qat?size=1MiB"];
    await vfiokit(["save", first, second, "-o", file]);
    const cases: readonly (readonly [words: string[], says: RegExp])[] = [
      [[first], /it holds 2 devices, and 1 was given/],
      [[first, second, second], /it holds 2 devices, and 3 were given/],
      [
        [second, first],
        /these devices in another order: they were saved as sim:mlx5[^,]*, sim:qat/,
      ],
      [[first, "sim:virtio"], /other devices.*: device 1 \(sim:virtio\)/],
    ];
    const outcomes = await Promise.all(
      cases.map(([words]) => vfiokit(["restore", ...words, file, "--json"])),
    );
    for (const [index, { code, out, err }] of outcomes.entries()) {
      assert.equal(code, 4, err);
      assert.match(err, cases[index]![1]);
      assert.equal(JSON.parse(out).error.code, "identity");
    }
  });

  it("exits with 4 for a cut pipe, and has reset all", async () => {
    // More than is read ahead of the devices: they are in RESUMING when the end is found.
    const devices = ["sim:mlx5?size=8MiB", "sim:qat?size=8MiB"];
    const whole = (await vfiokit(["save", ...devices, "-o", "-"])).stdout;
    const { code, out, err } = await vfiokit(["restore", ...devices, "-", "--json"], {
      stdin: whole.subarray(0, whole.length - 10),
    });
    assert.equal(code, 4, err);
    assert.match(err, /ends before.*; all of them were reset and are running/);
    assert.deepEqual(entries(out).map(({ recovery }) => recovery), ["reset", "reset"]);
    assert.equal(JSON.parse(out).error.deviceState, "running");
  });

  it("holds all where they were left, with `--hold --on-error leave`", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mlx5?size=1MiB", "sim:qat?size=1MiB", "-o", file]);
    const { code, out } = await interrupted(
      [
        ...["restore", "sim:mlx5?size=1MiB", "sim:qat?size=1MiB&fault=write:1:EFAULT", file],
        ...["--hold", "--on-error", "leave", "--json"],
      ],
      /Held open/,
      "SIGTERM",
    );
    assert.equal(code, 4);
    assert.deepEqual(entries(out).map(({ state }) => state), ["resuming", "resuming"]);
  });
});

describe("a signal", () => {
  /** One of the drivers takes a minute for all: a line of progress, and then a signal, come before. */
  const slow = ["sim:mlx5?size=8MiB", "sim:mapped?size=64MiB&fault=block:1s:always"];

  it("ends a save of several: all run, no file is left", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const { code, out, err } = await interrupted(
      ["save", ...slow, "-o", file, "--json"],
      /Saving 2 devices: 1 in \S+, 1 in stop-and-copy, .*\/s/,
      "SIGINT",
    );
    assert.equal(code, 130, err);
    assert.match(err, /Interrupted by SIGINT: .*; all of them are running again/);
    assert.deepEqual(entries(out).map(({ state }) => state), ["running", "running"]);
    assert.deepEqual(readdirSync(dirname(file)), []);
  });

  it("ends a restore of several: all are reset", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mlx5?size=8MiB", "sim:mapped?size=64MiB", "-o", file]);
    const { code, out, err } = await interrupted(
      ["restore", ...slow, file, "--json"],
      /Restoring 2 devices: resuming, /,
      "SIGTERM",
    );
    assert.equal(code, 143, err);
    assert.match(err, /all of them were reset and are running/);
    assert.deepEqual(entries(out).map(({ recovery }) => recovery), ["reset", "reset"]);
  });
});
