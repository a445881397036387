import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, it } from "node:test";
import { FifoReader } from "../../src/kernel/process/fifo_reader.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";

let folder = "";

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-fifo-");
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

it("what a fifo holds is read, and nothing is waited for", () => {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  const kernel = libcKernel();
  const reader = kernel.open(`${folder}/fifo`, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const writer = kernel.open(`${folder}/fifo`, fs.constants.O_WRONLY);
  using fifo = FifoReader.open(reader)!;
  const into = new Uint8Array(new ArrayBuffer(8));
  assert.equal(fifo.read(into), null);
  kernel.write(writer, new Uint8Array([1, 2, 3]));
  assert.equal(fifo.read(into.subarray(0, 2)), 2);
  assert.equal(fifo.read(into.subarray(2)), 1);
  assert.deepEqual([...into.subarray(0, 4)], [1, 2, 3, 0]);
  assert.equal(fifo.read(into), null);
  kernel.close(writer);
  assert.equal(fifo.read(into), 0);
  kernel.close(reader);
});

it("a fifo that is closed gives nothing, and its other end sees that", () => {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  const kernel = libcKernel();
  const reader = kernel.open(`${folder}/fifo`, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const fifo = FifoReader.open(reader)!;
  const writer = kernel.open(`${folder}/fifo`, fs.constants.O_WRONLY);
  kernel.close(reader);
  kernel.write(writer, new Uint8Array([1]));
  fifo[Symbol.dispose]();
  fifo[Symbol.dispose]();
  assert.equal(fifo.read(new Uint8Array(1)), null);
  // SIGPIPE is ignored by both runtimes.
  assert.throws(() => kernel.write(writer, new Uint8Array([1])), /EPIPE/);
  kernel.close(writer);
});

it("an fd that cannot be opened again is left alone", () => {
  assert.equal(FifoReader.open(1_000_000), null);
});
