/** How a v1 save ends, by what the driver said; and areas that cannot be mapped. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { bytesOf, collect, rejectsWith, stateOf } from "./_sim.ts";

const KIB = 1024;

/** Opens the devices of a kernel, and checks afterwards that the protocol was kept. */
async function withKernel(
  kernel: SimKernel,
  test: (...devices: Device[]) => Promise<void>,
): Promise<void> {
  const devices: Device[] = [];
  for (const { path } of kernel.devices) devices.push(await openDevice(path, { kernel }));
  try {
    await test(...devices);
  } finally {
    for (const device of devices) await device.close();
  }
  for (const { violations } of kernel.devices) assert.deepEqual(violations, []);
  assert.deepEqual(kernel.openObjects, []);
}

/** Has the Nth mmap of a device fail, for each N that is refused. */
function refuseMmap(kernel: SimKernel, refuses: (count: number) => boolean): void {
  const { mmap } = kernel;
  let count = 0;
  kernel.mmap = (length, options) => {
    count += 1;
    if (refuses(count)) throw new SysError("mmap", ERRNO.ENOMEM);
    return mmap.call(kernel, length, options);
  };
}

/** Changes what pending_bytes reads; `change` is told the value and how often it was read. */
function changePending(
  kernel: SimKernel,
  change: (pending: bigint, count: number) => bigint,
): void {
  const { pread } = kernel;
  let count = 0;
  kernel.pread = (fd, into, offset) => {
    const got = pread.call(kernel, fd, into, offset);
    // The register's place in its page; the vendor window of region 0 is not read here.
    if (into.length === 8 && Number(offset) % 4096 === 8) {
      const view = new DataView(into.buffer, into.byteOffset);
      view.setBigUint64(0, change(view.getBigUint64(0, true), count += 1), true);
    }
    return got;
  };
}

const codes = ({ notes }: Device): string[] => notes.map(({ code }) => code);
const ofPending = (device: Device): string[] =>
  codes(device).filter((code) => code.startsWith("pending-"));

describe("areas that cannot be mapped", () => {
  const specs = [
    "mapped?size=1MiB&chunk=256KiB",
    "partitioned?size=1MiB&chunk=256KiB",
    "nvidia-vgpu?size=1MiB&chunk=256KiB",
    "nvidia-vgpu?size=132KiB&chunk=2104",
  ];
  for (const spec of specs) {
    for (
      const [which, refuses] of [
        ["none of them is", () => true],
        ["the first is not", (count: number) => count === 1],
        ["all but the first are not", (count: number) => count > 1],
        ["every other one is not", (count: number) => count % 2 === 0],
      ] as const
    ) {
      it(`are read and written by pread and pwrite if ${which}: sim:${spec}`, async () => {
        const plain = new SimKernel(`${spec}&seed=1`);
        let expected: number[] = [];
        await withKernel(plain, async (from) => {
          expected = (await collect(stopAndCopy(from!))).map(({ data }) => data.length);
        });
        const kernel = new SimKernel(`${spec}&seed=1`, `${spec}&seed=2`);
        refuseMmap(kernel, refuses);
        await withKernel(kernel, async (from, to) => {
          const transactions = await collect(stopAndCopy(from!));
          assert.deepEqual(transactions.map(({ data }) => data.length), expected);
          const writer = resume(to!).getWriter();
          for (const transaction of transactions) await writer.write(transaction);
          await writer.close();
          const [first, second] = kernel.devices;
          assert.equal(first!.checksum(), second!.checksum());
          assert.deepEqual([ofPending(from!), ofPending(to!)], [[], []]);
        });
      });
    }
  }

  it("are no reason to save nothing, in pre-copy neither", async () => {
    const spec = "nvidia-vgpu?size=1MiB&chunk=256KiB&fault=mmap:ENOMEM";
    const kernel = new SimKernel(`${spec}&seed=1`, `${spec}&seed=2`);
    await withKernel(kernel, async (from, to) => {
      const sink = resume(to!);
      await precopy(from!).pipeTo(sink, { preventClose: true });
      assert.ok(from!.progress().bytes >= 1024 * KIB);
      await stopAndCopy(from!).pipeTo(sink);
      const [first, second] = kernel.devices;
      assert.equal(first!.checksum(), second!.checksum());
    });
  });
});

