import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";

/** The document of a command that fails, and its exit code. */
async function failing(words: readonly string[]): Promise<{ code: number; document: Document }> {
  const { code, out, err } = await vfiokit(words);
  assert.notEqual(code, 0, `${words.join(" ")}\n${err}`);
  // One document, and nothing else.
  const document = JSON.parse(out) as Document;
  const { error } = document;
  assert.deepEqual(
    Object.keys(error),
    ["message", "code", "errno", "deviceState", "cleanup"],
    words.join(" "),
  );
  assert.ok(error.message.length > 0 && /^[a-z0-9-]+$/.test(error.code), JSON.stringify(error));
  if (error.deviceState !== null && "state" in document) {
    assert.equal(document.state, error.deviceState, words.join(" "));
    if (document.devices?.length === 1) {
      assert.equal(document.devices[0]!.state, error.deviceState, words.join(" "));
    }
  }
  return { code: code!, document };
}

interface Document {
  readonly schema: string;
  readonly state?: string | null;
  readonly protocol?: string | null;
  readonly devices?: readonly { readonly state: string | null }[];
  readonly error: {
    readonly message: string;
    readonly code: string;
    readonly errno: string | null;
    readonly deviceState: string | null;
    readonly cleanup: readonly string[];
  };
}

const MEMORY = ["--map", "0x100000:1MiB", "--after", "1ms"];

/** Command lines that fail, by what they fail of. */
const CASES: readonly (readonly [what: string, words: string, code: number, error: string])[] = [
  ["a device that is not there", "probe 0000:99:19.7", 3, "no-such-device"],
  ["a device in use", "probe sim:trapped?fault=group-busy", 1, "busy"],
  ["a device without migration", "probe sim:none", 3, "no-migration"],
  ["a bad name", "probe eth0", 2, "bad-name"],
  ["words that are missing", "probe", 2, "usage"],
  ["an option that is not known", "state sim:trapped --nonsense", 2, "usage"],
  ["words that are missing, with JSON Lines", "dirty watch", 2, "usage"],
  ["a state that is not read", "state sim:mlx5?fault=state-read:1:EIO", 5, "state-unknown"],
  [
    "a step that is refused",
    "state sim:trapped?fault=transition:1:EIO stop",
    1,
    "transition-refused",
  ],
  ["a reset that is refused", "reset sim:trapped?fault=reset:1:EIO", 1, "reset-failed"],
  ["a file that is not there", "verify /nonexistent", 1, "system-call"],
  ["a file of another kind", "show /etc/passwd", 4, "not-a-checkpoint"],
  ["no samples", "dirty forecast /etc/passwd --bandwidth 1Gbit", 1, "bad-samples"],
  ["a name that is not known", "uapi nothing", 2, "usage"],
  ["a device without memory", "dirty get sim:trapped", 2, "usage"],
];

describe("the JSON of a command that fails", () => {
  for (const [what, words, code, error] of CASES) {
    it(`has an error: ${what}`, async () => {
      const { code: exitCode, document } = await failing([...words.split(" "), "--json"]);
      assert.deepEqual([exitCode, document.error.code], [code, error]);
      assert.match(document.schema, /^vfiokit\/[a-z-]+\/1$/);
    });
  }

  it("has an error of what comes after the result, too", async () => {
    using folder = new Folder();
    const device = "sim:trapped?fault=unmap:1:EIO";
    const { document } = await failing(["dirty", "get", device, ...MEMORY, "--json"]);
    assert.deepEqual([document.error.errno, "runs" in document], ["EIO", true]);
    // A file that is there is a result; what failed goes to stdout.
    const path = folder.file("reading.json");
    await failing(["dirty", "get", device, ...MEMORY, "--json", "-o", path]);
    assert.equal(existsSync(path), false);
  });

  it("has an error of a save and a restore, with the state of the device", async () => {
    using folder = new Folder();
    const checkpoint = folder.file("a.vfk");
    const saved = await vfiokit(["save", "sim:trapped?size=64KiB", "-o", checkpoint, "--json"]);
    assert.equal("error" in JSON.parse(saved.out), false);
    const cases: readonly (readonly [device: string, state: string])[] = [
      ["sim:trapped?size=64KiB&fault=read:1:EIO", "running"],
      ["sim:trapped?size=64KiB&fault=transition:1:EIO", "running"],
      ["sim:trapped?size=64KiB&fault=read:1:EIO&fault=error-state:2&fault=reset:1:EIO", "error"],
    ];
    for (const [device, state] of cases) {
      const other = folder.file("b.vfk");
      const { document } = await failing(["save", device, "-o", other, "--json"]);
      assert.deepEqual([document.protocol, document.error.deviceState], ["v1", state], device);
    }
    const broken = "sim:trapped?size=64KiB&fault=write:1:EIO";
    const { document } = await failing(["restore", broken, checkpoint, "--json"]);
    assert.equal(document.error.deviceState, "running");
  });

  it("has an error for the program that a device is lent to", async () => {
    const { code, out, err } = await vfiokit([
      ...["state", "replay:trace", "--json", "--", "false"],
    ]);
    // Stdout is the program's.
    assert.deepEqual([code, out], [2, ""]);
    assert.equal(JSON.parse(err.slice(err.indexOf("{\n"))).error.code, "usage");
    // What follows -- is the program's.
    const words = ["probe", "--", "--json"];
    assert.equal((await vfiokit(words)).out, "");
  });
});
