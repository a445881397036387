import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import type { CheckpointFileError } from "../../src/checkpoint/file/file_error.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { O_NONBLOCK, O_RDWR, O_WRONLY, POLLIN } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { bytesOf } from "./_tools.ts";

const kernel = libcKernel();
let folder = "";
let fd = -1;

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-fd-");
});

afterEach(() => {
  if (fd >= 0) kernel.close(fd);
  fd = -1;
  fs.rmSync(folder, { recursive: true });
});

function nonblockingFifo(): void {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  fd = kernel.open(`${folder}/fifo`, O_RDWR | O_NONBLOCK);
}

test("/dev/fd/N is the fd itself, where it stands, and stays open", async () => {
  fs.writeFileSync(`${folder}/a`, "before ------- after");
  fd = kernel.open(`${folder}/a`, O_WRONLY);
  kernel.write(fd, bytesOf("BEFORE "));
  for (const path of [`/dev/fd/${fd}`, `/proc/self/fd/${fd}`]) {
    await using file = await createCheckpointFile(path);
    assert.equal(file.direct, true);
    await file.write(bytesOf("now"));
    await file.commit();
  }
  kernel.write(fd, bytesOf("!"));
  assert.equal(fs.readFileSync(`${folder}/a`, "utf8"), "BEFORE nownow! after");
  assert.deepEqual(fs.readdirSync(folder), ["a"]);
});

test("a link to /dev/fd/N is the fd as well", async () => {
  fs.writeFileSync(`${folder}/a`, "");
  fd = kernel.open(`${folder}/a`, O_WRONLY);
  fs.symlinkSync(`/dev/fd/${fd}`, `${folder}/link`);
  await using file = await createCheckpointFile(`${folder}/link`, { force: true });
  assert.equal(file.direct, true);
  await file.write(bytesOf("x"));
  await file.commit();
  assert.ok(fs.lstatSync(`${folder}/link`).isSymbolicLink());
});

test("an fd that is not open is told of", async () => {
  const isBadFd = (error: CheckpointFileError): boolean => error.code === "EBADF";
  await assert.rejects(createCheckpointFile("/dev/fd/987"), isBadFd);
  await assert.rejects(openCheckpointFile("/dev/fd/987"), isBadFd);
});

test("a nonblocking pipe that is full is waited for, and the event loop goes on", async () => {
  nonblockingFifo();
  await using file = await createCheckpointFile(`/dev/fd/${fd}`);
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 5);
  let total = 0;
  const written = file.write(bytesOf(1 << 20));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const buffer = bytesOf(1 << 16);
  while (total < 1 << 20) {
    try {
      total += kernel.read(fd, buffer);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  await written;
  clearInterval(ticking);
  assert.ok(ticks >= 5, `${ticks} ticks`);
});

test("a pipe that is full and blocks does not stop the event loop", async () => {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  fd = kernel.open(`${folder}/fifo`, O_RDWR);
  await using file = await createCheckpointFile(`${folder}/fifo`);
  let done = false;
  const written = file.write(bytesOf(1 << 20)).then(() => done = true);
  // That this timer fires is the test.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(done, false);
  const buffer = bytesOf(1 << 16);
  for (let total = 0; total < 1 << 20;) {
    if (kernel.poll(fd, POLLIN, 0) !== 0) total += kernel.read(fd, buffer);
    else await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await written;
});

test("a nonblocking pipe that is empty is waited for", async () => {
  nonblockingFifo();
  await using source = await openCheckpointFile(`/dev/fd/${fd}`);
  const chunks = source.stream().getReader();
  const first = chunks.read();
  setTimeout(() => kernel.write(fd, bytesOf("late")), 30);
  assert.equal(Buffer.from((await first).value!).toString(), "late");
  assert.equal(source.seekable, false);
  await chunks.cancel();
});

test("giving up does not wait for a pipe that nobody reads", async () => {
  nonblockingFifo();
  const file = await createCheckpointFile(`/dev/fd/${fd}`);
  const written = file.write(bytesOf(1 << 20));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await file.abort();
  // The write ends when the pipe does.
  const buffer = bytesOf(1 << 16);
  const drained = setInterval(() => {
    try {
      kernel.read(fd, buffer);
    } catch {
      // Empty for the moment.
    }
  }, 1);
  await written;
  clearInterval(drained);
});
