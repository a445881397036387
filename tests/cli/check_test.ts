import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { CHECKS } from "../../src/check/mod.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { interrupted } from "./_interrupted.ts";

const SMALL = "sim:mlx5?size=64KiB";
const BAD = "sim:mlx5?size=64KiB&fault=odd-flags";

describe("vfiokit check", () => {
  it("prints a verdict for each check, and the totals last", async () => {
    const { code, out, err } = await vfiokit(["check", SMALL, "--only", "features"]);
    assert.equal(code, 0, err);
    const lines = out.trimEnd().split("\n");
    assert.match(lines[0]!, /protocol v2 with STOP_COPY, P2P, PRE_COPY, driver mlx5_vfio_pci/);
    assert.match(lines[1]!, /Safety level default: nothing enters RESUMING/);
    assert.ok(lines.includes("  pass     v2.features.argsz-short"));
    assert.match(lines.at(-1)!, /^\d+ passed, 0 failed, 0 warnings, \d+ skipped$/);
  });

  it("shows the rule, what was expected and what was seen of a failure, and exits with 1", async () => {
    const { code, out } = await vfiokit(["check", BAD, "--only", "v2.features.flags"]);
    assert.equal(code, 1);
    assert.match(
      out,
      /FAIL +v2\.features\.flags\n +rule 9: .* \(linux\/vfio\.h, struct vfio_device_feature_migration\)/,
    );
    assert.match(out, /expected: the flags have only bits of the header/);
    assert.match(out, /seen: they are 0x107/);
    assert.match(out, /^0 passed, 1 failed, 0 warnings, 0 skipped$/m);
  });

  it("prints one JSON document, with the calls of each check", async () => {
    const { code, out } = await vfiokit(["check", BAD, "--only", "v2.features.flags", "--json"]);
    assert.equal(code, 1);
    const { schema, device, counts, verdicts, lost, safety } = JSON.parse(out);
    assert.equal(schema, "vfiokit/check/1");
    assert.deepEqual([device.driver, safety, lost], ["mlx5_vfio_pci", "default", null]);
    assert.equal(counts.failed, 1);
    assert.equal(verdicts[0].rule.number, 9);
    assert.equal(verdicts[0].calls.length, 1);
  });

  it("exits with 3 without migration, with 5 if the device needs a reset", async () => {
    const [none, plain, lost] = await Promise.all([
      vfiokit(["check", "sim:none"]),
      vfiokit(["check", "sim:vfio-pci"]),
      vfiokit(["check", `${SMALL}&fault=error-state:1`, "--only", "arcs"]),
    ]);
    assert.deepEqual([none.code, plain.code, lost.code], [3, 3, 5]);
    assert.match(lost.out, /is in ERROR and needs a reset: vfiokit reset/);
  });

  it("refuses what cannot be meant, and says why", async () => {
    const [pair, mixed, unknown, bare, load] = await Promise.all([
      vfiokit(["check", "sim:mlx5", "sim:qat"]),
      vfiokit(["check", "sim:mlx5", "3b:00.1"]),
      vfiokit(["check", SMALL, "--only", "nothing"]),
      vfiokit(["check"]),
      vfiokit(["check", SMALL, "--", "true"]),
    ]);
    for (const { code, err } of [pair, mixed, unknown, bare, load]) assert.equal(code, 2, err);
    assert.match(pair.err, /devices of different kinds: the driver is mlx5_vfio_pci of the first/);
    assert.match(unknown.err, /no check and no group has that name; the groups are .*\bidentity\b/);
  });

  it("lists every check with its safety level, and explains one, without a device", async () => {
    const [list, explained] = await Promise.all([
      vfiokit(["check", "--list"], { permissions: [] }),
      vfiokit(["check", "--explain", "v2.arc.stop_copy-to-pre_copy"], { permissions: [] }),
    ]);
    assert.equal(list.code, 0, list.err);
    for (const { id, safety } of CHECKS) {
      assert.match(list.out, new RegExp(`^  ${id.replaceAll(".", "\\.")} .* ${safety} `, "m"));
    }
    assert.match(explained.out, /rule 22: STOP_COPY to PRE_COPY is refused with EINVAL/);
  });

  it("prints TAP, and writes JUnit's XML into a file", async () => {
    using folder = new Folder();
    const file = folder.file("check.xml");
    const { code, out } = await vfiokit([
      ...["check", BAD, "--only", "features", "--tap", "--junit", file],
    ]);
    assert.equal(code, 1);
    assert.match(out, /^TAP version 14\n1\.\.\d+\n# /);
    assert.match(out, /^ok 1 - v2\.features\.argsz-short$/m);
    assert.match(out, /^not ok \d+ - v2\.features\.flags$/m);
    assert.match(out, /^ok \d+ - v2\.features\.debugfs-state # SKIP /m);
    const xml = readFileSync(file, "utf8");
    assert.match(xml, /<testsuite name="0000:3b:00\.1" tests="\d+" failures="1" errors="0"/);
    assert.match(
      xml,
      /<testcase classname="features" name="v2\.features\.flags".*<failure message=/,
    );
  });

  it("does not replace a file unasked", async () => {
    using folder = new Folder();
    const file = folder.file("check.xml");
    writeFileSync(file, "mine");
    const { code, err } = await vfiokit(["check", SMALL, "--junit", file]);
    assert.equal(code, 1);
    assert.match(err, /exists|EEXIST/);
    assert.equal(readFileSync(file, "utf8"), "mine");
  });

  it("writes a report with each check and its calls, and a trace", async () => {
    using folder = new Folder();
    const [report, trace] = [folder.file("check.html"), folder.file("trace")];
    const { code, err } = await vfiokit([
      ...["check", "sim:mlx5?size=64KiB&bug=stop-gives-fd", "--only", "v2.arc.running-to-stop"],
      ...["--only", "v2.arc.stop-to-stop", "--report", report, "--trace", trace],
    ]);
    assert.equal(code, 1, err);
    const html = readFileSync(report, "utf8");
    assert.match(html, /<details class="fail" open><summary>FAIL v2\.arc\.running-to-stop</);
    assert.match(html, /<details class="pass"><summary>pass v2\.arc\.stop-to-stop</);
    assert.match(html, /SET MIG_DEVICE_STATE, device_state=stop/);
    assert.match(readFileSync(trace, "utf8"), /"feature":"MIG_DEVICE_STATE"/);
  });

  it("refuses the data of another kind of device, from a checkpoint", async () => {
    using folder = new Folder();
    const foreign = folder.file("pds.vfk");
    const saved = await vfiokit(["save", "sim:pds?size=64KiB", "-o", foreign]);
    assert.equal(saved.code, 0, saved.err);
    const words = ["--destructive", "--only", "v2.resume.foreign", "--foreign", foreign];
    const [clean, buggy] = await Promise.all([
      vfiokit(["check", SMALL, ...words]),
      vfiokit(["check", `${SMALL}&bug=foreign-accepted`, ...words]),
    ]);
    assert.deepEqual([clean.code, buggy.code], [0, 1]);
  });

  it("ends at the first signal, with 128+n", async () => {
    // Every read and write takes a second: the signal comes long before the end.
    const words = ["check", `${SMALL}&fault=block:1s:always`, "--destructive"];
    const { code, err } = await interrupted(words, /features/, "SIGINT");
    assert.equal(code, 130, err);
    assert.match(err, /Interrupted by SIGINT/);
  });
});
