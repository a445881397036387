import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseOptions, ROW_NAMES, USAGE } from "./options.ts";

describe("the benchmark's options", () => {
  it("measure everything seven times in both runtimes by default", () => {
    const expected = { names: ROW_NAMES, runtimes: ["deno", "bun"], rounds: 7, json: false };
    assert.deepEqual(parseOptions([]), expected);
  });

  it("are understood before and behind a --", () => {
    const expected = { names: ["ioctl"], runtimes: ["bun"], rounds: 5, json: true };
    const args = ["--rounds=5", "--json", "--runtime=bun", "ioctl"];
    assert.deepEqual(parseOptions(args), expected);
    assert.deepEqual(parseOptions(["--", ...args]), expected);
  });

  it("take each name once, in the order in which they are measured", () => {
    assert.deepEqual(parseOptions(["verify", "ioctl", "verify"])?.names, ["ioctl", "verify"]);
  });

  it("refuse a name that is unknown, and say which there are", () => {
    for (const args of [["frob"], ["ioctl", "frob"], ["--", "--", "frob"]]) {
      assert.throws(() => parseOptions(args), {
        name: "TypeError",
        message: `Cannot measure row "frob": there is ${ROW_NAMES.join(", ")}`,
      });
    }
    assert.throws(() => parseOptions(["ioctl", "--", "--rounds=5"]), /Cannot measure row "--round/);
  });

  it("refuse a runtime that is unknown", () => {
    assert.throws(() => parseOptions(["--runtime=node"]), {
      name: "TypeError",
      message: 'Cannot measure in runtime "node": there is deno, bun',
    });
  });

  it("refuse an option that is unknown", () => {
    assert.throws(() => parseOptions(["--round=5"]), { name: "TypeError" });
  });

  it("refuse a number of rounds that measures nothing", () => {
    for (
      const text of [
        "0",
        "-1",
        "1.5",
        "five",
        "",
        "Infinity",
        "1e2",
        "0x10",
        "99999999999999999999",
      ]
    ) {
      assert.throws(() => parseOptions([`--rounds=${text}`]), /Cannot measure ".*" rounds/, text);
    }
  });

  it("are explained on request, with each name", () => {
    assert.equal(parseOptions(["--help"]), null);
    for (const name of ROW_NAMES) assert.match(USAGE, new RegExp(`^  ${name} `, "m"));
  });
});
