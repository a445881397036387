import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { adoptFd } from "../../src/kernel/process/adopt_fd.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { Fd, openFds } from "../../src/kernel/fd.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  O_RDONLY,
  O_RDWR,
  POLLIN,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-libc-"));
after(() => fs.rmSync(folder, { recursive: true }));

function file(name: string, content: Uint8Array | string): string {
  const at = path.join(folder, name);
  fs.writeFileSync(at, content);
  return at;
}

function bytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

describe("libcKernel()", () => {
  const kernel = libcKernel();

  it("reads and writes at an offset, through a view in the middle of a buffer", () => {
    const at = file("rw", "0123456789");
    using fd = Fd.own(kernel, kernel.open(at, O_RDWR), at);
    const whole = bytes(16);
    assert.equal(kernel.pread(fd.number, whole.subarray(4, 8), 3), 4);
    assert.equal(new TextDecoder().decode(whole.subarray(3, 9)), "\0" + "3456" + "\0");
    assert.equal(kernel.pwrite(fd.number, new TextEncoder().encode("xy"), 8n), 2);
    assert.equal(fs.readFileSync(at, "utf8"), "01234567xy");
  });

  it("reads and writes shared memory, the same on every call", () => {
    const at = file("shared", "0123456789");
    using fd = Fd.own(kernel, kernel.open(at, O_RDWR), at);
    const shared = new Uint8Array(new SharedArrayBuffer(16));
    const [left, right] = [shared.subarray(2, 6), shared.subarray(9, 13)];
    // Enough calls for the runtime to compile them.
    for (let round = 0; round < 20_000; round++) {
      shared.fill(0);
      assert.equal(kernel.pread(fd.number, left, round % 4), 4);
      assert.equal(kernel.pwrite(fd.number, left, 12), 4);
      assert.equal(kernel.pread(fd.number, right, 12), 4);
      const expected = [0, 1, 2, 3].map((index) => 0x30 + round % 4 + index);
      assert.deepEqual([...shared], [0, 0, ...expected, 0, 0, 0, ...expected, 0, 0, 0]);
    }
    assert.equal(kernel.read(fd.number, left), 4);
    assert.equal(kernel.write(fd.number, left), 4);
    assert.equal(fs.readFileSync(at, "latin1"), "0123012389\0\x003456");
  });

  it("reads up to the end, and returns 0 there", () => {
    const at = file("end", "abc");
    using fd = Fd.own(kernel, kernel.open(at, O_RDONLY), at);
    assert.equal(kernel.read(fd.number, bytes(8)), 3);
    assert.equal(kernel.read(fd.number, bytes(8)), 0);
  });

  it("throws a SysError with the kernel's errno, naming the object", () => {
    assert.throws(
      () => kernel.open(path.join(folder, "absent"), O_RDONLY),
      (error: unknown) =>
        error instanceof SysError && error.code === "ENOENT" && error.syscall === "open" &&
        error.message.includes("absent"),
    );
    const at = file("plain", "");
    using fd = Fd.own(kernel, kernel.open(at, O_RDONLY), at);
    assert.throws(() => kernel.ioctl(fd.number, 0x3b64), { code: "ENOTTY" });
    assert.throws(() => kernel.ioctl(fd.number, 0x3b64, bytes(8)), { code: "ENOTTY" });
    assert.throws(() => kernel.pread(1 << 20, bytes(1), 0), { code: "EBADF" });
    assert.throws(() => kernel.write(fd.number, bytes(1)), { code: "EBADF" });
  });

  it("passes an ioctl a buffer that the kernel writes to", () => {
    const at = file("fionread", "12345");
    using fd = Fd.own(kernel, kernel.open(at, O_RDONLY), at);
    const answer = bytes(4);
    kernel.ioctl(fd.number, 0x541b, /* FIONREAD */ answer);
    assert.equal(new DataView(answer.buffer).getInt32(0, true), 5);
  });

  it("reports the right errno in many failing calls with garbage collected in between", () => {
    const wrong: string[] = [];
    for (let round = 0; round < 20_000; round++) {
      try {
        kernel.ioctl(-1, 0x3b64, bytes(64));
      } catch (error) {
        if ((error as SysError).code !== "EBADF") wrong.push((error as SysError).code);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("maps a file shared, so that writes are visible in the file", () => {
    const at = file("mapped", new Uint8Array(8192));
    using fd = Fd.own(kernel, kernel.open(at, O_RDWR), at);
    using mapping = kernel.mmap(4096, {
      fd: fd.number,
      offset: 4096,
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED,
    });
    mapping.write(10, new TextEncoder().encode("here"));
    assert.equal(fs.readFileSync(at).subarray(4106, 4110).toString(), "here");
    const back = bytes(4);
    mapping.read(10, back);
    assert.equal(new TextDecoder().decode(back), "here");
  });

  it("refuses to access memory outside a mapping, or a closed mapping", () => {
    const mapping = kernel.mmap(4096, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    assert.notEqual(mapping.address, 0n);
    assert.throws(() => mapping.read(4090, bytes(7)), RangeError);
    assert.throws(() => mapping.write(-1, bytes(1)), RangeError);
    mapping.close();
    mapping.close();
    assert.throws(() => mapping.read(0, bytes(1)), /closed/);
  });

  it("tells whether memory has but zeros", () => {
    using mapping = kernel.mmap(16_384, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    assert.equal(mapping.isZero!(0, 16_384), true);
    for (const at of [0, 63, 4095, 4096, 12_287, 16_383]) {
      mapping.write(at, new Uint8Array([1]));
      assert.equal(mapping.isZero!(0, 16_384), false, `byte ${at}`);
      assert.equal(mapping.isZero!(at, 1), false);
      assert.equal(mapping.isZero!(at + 1, 16_383 - at), true);
      mapping.write(at, new Uint8Array([0]));
    }
    assert.throws(() => mapping.isZero!(16_000, 385), RangeError);
  });

  it("reports why mmap failed", () => {
    const at = file("nomap", "x");
    using fd = Fd.own(kernel, kernel.open(at, O_RDONLY), at);
    assert.throws(
      () => kernel.mmap(4096, { fd: fd.number, offset: 1, prot: PROT_READ, flags: MAP_SHARED }),
      { code: "EINVAL" },
    );
  });

  it("creates memory with an fd, and all mappings of it share the bytes", () => {
    using fd = Fd.own(kernel, kernel.memfd("vfiokit-test", 8192), "memfd");
    const shared = { fd: fd.number, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED };
    using one = kernel.mmap(8192, shared);
    using two = kernel.mmap(4096, { ...shared, offset: 4096 });
    one.write(4096, new Uint8Array([1, 2, 3]));
    const back = bytes(4);
    two.read(0, back);
    assert.deepEqual([...back], [1, 2, 3, 0]);
    assert.equal(kernel.pread(fd.number, back, 8190), 2, "it ends where it was said to");
    assert.match(kernel.readLink(`/proc/self/fd/${fd.number}`), /memfd:vfiokit-test/);
  });

  it("reports why memory with an fd cannot be created, and leaks no fd", () => {
    const before = kernel.readDir("/proc/self/fd").length;
    assert.throws(() => kernel.memfd("vfiokit-test", -1), {
      syscall: "ftruncate",
      code: "EINVAL",
    });
    assert.throws(() => kernel.memfd("x".repeat(300), 4096), {
      syscall: "memfd_create",
      code: "EINVAL",
    });
    assert.equal(kernel.readDir("/proc/self/fd").length, before);
  });

  it("polls with a timeout", () => {
    const at = file("poll", "x");
    using fd = Fd.own(kernel, kernel.open(at, O_RDONLY), at);
    assert.equal(kernel.poll(fd.number, POLLIN, 1000) & POLLIN, POLLIN);
  });

  it("reads directories, links and real paths", () => {
    file("b", "");
    file("a", "");
    fs.mkdirSync(path.join(folder, "dir"));
    fs.writeFileSync(path.join(folder, "dir", "two"), "");
    fs.writeFileSync(path.join(folder, "dir", "one"), "");
    fs.symlinkSync("dir", path.join(folder, "link"));
    assert.deepEqual(kernel.readDir(path.join(folder, "link")), ["one", "two"]);
    assert.equal(kernel.readLink(path.join(folder, "link")), "dir");
    assert.equal(
      kernel.realPath(path.join(folder, "link", "one")),
      fs.realpathSync(path.join(folder, "dir", "one")),
    );
    assert.throws(() => kernel.readDir(path.join(folder, "a")), { code: "ENOTDIR" });
    assert.throws(() => kernel.readLink(path.join(folder, "a")), { code: "EINVAL" });
    assert.throws(() => kernel.realPath(path.join(folder, "none")), { code: "ENOENT" });
  });

  it("reads a directory with more names than one getdents64 call returns", () => {
    const dir = path.join(folder, "many");
    fs.mkdirSync(dir);
    for (let n = 0; n < 1500; n++) fs.writeFileSync(path.join(dir, `name-that-is-long-${n}`), "");
    assert.equal(kernel.readDir(dir).length, 1500);
  });

  it("reads small text files, and refuses large ones", () => {
    assert.equal(kernel.readText(file("text", "grün\n")), "grün\n");
    assert.throws(() => kernel.readText("/dev/zero"), /more than 1048576 bytes\): EFBIG/);
    assert.throws(() => kernel.readText("/dev/zero", 2 ** 21), /more than 2097152 bytes\): EFBIG/);
    assert.throws(() => kernel.open("a\0b", O_RDONLY), /NUL/);
  });
});

describe("Fd", () => {
  it("is closed once, and cannot be used afterwards", () => {
    const kernel = libcKernel();
    const fd = Fd.own(kernel, kernel.open("/dev/null", O_RDONLY), "null");
    assert.deepEqual(openFds(), ["null"]);
    fd.close();
    fd.close();
    assert.throws(() => fd.number, /Cannot use null: it is closed/);
    assert.deepEqual(openFds(), []);
  });

  it("leaves a borrowed fd open", () => {
    const kernel = libcKernel();
    using owner = Fd.own(kernel, kernel.open("/dev/zero", O_RDONLY), "zero");
    const borrowed = Fd.borrow(kernel, owner.number, "zero, borrowed");
    borrowed.close();
    assert.equal(kernel.read(owner.number, bytes(2)), 2);
  });
});

describe("adoptFd()", () => {
  it("lets node:fs read a file that libc opened", async () => {
    const kernel = libcKernel();
    using owner = Fd.own(kernel, kernel.open(file("adopt", "adopted"), O_RDONLY), "adopt");
    const fd = adoptFd(owner.number);
    const into = bytes(16);
    const count = await new Promise<number>((resolve, reject) =>
      fs.read(fd, into, 0, 16, null, (error, n) => error ? reject(error) : resolve(n))
    );
    fs.closeSync(fd);
    assert.equal(new TextDecoder().decode(into.subarray(0, count)), "adopted");
  });

  it("fails if the fd is not open", () => {
    assert.throws(() => adoptFd(987_654), { code: "EBADF" });
  });
});

it("dup3 replaces one fd's file by another's, and closes the replaced file", () => {
  const kernel = libcKernel();
  using zero = Fd.own(kernel, kernel.open("/dev/zero", O_RDONLY), "zero");
  using other = Fd.own(kernel, kernel.memfd("other", 4096), "other");
  kernel.dup3(zero.number, other.number);
  assert.equal(kernel.readLink(`/proc/self/fd/${other.number}`), "/dev/zero");
  assert.throws(() => kernel.dup3(-1, other.number), { code: "EBADF" });
});
