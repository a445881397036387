import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import process from "node:process";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";

const CHILD = fileURLToPath(new URL("../checkpoint/_child.ts", import.meta.url));
const SAMPLE = fileURLToPath(
  new URL("../../fixtures/checkpoints/version-1.vfk", import.meta.url),
);
const inDeno = { skip: "Deno" in globalThis ? false : "permissions are Deno's" };
const folder = fs.mkdtempSync("/tmp/vfiokit-permissions-");

after(() => fs.rmSync(folder, { recursive: true }));

function deno(
  permissions: string[],
  ...args: string[]
): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  // Deno's node:child_process allows everything where no permission is named at all.
  const named = ["--allow-env=NOTHING", ...permissions];
  const all = ["run", "--no-prompt", "--quiet", ...named, CHILD, ...args];
  return spawnSync(process.execPath, all, { encoding: "utf8" });
}

it("a checkpoint is read with access to it alone", inDeno, () => {
  const { stdout, stderr } = deno([`--allow-read=${SAMPLE}`], "read", SAMPLE);
  assert.equal(stdout, `file of ${fs.statSync(SAMPLE).size}\n`, stderr);
});

it("a checkpoint is written with access to its folder alone", inDeno, () => {
  const access = [`--allow-read=${folder}`, `--allow-write=${folder}`];
  const { status, stderr } = deno(access, "write", `${folder}/a`, "1");
  assert.equal(status, 0, stderr);
  assert.deepEqual(fs.readdirSync(folder), ["a"]);
});

it("- needs no access at all", inDeno, () => {
  const { status, stdout, stderr } = deno([], "write", "-", "1");
  assert.deepEqual([status, stdout.length > 0], [0, true], stderr);
});

it(
  "a device that Deno keeps to itself is reached through libc, a file there is not",
  inDeno,
  () => {
    const access = ["--allow-ffi", "--allow-read", "--allow-write"];
    assert.match(
      deno(access, "write", "/dev/full", "1").stderr,
      /ENOSPC: Cannot write "\/dev\/full"/,
    );
    assert.equal(deno(access, "read", "/dev/null").stdout, "stream of 0\n");
    const file = deno(access, "write", "/dev/shm/vfiokit-test", "1");
    assert.match(file.stderr, /Cannot create "\/dev\/shm\/vfiokit-test": Requires all access/);
  },
);

it("what is refused is reported, with what to allow", inDeno, () => {
  const read = deno([], "read", SAMPLE);
  assert.match(read.stderr, /CheckpointFileError null: Cannot open ".*": Requires read access/);
  const write = deno([`--allow-read=${folder}`], "write", `${folder}/b`, "1");
  assert.match(write.stderr, /CheckpointFileError null: Cannot create ".*": Requires write access/);
});