describe("the end of stop-and-copy", () => {
  const SPEC = "trapped?size=256KiB&chunk=64KiB";

  it("is judged of a driver that keeps to the rules without a note", async () => {
    for (const personality of ["trapped", "mapped", "partitioned", "ice", "nvidia-vgpu"]) {
      for (const size of ["4KiB", "256KiB", "1MiB"]) {
        const kernel = new SimKernel(`${personality}?size=${size}`);
        await withKernel(kernel, async (device) => {
          await collect(stopAndCopy(device!));
          assert.deepEqual(ofPending(device!), []);
          await device!.setState("running");
          await collect(precopy(device!));
          await collect(stopAndCopy(device!));
          assert.deepEqual(ofPending(device!), []);
        });
      }
    }
  });

  it("is an error if bytes were announced and none came", async () => {
    const kernel = new SimKernel(`${SPEC}&fault=data-size-zero:1`);
    // The first iteration has data_size 0, as its fault says; after it the driver has no more.
    changePending(kernel, (pending, count) => count === 1 ? pending : 0n);
    await withKernel(kernel, async (device) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "state-missing",
        deviceState: "running",
        recovery: "running",
        message: /the driver announced \d+ bytes and gave none; the device is running again/,
      });
      assert.deepEqual(codes(device!), ["data-size-zero"]);
    });
  });

  it("is noted if the driver drops what it announced", async () => {
    const kernel = new SimKernel(SPEC);
    changePending(kernel, (pending, count) => count === 1 ? pending : 0n);
    await withKernel(kernel, async (device) => {
      assert.equal(bytesOf(await collect(stopAndCopy(device!))), 64 * KIB);
      const [note] = device!.notes;
      assert.equal(note?.code, "pending-dropped");
      assert.match(note.seen, /^pending_bytes was 0 after 65536 of \d{6} bytes$/);
    });
  });

  it("is not if pending_bytes was 0 for once, and it is noted", async () => {
    const kernel = new SimKernel(`${SPEC}&seed=1`, `${SPEC}&seed=2`);
    changePending(kernel, (pending, count) => count === 3 ? 0n : pending);
    await withKernel(kernel, async (from, to) => {
      await stopAndCopy(from!).pipeTo(resume(to!));
      const [first, second] = kernel.devices;
      assert.equal(first!.checksum(), second!.checksum());
      assert.deepEqual(codes(from!), ["pending-returned"]);
    });
  });

  it("comes even if pending_bytes keeps coming back from 0", async () => {
    const kernel = new SimKernel(SPEC);
    changePending(kernel, (_, count) => BigInt(count % 2));
    await withKernel(kernel, async (device) => {
      await rejectsWith(collect(stopAndCopy(device!)), {
        code: "no-progress",
        deviceState: "running",
      });
      assert.equal(await stateOf(device!), "running");
    });
  });

  for (
    const [how, change] of [
      ["grows with each read", (_: bigint, count: number): bigint => BigInt(count) << 20n],
      ["stays", (): bigint => 1n << 20n],
    ] as const
  ) {
    it(`comes even if pending_bytes ${how}`, async () => {
      // A device that changes faster than it is read gives data without end.
      const kernel = new SimKernel("trapped?size=64MiB&chunk=64KiB");
      changePending(kernel, change);
      await withKernel(kernel, async (device) => {
        await rejectsWith(collect(stopAndCopy(device!)), {
          code: "no-progress",
          deviceState: "running",
          recovery: "running",
        });
      });
    });
  }

  for (const phase of ["pre-copy", "stop-and-copy"] as const) {
    it(`of ${phase} is an error if pending_bytes wraps`, async () => {
      const kernel = new SimKernel(SPEC);
      changePending(kernel, (pending, count) => count === 3 ? 2n ** 64n - 4096n : pending);
      await withKernel(kernel, async (device) => {
        const reading = phase === "pre-copy" ? precopy(device!) : stopAndCopy(device!);
        await rejectsWith(collect(reading), {
          code: "pending-bytes",
          deviceState: "running",
          recovery: "running",
          message: /pending_bytes 18446744073709547520, which no state has/,
        });
      });
    });
  }
});
