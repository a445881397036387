import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { it } from "node:test";
import { setPipeSize } from "../../src/kernel/process/pipe_size.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { O_NONBLOCK, O_RDWR } from "../../src/kernel/kernel.ts";

it("setPipeSize() sets the capacity of a pipe, and returns whether it did", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-pipe-"));
  execFileSync("mkfifo", [`${folder}/fifo`]);
  fs.writeFileSync(`${folder}/file`, "");
  const kernel = libcKernel();
  const fifo = kernel.open(`${folder}/fifo`, O_RDWR | O_NONBLOCK);
  const file = kernel.open(`${folder}/file`, O_RDWR);
  const bytes = new Uint8Array(new ArrayBuffer(2 << 20));
  assert.equal(setPipeSize(fifo, 8192), true);
  assert.equal(kernel.write(fifo, bytes), 8192);
  assert.equal(setPipeSize(fifo, 4096), false);
  assert.equal(setPipeSize(file, 8192), false);
  kernel.close(fifo);
  kernel.close(file);
  fs.rmSync(folder, { recursive: true });
});
