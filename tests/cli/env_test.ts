import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";

/** What the command line makes of a terminal. */
async function coloured(env: Readonly<Record<string, string>>): Promise<string> {
  const { code, out, err } = await vfiokit([], {
    script: "tests/cli/_colour.ts",
    permissions: ["--allow-read"],
    env: { TERM: "xterm", ...env },
  });
  assert.equal(code, 0, err);
  return out;
}

describe("colour", () => {
  it("is for terminals, and NO_COLOR is heard without a permission", async () => {
    assert.equal(await coloured({ NO_COLOR: "" }), "terminal: true, file: false\n");
    assert.equal(await coloured({ NO_COLOR: "1" }), "terminal: false, file: false\n");
  });
});
