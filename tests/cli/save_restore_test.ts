import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** The keys of the document of save and restore, in their order. */
const KEYS = [
  "schema",
  "device",
  "protocol",
  "state",
  "transactions",
  "bytes",
  "seconds",
  "bytesPerSecond",
  "downtimeSeconds",
  "phases",
  "notes",
  "devices",
];

/** The same for save, which may read back what it wrote. */
const SAVE_KEYS = [...KEYS, "readBack"];

describe("vfiokit save", () => {
  it("writes a checkpoint that verify and restore take, and says what to do next", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    const saved = await vfiokit(["save", "sim:mapped?size=2MiB", "-o", file]);
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.out, /^Saved sim:mapped\?size=2MiB to .*a\.vfk: 2\.0 MiB in \d+ trans/);
    assert.match(saved.out, /The device is in state running\./);
    assert.match(saved.err, /^hint: restore it: vfiokit restore DEVICE .*a\.vfk/m);
    const verified = await vfiokit(["verify", file]);
    assert.equal(verified.code, 0, verified.err);
    assert.match(verified.out, /: sound, 2\.0 MiB in \d+ transactions/);
    const restored = await vfiokit(["restore", "sim:mapped?size=2MiB&seed=9", file]);
    assert.equal(restored.code, 0, restored.err);
    assert.match(restored.out, /^Restored sim:mapped\?size=2MiB&seed=9 from /);
    assert.match(restored.err, /state is gone with it: --hold or -- COMMAND/);
  });

  it("prints one JSON document with the phases, and nothing else on stdout", async () => {
    using folder = new Folder();
    const device = "sim:trapped?size=1MiB&rate=1MiB";
    const { code, out } = await vfiokit(
      ["save", device, "-o", folder.file("a"), "--precopy", "--leave", "stop", "--json"],
    );
    const document = JSON.parse(out);
    assert.equal(code, 0);
    assert.deepEqual(Object.keys(document), SAVE_KEYS);
    assert.equal(document.schema, "vfiokit/save/1");
    assert.equal(document.device, device);
    assert.equal(document.protocol, "v1");
    assert.equal(document.state, "stop");
    const names = document.phases.map(({ name }: { name: string }) => name);
    assert.deepEqual(names, ["pre-copy", "stop-and-copy"]);
    const bytes = document.phases.reduce(
      (sum: number, phase: { bytes: number }) => sum + phase.bytes,
      0,
    );
    assert.equal(document.bytes, bytes);
    assert.equal(document.bytesPerSecond, Math.round(bytes / document.seconds));
  });

  it("enters pre-copy if only one of its limits is named", async () => {
    using folder = new Folder();
    const { out } = await vfiokit(
      ["save", "sim:mapped?size=1MiB", "-o", folder.file("a"), "--max-rounds", "1", "--json"],
    );
    assert.equal(JSON.parse(out).phases[0].name, "pre-copy");
  });

  it("suggests no restore from what keeps nothing", async () => {
    const { code, err } = await vfiokit(["save", "sim:qat?size=64KiB", "-o", "/dev/null"]);
    assert.equal(code, 0, err);
    // On a busy machine there may be a line of progress.
    assert.doesNotMatch(err, /restore/);
  });

  it("says if stop-and-copy took longer than `--downtime`", async () => {
    using folder = new Folder();
    const device = "sim:qat?size=1MiB&fault=block:50ms:always";
    const late = ["save", device, "-o", folder.file("a"), "--downtime", "1ms"];
    const { code, err, out } = await vfiokit(late);
    assert.equal(code, 0, err);
    assert.match(out, /pre-copy/);
    assert.match(err, /^The standstill took .*, longer than --downtime 1\.0 ms/m);
  });

  it("exits with 3 if the driver has no pre-copy", async () => {
    const { code, err } = await vfiokit(["save", "sim:pds", "--precopy", "-o", "/dev/null"]);
    assert.equal(code, 3);
    assert.match(
      err,
      /does not offer it \(VFIO_MIGRATION_PRE_COPY\)\n {2}hint: .*without pre-copy/,
    );
  });

  it("streams to stdout with `-o -`, straight into a restore", async () => {
    const saved = await vfiokit(["save", "sim:mapped?size=2MiB", "-o", "-"]);
    assert.equal(saved.code, 0, saved.err);
    assert.match(saved.err, /Saved sim:mapped\?size=2MiB to stdout/);
    const restored = await vfiokit(["restore", "sim:mapped?size=2MiB", "-", "--json"], {
      stdin: saved.stdout,
    });
    assert.equal(restored.code, 0, restored.err);
    const document = JSON.parse(restored.out);
    assert.deepEqual(Object.keys(document), KEYS);
    assert.equal(document.schema, "vfiokit/restore/1");
    assert.equal(document.state, "running");
    assert.equal(document.phases[0].name, "resuming");
  });

  it("says nothing at all on stderr with `--quiet`", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    for (
      const words of [
        ["save", "sim:mapped?size=1MiB", "-o", file],
        ["restore", "sim:mapped?size=1MiB", file],
        ["verify", file],
        ["show", file],
        ["state", "sim:mapped", "stop"],
        ["reset", "sim:mapped"],
        ["probe", "sim:mapped"],
      ]
    ) {
      const { code, err } = await vfiokit([...words, "--quiet"]);
      assert.equal(code, 0, words.join(" "));
      assert.equal(err, "", words.join(" "));
    }
  });

  it("keeps a file that is there, unless `--force` says otherwise", async () => {
    using folder = new Folder();
    const file = folder.file("precious");
    writeFileSync(file, "precious");
    const refused = await vfiokit(["save", "sim:mapped?size=1MiB", "-o", file]);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /EEXIST/);
    assert.match(refused.err, /--force/);
    assert.equal(readFileSync(file, "utf8"), "precious");
    const forced = await vfiokit(["save", "sim:mapped?size=1MiB", "-o", file, "--force"]);
    assert.equal(forced.code, 0, forced.err);
    assert.ok(statSync(file).size > 1 << 20);
  });

  it("compresses, and adds a digest that show prints", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(
      ["save", "sim:mapped?size=1MiB", "-o", file, "--compress", "zstd", "--digest", "sha256"],
    );
    const { sha256, bytes, transactions, devices } = JSON.parse(
      (await vfiokit(["show", file, "--json"])).out,
    );
    assert.match(sha256, /^[0-9a-f]{64}$/);
    assert.ok(bytes >= 1 << 20);
    assert.ok(transactions > 0);
    assert.equal(devices[0].protocol, "v1");
    assert.match((await vfiokit(["show", file])).out, new RegExp(sha256));
  });

  it("reports the same times as `show` and `timeline` read from the file", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    const names = ["sim:mlx5?size=1MiB&rate=1MiB", "sim:trapped?size=1MiB"];
    const words = ["save", ...names, "--precopy", "-o", file, "--json"];
    const saved = JSON.parse((await vfiokit(words)).out);
    for (const command of ["show", "timeline"]) {
      const { phases, devices } = JSON.parse((await vfiokit([command, file, "--json"])).out);
      for (const [number, device] of saved.devices.entries()) {
        const stored = phases.filter((phase: { device: number }) => phase.device === number)
          .map(({ phase: name, transactions, bytes, seconds }: Record<string, unknown>) => {
            return { name, transactions, bytes, seconds };
          });
        assert.deepEqual(stored, device.phases, command);
        const { precopy, downtime } = devices[number];
        assert.deepEqual(precopy, device.precopy, command);
        assert.ok(precopy.rounds.length >= 1);
        // The file was written before the device ran again.
        assert.equal(downtime.seconds, null);
        assert.ok(downtime.parts.length >= 4);
        assert.deepEqual(downtime.parts, device.downtime.parts.slice(0, downtime.parts.length));
      }
      const { out } = await vfiokit([command, file]);
      assert.match(out, /Device 1: Pre-copy ended after \d+ rounds?/);
      assert.match(out, /Device 0 stood still until its data was read: .* → stop-copy .*, data /);
    }
  });

  it("refuses `--json` if stdout is the checkpoint", async () => {
    const { code, err } = await vfiokit(["save", "sim:mapped", "-o", "-", "--json"]);
    assert.equal(code, 2);
    assert.match(err, /stdout is the checkpoint/);
  });

  const failures: readonly (readonly [string, string[], number, RegExp, string | null])[] = [
    ["a device without a migration region", ["sim:none"], 3, /no migration region/, null],
    [
      "a broken capability chain",
      ["sim:mapped?fault=caps-loop"],
      3,
      /capabilit/,
      null,
    ],
    ["a driver that refuses a step", ["sim:mapped?fault=transition:1:EIO"], 1, /EIO/, "running"],
    [
      "a device left in ERROR",
      ["sim:mapped?fault=error-state:1", "--on-error", "leave"],
      5,
      /error \(110b\)/,
      "error",
    ],
    ["a device in ERROR that was reset", ["sim:mapped?fault=error-state:1"], 1, /reset/, "running"],
    ["a device that goes away", ["sim:mapped?fault=gone:2"], 5, /ENODEV/, "unknown"],
    ["a group in use", ["sim:mapped?fault=group-busy"], 1, /in use/, null],
    ["a name that is none", ["nonsense"], 2, /device name/, null],
    ["a simulated device that is none", ["sim:nonsense"], 2, /personality/, null],
  ];
  for (const [what, words, exitCode, says, deviceState] of failures) {
    it(`exits with ${exitCode} for ${what}, leaves no file, and says why in JSON too`, async () => {
      using folder = new Folder();
      const file = folder.file("a");
      const { code, out, err } = await vfiokit(["save", ...words, "-o", file, "--json"]);
      assert.equal(code, exitCode, err);
      assert.match(err, says);
      const document = JSON.parse(out);
      assert.deepEqual(Object.keys(document), [...SAVE_KEYS, "error"]);
      const keys = ["message", "code", "errno", "deviceState", "cleanup"];
      assert.deepEqual(Object.keys(document.error), keys);
      assert.match(document.error.message, says);
      assert.equal(document.error.deviceState, deviceState);
      assert.deepEqual(readdirSync(dirname(file)), []);
    });
  }

  it("fails, with the device running, on a full disk", async () => {
    const { code, err } = await vfiokit(["save", "sim:mapped", "-o", "/dev/full"]);
    assert.equal(code, 1);
    assert.match(err, /ENOSPC/);
    assert.match(err, /running/);
  });

  it("fails, with the device running, when the reader of its pipe goes away", async () => {
    const { code, err } = await vfiokit(["save", "sim:mapped?size=64MiB", "-o", "-"], {
      started: (child) => child.stdout?.destroy(),
    });
    assert.equal(code, 1);
    assert.match(err, /EPIPE/);
    assert.match(err, /running/);
  });
});

