import assert from "node:assert/strict";
import { once } from "node:events";
import * as fs from "node:fs";
import { afterEach, beforeEach, it } from "node:test";
import { run, start } from "./_run.ts";

let folder = "";

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-process-");
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

it("- is stdout and stdin, be they pipes or files", async () => {
  const piped = await run("$CHILD write - 3 | $CHILD read -");
  assert.deepEqual([piped.code, piped.stdout], [0, "stream of 3145728\n"]);
  const files = await run(`$CHILD write - 3 >> ${folder}/a; $CHILD read - < ${folder}/a`);
  assert.deepEqual([files.code, files.stdout], [0, "stream of 3145728\n"]);
  assert.deepEqual(fs.readdirSync(folder), ["a"]);
});

it("/dev/fd/N of a shell works both ways", async () => {
  const command = `$CHILD write /dev/fd/7 3 7> >(cat > ${folder}/a; : > ${folder}/written); ` +
    `until [ -e ${folder}/written ]; do sleep 0.01; done; ` +
    `$CHILD read <(cat ${folder}/a)`;
  const { code, stdout } = await run(command);
  assert.deepEqual([code, stdout], [0, "stream of 3145728\n"]);
});

it("a reader that goes away is EPIPE", async () => {
  const { stderr } = await run("$CHILD write - 30 | head -c 100000 > /dev/null; exit $PIPESTATUS");
  assert.match(stderr, /CheckpointFileError EPIPE: Cannot write "-": EPIPE \(broken pipe\)/);
});

it("a file that may grow no more leaves nothing", async () => {
  const { code, stderr } = await run(
    `trap '' XFSZ; ulimit -f 2048; $CHILD write ${folder}/a 30`,
  );
  assert.equal(code, 1);
  assert.match(
    stderr,
    /EFBIG: Cannot write ".*\/a": EFBIG \(file too large\); the temporary file was removed/,
  );
  assert.deepEqual(fs.readdirSync(folder), []);
});

it("a process that is killed leaves no file that looks whole", async () => {
  const child = start(`exec $CHILD write ${folder}/a.vfk 20 hold`);
  await once(child.stderr!, "data");
  child.kill("SIGKILL");
  await once(child, "close");
  const [name, ...others] = fs.readdirSync(folder);
  assert.match(name!, /^\.a\.vfk\.vfiokit-[0-9a-f]{8}\.partial$/);
  assert.deepEqual(others, []);
});
