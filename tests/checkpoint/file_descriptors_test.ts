import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import type { CheckpointFileError } from "../../src/checkpoint/file/file_error.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { O_NONBLOCK, O_RDWR, O_WRONLY, POLLIN, POLLOUT } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { until } from "../_until.ts";
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

/** Resolves once the pipe takes no more. */
async function full(): Promise<void> {
  await until(() => kernel.poll(fd, POLLOUT, 0) === 0, "the pipe is full");
}

/** Reads so many bytes from the pipe. */
async function drain(total: number): Promise<void> {
  const buffer = bytesOf(1 << 16);
  for (let left = total; left > 0;) {
    await until(() => kernel.poll(fd, POLLIN, 0) !== 0, "the pipe has bytes");
    left -= kernel.read(fd, buffer);
  }
}

it("/dev/fd/N is the fd itself, where it stands, and stays open", async () => {
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

it("a link to /dev/fd/N is the fd as well", async () => {
  fs.writeFileSync(`${folder}/a`, "");
  fd = kernel.open(`${folder}/a`, O_WRONLY);
  fs.symlinkSync(`/dev/fd/${fd}`, `${folder}/link`);
  await using file = await createCheckpointFile(`${folder}/link`, { force: true });
  assert.equal(file.direct, true);
  await file.write(bytesOf("x"));
  await file.commit();
  assert.ok(fs.lstatSync(`${folder}/link`).isSymbolicLink());
});

it("an fd that is not open is an error", async () => {
  const isBadFd = (error: CheckpointFileError): boolean => error.code === "EBADF";
  await assert.rejects(createCheckpointFile("/dev/fd/987"), isBadFd);
  await assert.rejects(openCheckpointFile("/dev/fd/987"), isBadFd);
});

it("a nonblocking pipe that is full is waited for, and the event loop goes on", async () => {
  nonblockingFifo();
  await using file = await createCheckpointFile(`/dev/fd/${fd}`);
  let done = false;
  const written = file.write(bytesOf(1 << 20)).then(() => done = true);
  // That its timers fire is the test.
  await full();
  assert.equal(done, false);
  await drain(1 << 20);
  await written;
});

it("a pipe that is full and blocks does not stop the event loop", async () => {
  execFileSync("mkfifo", [`${folder}/fifo`]);
  fd = kernel.open(`${folder}/fifo`, O_RDWR);
  await using file = await createCheckpointFile(`${folder}/fifo`);
  let done = false;
  const written = file.write(bytesOf(1 << 20)).then(() => done = true);
  // That its timers fire is the test.
  await full();
  assert.equal(done, false);
  await drain(1 << 20);
  await written;
});

it("a nonblocking pipe that is empty is waited for", async () => {
  nonblockingFifo();
  await using source = await openCheckpointFile(`/dev/fd/${fd}`);
  const chunks = source.stream().getReader();
  let done = false;
  const first = chunks.read().finally(() => done = true);
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  assert.equal(done, false);
  kernel.write(fd, bytesOf("late"));
  assert.equal(Buffer.from((await first).value!).toString(), "late");
  assert.equal(source.seekable, false);
  await chunks.cancel();
});

it("giving up does not wait for a pipe that nobody reads", async () => {
  nonblockingFifo();
  const file = await createCheckpointFile(`/dev/fd/${fd}`);
  const written = file.write(bytesOf(1 << 20));
  await full();
  await file.abort();
  // The write ends when the pipe does.
  await drain(1 << 20);
  await written;
});
