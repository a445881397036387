import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type Lendable, runProgram } from "../../cli/lending/run_program.ts";
import { Context } from "../../cli/context.ts";
import { lentDataFdSockets } from "../../cli/lending/lent_devices.ts";
import { command } from "./_cli.ts";

let folder = "";
let device = -1;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "vfiokit-lent-"));
  writeFileSync(join(folder, "device"), "");
  device = openSync(join(folder, "device"), "r");
});

after(() => {
  closeSync(device);
  rmSync(folder, { recursive: true });
});

/** Runs a shell script with a file lent as a v2 device; returns what it wrote to `$1`. */
async function lend(script: string, ...args: string[]): Promise<[number, string]> {
  const out = join(folder, "out");
  writeFileSync(out, "");
  const context = new Context({
    called: "test",
    schema: "test",
    json: false,
    quiet: true,
    signals: { signal: new AbortController().signal, divert: () => () => {} },
  });
  const fds = { device, group: null, container: null, iommufd: null };
  const lent: Lendable[] = [{ name: "device", fds, ioas: null, protocol: "v2" }];
  const code = await runProgram(
    ["sh", "-c", script, "sh", out, ...args],
    { devices: lent },
    context,
    false,
  );
  return [code, readFileSync(out, "utf8")];
}

describe("programs that a v2 device was lent to", () => {
  it("are announced as two more fds, after all others", async () => {
    const [code, out] = await lend('echo "$VFIOKIT_DEVICES" > "$1"; : >&4 && : >&5');
    assert.equal(code, 0);
    assert.equal(
      out,
      '[{"name":"device","device":3,"group":null,"container":null,"iommufd":null,"ioas":null,"data":[4,5]}]\n',
    );
  });

  it("hand an fd over, and the first has ended by then", async () => {
    writeFileSync(join(folder, "data"), "what the device says");
    const words = command({
      script: "tests/cli/_hand_over.ts",
      permissions: ["--allow-ffi", "--allow-read", "--allow-env=VFIOKIT_DEVICES"],
    });
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const [code, out] = await lend(
      `${quoted} take >> "$1" && ${quoted} put "$2" && ${quoted} take >> "$1" && ` +
        `${quoted} take >> "$1"`,
      join(folder, "data"),
    );
    assert.equal(code, 0);
    assert.equal(out, "nothing\nwhat the device says\nnothing\n");
  });
});

describe("lentDataFdSockets()", () => {
  function withVariable(value: string | undefined, use: () => void): void {
    const before = process.env["VFIOKIT_DEVICES"];
    const set = (text: string | undefined): void => {
      if (text === undefined) delete process.env["VFIOKIT_DEVICES"];
      else process.env["VFIOKIT_DEVICES"] = text;
    };
    set(value);
    try {
      use();
    } finally {
      set(before);
    }
  }

  it("finds the place of the device that was named, if there is one", () => {
    const lent = JSON.stringify([
      { name: "one", device: 3, group: null, container: null, data: null },
      { name: "two", device: 4, group: null, container: null, data: [5, 6] },
      { name: "three", device: 7 },
      null,
    ]);
    withVariable(lent, () => {
      assert.equal(lentDataFdSockets("fd:3"), undefined);
      assert.deepEqual(lentDataFdSockets("fd:4"), { put: 5, take: 6 });
      assert.equal(lentDataFdSockets("fd:7"), undefined);
      assert.equal(lentDataFdSockets("fd:8"), undefined);
      assert.equal(lentDataFdSockets("0000:3b:00.1"), undefined);
    });
    withVariable(undefined, () => assert.equal(lentDataFdSockets("fd:3"), undefined));
  });

  it("refuses what no lender says", () => {
    for (const text of ["", "{", "7", '[{"device":3,"data":7}]', '[{"device":3,"data":[1,-1]}]']) {
      withVariable(text, () => {
        assert.throws(() => lentDataFdSockets("fd:3"), { name: "UsageError" }, text);
      });
    }
  });
});
