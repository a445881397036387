import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseOptions, PARTS } from "./options.ts";

describe("the benchmark's options", () => {
  it("measures every part seven times by default", () => {
    assert.deepEqual(parseOptions([]), { parts: PARTS, rounds: 7, json: false });
  });

  it("are understood before and behind a --", () => {
    const expected = { parts: ["ioctl"], rounds: 5, json: true };
    assert.deepEqual(parseOptions(["--rounds=5", "--json", "ioctl"]), expected);
    assert.deepEqual(parseOptions(["--", "--rounds=5", "--json", "ioctl"]), expected);
  });

  it("take each part once, in the order in which they are measured", () => {
    assert.deepEqual(parseOptions(["startup", "ioctl", "startup"])?.parts, ["ioctl", "startup"]);
  });

  it("refuse a part that is unknown, and say which there are", () => {
    for (const args of [["frob"], ["ioctl", "frob"], ["--", "--", "frob"]]) {
      assert.throws(() => parseOptions(args), {
        name: "TypeError",
        message: 'Cannot measure "frob": the parts are ioctl, transfer, memory, startup',
      });
    }
    assert.throws(() => parseOptions(["ioctl", "--", "--rounds=5"]), /Cannot measure "--rounds=5"/);
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

  it("are explained on request", () => {
    assert.equal(parseOptions(["--help"]), null);
  });
});
