import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { MemoryMap } from "../../cli/dirty/memory_map.ts";
import { Report } from "../../cli/report/dirty_report.ts";
import { printable } from "../../mod.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** A colour, a title, the 8-bit CSI, a bidirectional override. */
const HOSTILE = "a\x1b[31mb\x1b]0;t\x07c\x9b2Jd\u202ee";

/** Fails where text would do more to a terminal than fill lines. */
function demandPrintable(text: string, what: string): void {
  for (const line of text.split("\n")) assert.equal(line, printable(line), what);
}

describe("text from outside, on a terminal", () => {
  const table: readonly (readonly [what: string, args: readonly string[]])[] = [
    ["a device's name", ["probe", HOSTILE]],
    ["a device's path", ["probe", `/sys/${HOSTILE}`]],
    ["a simulated device's name", ["probe", `sim:${HOSTILE}`]],
    ["a simulated device's option", ["state", `sim:trapped?${HOSTILE}=1`]],
    ["a VF token", ["probe", "0000:00:00.0", "--vf-token", HOSTILE]],
    ["a command", [HOSTILE]],
    ["an option", ["probe", "sim:trapped", `--${HOSTILE}`]],
    ["an option's value", ["save", "sim:trapped", "--compress", HOSTILE]],
    ["a checkpoint that is not there", ["verify", HOSTILE]],
    ["one that is to be shown", ["show", `/nowhere/${HOSTILE}`]],
    ["one to be restored", ["restore", "sim:trapped", HOSTILE]],
    ["where to save", ["save", "sim:trapped?size=64KiB", "-o", `/nowhere/${HOSTILE}`]],
    ["a name of the kernel's headers", ["uapi", HOSTILE]],
    ["samples that are not there", ["dirty", "forecast", HOSTILE, "--bandwidth", "1GiB/s"]],
    ["a range", ["dirty", "get", "sim:trapped", "--map", HOSTILE]],
  ];
  for (const [what, args] of table) {
    it(`is escaped: ${what}`, async () => {
      const { code, out, err } = await vfiokit(args);
      assert.notEqual(code, 0);
      assert.notEqual(err + out, "");
      demandPrintable(out, "stdout");
      demandPrintable(err, "stderr");
      assert.doesNotMatch(out + err, /\n\s+at .*:\d+/, "a stack");
    });
  }

  it("is escaped in JSON, which still says what it was", async () => {
    const { out, err } = await vfiokit(["show", `/nowhere/${HOSTILE}`, "--json"]);
    demandPrintable(out, "stdout");
    demandPrintable(err, "stderr");
    assert.equal((JSON.parse(out) as { file: string }).file, `/nowhere/${HOSTILE}`);
  });

  it("is escaped if a save succeeds: the file's name, on stdout and stderr", async () => {
    using folder = new Folder();
    const file = folder.file(HOSTILE);
    const saved = await vfiokit(["save", "sim:trapped?size=64KiB", "-o", file]);
    assert.equal(saved.code, 0, saved.err);
    assert.ok(fs.existsSync(file));
    const shown = await vfiokit(["show", file]);
    assert.equal(shown.code, 0, shown.err);
    for (const { out, err } of [saved, shown]) demandPrintable(out + err, "output");
    assert.match(shown.out, /a\\u001b\[31mb/);
  });

  it("is escaped in samples from another program", async () => {
    for (const line of [{ schema: HOSTILE }, HOSTILE, { schema: "vfiokit/dirty-samples/1" }]) {
      const stdin = `${JSON.stringify(line)}\n`;
      const { code, out, err } = await vfiokit(
        ["dirty", "forecast", "-", "--bandwidth", "1GiB/s"],
        { stdin },
      );
      assert.notEqual(code, 0);
      demandPrintable(out + err, "output");
    }
  });

  it("is escaped in a report", () => {
    const map = new MemoryMap([{ iova: 0n, size: 4096n }], 4096);
    const html = new Report(map).html({
      tracker: "type1",
      ...{ device: HOSTILE, started: new Date(0), tool: "vfiokit", command: [HOSTILE, "<b>"] },
    });
    const body = html.slice(html.indexOf("<title>"), html.indexOf("<script"));
    demandPrintable(body.replace(/<style>.*<\/style>/s, ""), "the page");
    assert.doesNotMatch(body, /<b>/);
  });
});
