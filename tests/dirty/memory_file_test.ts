import assert from "node:assert/strict";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { mapMemoryFile } from "../../src/dirty/memory_file.ts";
import { DirtyRangeError, MappedDevice } from "../../src/dirty/mod.ts";
import { libcKernel } from "../../src/kernel/mod.ts";
import { libc } from "../../src/kernel/libc/calls_with_errno.ts";
import { MFD_ALLOW_SEALING } from "../../src/kernel/libc/seals.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { DmaError } from "../../src/vfio/mod.ts";
import { Folder } from "../cli/_folder.ts";

const F_ADD_SEALS = 1033;
const F_SEAL_WRITE = 0x8;
const RANGE = { iova: 0x100000n, size: 0x2000n };

describe("memory that is a file", () => {
  it("is mapped as it is, shared, from a path or an fd, at an offset", () => {
    using folder = new Folder();
    const file = folder.file("memory");
    writeFileSync(file, new Uint8Array(0x4000).fill(1));
    const kernel = libcKernel();
    using whole = mapMemoryFile(kernel, { ...RANGE, file })!;
    const byte = new Uint8Array(1);
    whole.read(0, byte);
    assert.equal(byte[0], 1);
    whole.write(0x1000, new Uint8Array([9]));
    const fd = kernel.open(file, 2);
    using part = mapMemoryFile(kernel, { ...RANGE, fd, offset: 0x1000 })!;
    kernel.close(fd);
    part.read(0, byte);
    assert.equal(byte[0], 9);
    assert.equal(mapMemoryFile(kernel, RANGE), null);
  });

  it("is refused if it ends too early, or never, or its offset is not in whole pages", () => {
    using folder = new Folder();
    const file = folder.file("memory");
    writeFileSync(file, new Uint8Array(0x3000));
    const refused = (offset: number, why: RegExp): void =>
      assert.throws(
        () => mapMemoryFile(libcKernel(), { ...RANGE, file, offset }),
        (error) => error instanceof DirtyRangeError && why.test(error.message),
      );
    assert.throws(
      () => mapMemoryFile(libcKernel(), { ...RANGE, file: "/dev/zero" }),
      (error) => error instanceof DirtyRangeError && /it has no end$/.test(error.message),
    );
    refused(0x2000, /memory" as the memory of 0x100000-0x101fff: it ends before byte 16384$/);
    refused(100, /its offset 100 is not in whole pages$/);
    refused(-4096, /its offset -4096 is not in whole pages$/);
  });

  it("is refused if it cannot be read and written, with the errno", () => {
    using folder = new Folder();
    const kernel = libcKernel();
    const refused = (memory: { fd?: number; file?: string }, why: RegExp): void =>
      assert.throws(
        () => mapMemoryFile(kernel, { ...RANGE, ...memory }),
        (error) => error instanceof DmaError && why.test(error.message),
      );
    refused({ file: folder.file("nothing") }, /there is no such file \(ENOENT\)$/);
    refused({ file: folder.file(".") }, /it is a folder \(EISDIR\)$/);
    const file = folder.file("memory");
    writeFileSync(file, new Uint8Array(0x2000));
    const toRead = kernel.open(file, 0);
    refused({ fd: toRead }, /^Cannot use fd \d+ as .* it cannot be both .* \(EACCES\)$/);
    const toWrite = kernel.open(file, 1);
    refused({ fd: toWrite }, /it is not open for reading \(EBADF\)$/);
    const sealed = kernel.memfd("sealed", 0x2000, MFD_ALLOW_SEALING);
    assert.equal(libc().fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
    refused({ fd: sealed }, /it is sealed against writing \(EPERM\)$/);
    const [one, other] = kernel.socketPair();
    refused({ fd: one }, /it is a pipe or a socket, and not memory \(ESPIPE\)$/);
    for (const fd of [toRead, toWrite, sealed, one, other]) kernel.close(fd);
    assert.throws(
      () => mapMemoryFile(kernel, { ...RANGE, fd: 3, file }),
      /name the memory's fd or its file, not both/,
    );
  });

  it("leaves nothing open when it is refused", () => {
    using folder = new Folder();
    const file = folder.file("short");
    writeFileSync(file, "x");
    // The lowest free number is the same before and after.
    const lowest = (): number => {
      const fd = openSync("/dev/null", "r");
      closeSync(fd);
      return fd;
    };
    const before = lowest();
    assert.throws(() => mapMemoryFile(libcKernel(), { ...RANGE, file }), DirtyRangeError);
    assert.equal(lowest(), before);
  });

  it("is read and written behind mappings that somebody else made", () => {
    const kernel = new SimKernel("sim:mlx5");
    const fd = kernel.memfd("owner", 0x2000);
    const [{ path, dma }] = kernel.devices as unknown as [SimKernel["devices"][0]];
    using owner = MappedDevice.open(path, { kernel, maps: [{ ...RANGE, fd }] });
    const { device, container } = owner.fds;
    using mapped = MappedDevice.open(`fd:${device}`, {
      kernel,
      containerFd: container!,
      mappings: [{ ...RANGE, fd }],
    });
    assert.deepEqual(mapped.mappings, [RANGE]);
    dma.write(0x101004n, new Uint8Array([5]));
    const byte = new Uint8Array(1);
    mapped.contents.read(0x101004n, byte);
    assert.equal(byte[0], 5);
    mapped.contents.write(0x100000n, new Uint8Array([6]));
    owner.contents.read(0x100000n, byte);
    assert.equal(byte[0], 6);
    kernel.close(fd);
  });
});