describe("vfiokit restore", () => {
  it("says what state a device was left in by a stream that is cut short", async () => {
    using folder = new Folder();
    // More than is read ahead of the device.
    const device = "sim:stop-copy-only?size=16MiB";
    const whole = folder.file("a");
    assert.equal((await vfiokit(["save", device, "-o", whole])).code, 0);
    const cut = readFileSync(whole).subarray(0, 12 << 20);
    const words = ["restore", device, "-", "--on-error", "leave", "--json"];
    const { code, out, err } = await vfiokit(words, { stdin: cut });
    assert.equal(code, 4);
    assert.match(err, /the device's state is resuming\n *hint: bring it to RUNNING/);
    const { error, devices } = JSON.parse(out);
    assert.equal(error.deviceState, "resuming");
    assert.equal(devices[0].state, "resuming");
  });

  it("exits with 4 for a cut checkpoint, from a file and from a pipe", async () => {
    const whole = (await vfiokit(["save", "sim:mapped?size=1MiB", "-o", "-"])).stdout;
    const cut = whole.subarray(0, whole.length - 10);
    using folder = new Folder();
    writeFileSync(folder.file("cut"), cut);
    const [fromFile, fromPipe, verified] = await Promise.all([
      vfiokit(["restore", "sim:mapped?size=1MiB", folder.file("cut")]),
      vfiokit(["restore", "sim:mapped?size=1MiB", "-", "--json"], { stdin: cut }),
      vfiokit(["verify", "-"], { stdin: cut }),
    ]);
    assert.equal(fromFile.code, 4);
    assert.match(fromFile.err, /ends before/);
    assert.equal(fromPipe.code, 4);
    const { error } = JSON.parse(fromPipe.out);
    assert.equal(error.code, "truncated");
    assert.equal(error.deviceState, "running", "it was reset");
    assert.equal(verified.code, 4);
  });

  for (const command of ["verify", "show"]) {
    it(`${command} keeps its keys in JSON if the checkpoint is cut`, async () => {
      const whole = (await vfiokit(["save", "sim:mapped?size=64KiB", "-o", "-"])).stdout;
      const [good, bad] = await Promise.all([whole, whole.subarray(0, whole.length - 10)].map(
        async (stdin) => JSON.parse((await vfiokit([command, "-", "--json"], { stdin })).out),
      ));
      assert.deepEqual(new Set(Object.keys(bad)), new Set([...Object.keys(good), "error"]));
    });
  }

  it("exits with 4 for a checkpoint of another kind of device, unless forced", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:mapped?size=1MiB", "-o", file]);
    const refused = await vfiokit(["restore", "sim:partitioned?size=1MiB", file, "--json"]);
    assert.equal(refused.code, 4);
    assert.equal(JSON.parse(refused.out).error.code, "identity");
    assert.match(refused.err, /hint: .*the driver can be left to decide \(--force\)/);
    const forced = await vfiokit(["restore", "sim:trapped?size=1MiB", file, "--force"]);
    assert.equal(forced.code, 0, forced.err);
    const other = await vfiokit(["restore", "sim:mlx5?size=1MiB", file, "--force"]);
    assert.equal(other.code, 4);
    assert.match(other.err, /hint: It cannot be forced/);
  });

  it("exits with 4 if the driver itself refuses a state, even with --force", async () => {
    using folder = new Folder();
    const file = folder.file("a");
    await vfiokit(["save", "sim:hisi?size=64KiB", "-o", file]);
    const words = ["restore", "sim:hisi?size=128KiB", file, "--force", "--json"];
    const { code, out, err } = await vfiokit(words);
    assert.equal(code, 4, err);
    assert.match(err, /takes the state for incompatible \(EFAULT\); the device was reset/);
    const { error } = JSON.parse(out);
    assert.equal(error.code, "incompatible-state");
    assert.equal(error.deviceState, "running");
  });

  it("exits with 1 for a file that is not there, and with 4 for one that is no checkpoint", async () => {
    using folder = new Folder();
    const absent = await vfiokit(["restore", "sim:mapped", folder.file("absent"), "--json"]);
    assert.equal(absent.code, 1);
    assert.equal(JSON.parse(absent.out).error.errno, "ENOENT");
    writeFileSync(folder.file("text"), "this is no checkpoint");
    const text = await vfiokit(["restore", "sim:mapped", folder.file("text")]);
    assert.equal(text.code, 4);
  });
});
