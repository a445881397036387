import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { FIONBIO, type Kernel, O_RDONLY } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { openFiles } from "../_open_files.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-messages-"));
after(() => fs.rmSync(folder, { recursive: true }));

const HELLO = new TextEncoder().encode("hello") as Uint8Array<ArrayBuffer>;

function bytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** A pair of sockets, closed at the end of the test. */
class Pair implements Disposable {
  readonly kernel: Kernel;
  readonly one: number;
  readonly other: number;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    [this.one, this.other] = kernel.socketPair();
  }

  [Symbol.dispose](): void {
    for (const fd of [this.one, this.other]) {
      try {
        this.kernel.close(fd);
      } catch {
        // The test has closed it already.
      }
    }
  }
}

/** A file of this kernel to send. */
function file(kernel: Kernel): number {
  return kernel.memfd("vfiokit-test", 4096);
}

const KERNELS: readonly { name: string; make: () => Kernel }[] = [
  { name: "Linux", make: libcKernel },
  { name: "the simulated kernel", make: () => new SimKernel("mapped") },
];

for (const { name, make } of KERNELS) {
  describe(`messages with fds on ${name}`, () => {
    const kernel = make();

    it("give the receiver fds for the same files", () => {
      using pair = new Pair(kernel);
      const sent = file(kernel);
      kernel.pwrite(sent, HELLO, 0);
      kernel.sendFds(pair.one, HELLO, [sent]);
      kernel.close(sent);
      const into = bytes(16);
      const { length, fds, truncated } = kernel.receiveFds(pair.other, into, 1);
      assert.deepEqual([length, fds.length, truncated], [5, 1, false]);
      assert.deepEqual(into.subarray(0, 5), HELLO);
      const read = bytes(5);
      assert.equal(kernel.pread(fds[0]!, read, 0), 5);
      assert.deepEqual(read, HELLO);
      kernel.close(fds[0]!);
    });

    it("are received one by one, in order, and receiving from an empty socket does not wait", () => {
      using pair = new Pair(kernel);
      refused("EAGAIN", () => kernel.receiveFds(pair.other, bytes(8), 1));
      const sent = [file(kernel), file(kernel)];
      kernel.sendFds(pair.one, HELLO, [sent[0]!]);
      kernel.sendFds(pair.one, HELLO.subarray(0, 3), sent);
      const first = kernel.receiveFds(pair.other, bytes(8), 8);
      const second = kernel.receiveFds(pair.other, bytes(8), 8);
      assert.deepEqual([first.length, first.fds.length], [5, 1]);
      assert.deepEqual([second.length, second.fds.length], [3, 2]);
      refused("EAGAIN", () => kernel.receiveFds(pair.other, bytes(8), 1));
      for (const fd of [...sent, ...first.fds, ...second.fds]) kernel.close(fd);
    });

    it("report when there was no room for all bytes or all fds", () => {
      using pair = new Pair(kernel);
      const sent = file(kernel);
      kernel.sendFds(pair.one, HELLO, [sent]);
      const short = kernel.receiveFds(pair.other, bytes(4), 1);
      assert.deepEqual([short.length, short.fds.length, short.truncated], [4, 1, true]);
      for (const fd of [sent, ...short.fds]) kernel.close(fd);
      for (const maxFds of [1, 2]) {
        const three = [file(kernel), file(kernel), file(kernel)];
        kernel.sendFds(pair.one, HELLO, three);
        const few = kernel.receiveFds(pair.other, bytes(8), maxFds);
        assert.deepEqual([few.length, few.fds.length, few.truncated], [5, maxFds, true]);
        for (const fd of [...three, ...few.fds]) kernel.close(fd);
      }
    });

    it("carry 1 to 253 fds", () => {
      using pair = new Pair(kernel);
      const sent = file(kernel);
      const many = (count: number): number[] => Array.from({ length: count }, () => sent);
      refused("EINVAL", () => kernel.sendFds(pair.one, HELLO, many(254)));
      kernel.sendFds(pair.one, HELLO, many(253));
      for (const maxFds of [0, -1, 1.5, 254, NaN]) {
        assert.throws(() => kernel.receiveFds(pair.other, bytes(8), maxFds), {
          name: "RangeError",
          message: `Cannot receive up to ${maxFds} fds: a message carries 1 to 253`,
        });
      }
      const { fds, truncated } = kernel.receiveFds(pair.other, bytes(8), 253);
      assert.deepEqual([fds.length, truncated], [253, false]);
      for (const fd of [sent, ...fds]) kernel.close(fd);
    });

    it("end when the other end is closed", () => {
      using pair = new Pair(kernel);
      kernel.close(pair.one);
      assert.deepEqual(kernel.receiveFds(pair.other, bytes(8), 1), {
        length: 0,
        fds: [],
        truncated: false,
      });
      refused("EPIPE", () => kernel.sendFds(pair.other, HELLO, []));
    });

    it("are refused on an fd that is not a socket or not open", () => {
      using pair = new Pair(kernel);
      const other = file(kernel);
      refused("ENOTSOCK", () => kernel.receiveFds(other, bytes(8), 1));
      refused("ENOTSOCK", () => kernel.sendFds(other, HELLO, []));
      refused("EBADF", () => kernel.sendFds(pair.one, HELLO, [100_000]));
      kernel.close(other);
    });
  });
}

describe("messages with fds on Linux alone", () => {
  const kernel = libcKernel();

  it("keep a file open that no process has open any more, until the sockets are closed", () => {
    const at = path.join(folder, "fifo");
    fs.writeFileSync(at, "");
    const name = (): string[] =>
      openFiles().filter(({ target }) => target === at).map(({ fd }) => fd);
    {
      using pair = new Pair(kernel);
      const fd = kernel.open(at, O_RDONLY);
      kernel.sendFds(pair.one, HELLO, [fd]);
      kernel.close(fd);
      assert.deepEqual(name(), []);
      fs.writeFileSync(at, "written meanwhile");
      const { fds } = kernel.receiveFds(pair.other, bytes(8), 1);
      assert.equal(name().length, 1);
      const read = bytes(7);
      kernel.read(fds[0]!, read);
      assert.equal(new TextDecoder().decode(read), "written");
      // Close-on-exec: a program that is started now does not inherit it.
      const flags = kernel.readText(`/proc/self/fdinfo/${fds[0]}`);
      assert.match(flags, /^flags:\s+0?2\d{6}$/m);
      kernel.close(fds[0]!);
    }
  });

  it("refuse room for no fds, and for more fds than a message carries", () => {
    using pair = new Pair(kernel);
    for (const maxFds of [0, 254, 1.5]) {
      assert.throws(() => kernel.receiveFds(pair.other, bytes(8), maxFds), RangeError);
    }
  });

  it("can be read from a socket that FIONBIO made non-blocking", () => {
    using pair = new Pair(kernel);
    const on = new Uint8Array(new Int32Array([1]).buffer);
    assert.equal(kernel.ioctl(pair.other, FIONBIO, on), 0);
    refused("EAGAIN", () => kernel.read(pair.other, bytes(8)));
    kernel.sendFds(pair.one, HELLO, []);
    assert.equal(kernel.read(pair.other, bytes(8)), 5);
  });
});
