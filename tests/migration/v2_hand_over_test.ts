// A save of two processes: the data fd goes from one to the other. Here both
// are sessions of one simulated kernel.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openFds } from "../../src/kernel/fd.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import type { Remedy } from "../../src/base/vfiokit_error.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { precopy } from "../../src/migration/phases/precopy.ts";
import { resume } from "../../src/migration/phases/resume.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { bytesOf, collect, rejectsWith, stateOf } from "./_sim.ts";

/** Devices that somebody lends, with a place for the data fd of the first. */
class Lender implements AsyncDisposable {
  readonly kernel: SimKernel;
  readonly place: { readonly put: number; readonly take: number };
  readonly devices: Device[] = [];
  /** What is done against the protocol. */
  expected: readonly string[] = [];

  constructor(...specs: string[]) {
    this.kernel = new SimKernel(...specs);
    const [put, take] = this.kernel.socketPair();
    this.place = { put, take };
  }

  async open(): Promise<this> {
    for (const { path } of this.kernel.devices) {
      this.devices.push(await openDevice(path, { kernel: this.kernel }));
    }
    return this;
  }

  /** A process that was lent a device. */
  script(index = 0, place = true): Promise<Device> {
    const fd = this.devices[index]!.description.fds.device;
    const dataFdSockets = place ? this.place : undefined;
    return openDevice(`fd:${fd}`, { kernel: this.kernel, dataFdSockets });
  }

  /** Ends a lending, and looks that all of it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.devices) await device.close();
    for (const fd of Object.values(this.place)) this.kernel.close(fd);
    assert.deepEqual(this.kernel.openObjects, []);
    assert.deepEqual(openFds(), []);
    assert.deepEqual(this.kernel.devices.flatMap(({ violations }) => violations), this.expected);
  }
}

function lend(...specs: string[]): Promise<Lender> {
  return new Lender(...specs).open();
}

/** The labels of data fds that processes have. */
function dataFds({ kernel }: Lender): number {
  return kernel.openObjects.filter((label) => label.includes("save fd")).length;
}

/** Whether an error has a code, and a hint with what helps. */
function hints(code: string, remedy: Remedy): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof MigrationError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.hint?.remedy, remedy);
    return true;
  };
}

describe("a save of two processes by v2", () => {
  for (const name of ["mlx5", "virtio", "qat", "hisi", "mtty"]) {
    it(`goes on where the first left off: sim:${name}`, async () => {
      const specs = [`${name}?size=2MiB&seed=1&rate=64MiB`, `${name}?size=2MiB&seed=2`];
      await using lender = await lend(...specs);
      const sink = resume(lender.devices[1]!);
      {
        await using first = await lender.script();
        await precopy(first, { maxRounds: 2 }).pipeTo(sink, { preventClose: true });
        await first.handOver();
        assert.equal(dataFds(lender), 0);
      }
      assert.equal(await stateOf(lender.devices[0]!), "pre-copy");
      {
        await using second = await lender.script();
        await stopAndCopy(second).pipeTo(sink);
        assert.equal(await stateOf(second), "stop");
      }
      const [from, to] = lender.kernel.devices;
      assert.equal(to!.checksum(), from!.checksum());
    });
  }

  it("may have more processes: pre-copy goes on in a second one", async () => {
    await using lender = await lend("mlx5?size=1MiB&seed=1", "mlx5?size=1MiB&seed=2");
    const sink = resume(lender.devices[1]!);
    for (const _ of [1, 2]) {
      await using script = await lender.script();
      await precopy(script).pipeTo(sink, { preventClose: true });
      await script.handOver();
    }
    await using last = await lender.script();
    await stopAndCopy(last).pipeTo(sink);
    const [from, to] = lender.kernel.devices;
    assert.equal(to!.checksum(), from!.checksum());
  });

  it("may end in the process that began it, with the fd handed over and back", async () => {
    await using lender = await lend("mlx5?size=64KiB");
    await using script = await lender.script();
    await collect(precopy(script));
    await script.handOver();
    await collect(stopAndCopy(script));
    assert.equal(await stateOf(script), "stop");
  });

  it("brings the device back to running when the second fails or is cancelled", async () => {
    for (const fault of ["", "&fault=read:1:EIO"]) {
      await using lender = await lend(`mlx5?size=8MiB${fault}`);
      await using first = await lender.script();
      await collect(precopy(first, { maxTimeMs: 0 }));
      await first.handOver();
      await using second = await lender.script();
      if (fault === "") {
        for await (const _ of stopAndCopy(second)) break;
      } else {
        await assert.rejects(collect(stopAndCopy(second)), { code: "io", deviceState: "running" });
      }
      assert.equal(await stateOf(second), "running");
    }
  });

  it("is not taken up without a place: the error says how to get one", async () => {
    await using lender = await lend("mlx5?size=64KiB");
    await using first = await lender.script();
    await collect(precopy(first));
    await using second = await lender.script(0, false);
    await rejectsWith(collect(stopAndCopy(second)), {
      code: "no-data-fd",
      deviceState: "pre-copy",
      recovery: "none",
      message: /the data fd is another process's/,
    });
    await assert.rejects(collect(stopAndCopy(second)), hints("no-data-fd", "lend"));
    await assert.rejects(second.handOver(), hints("no-data-fd-sockets", "lend"));
    // Nor is what is not there.
    await using third = await lender.script();
    await assert.rejects(collect(stopAndCopy(third)), hints("no-data-fd", "set-running"));
    await first.recover();
  });

  it("refuses an fd that is none, of another device, or dead, and closes it", async () => {
    await using lender = await lend("mlx5?size=64KiB", "mlx5?size=64KiB");
    const { kernel, place } = lender;
    const message = new TextEncoder().encode("vfiokit data fd 1") as Uint8Array<ArrayBuffer>;
    const refused = async (fd: number, errno: string, message_: RegExp): Promise<void> => {
      kernel.sendFds(place.put, message, [fd]);
      kernel.close(fd);
      const before = kernel.openObjects.length;
      await using script = await lender.script();
      await rejectsWith(collect(stopAndCopy(script)), {
        code: "bad-data-fd",
        errno,
        deviceState: "pre-copy",
        recovery: "none",
        message: message_,
      });
      assert.equal(kernel.openObjects.length, before);
    };
    const [device, other] = lender.devices;
    const dataFd = (): number =>
      Number(/^fd (\d+)/.exec(kernel.openObjects.find((label) => label.includes("save fd"))!)![1]);
    const copyOf = (fd: number): number => {
      const pair = kernel.socketPair();
      kernel.sendFds(pair[0], message, [fd]);
      const { fds } = kernel.receiveFds(pair[1], message.slice(), 1);
      pair.forEach((end) => kernel.close(end));
      return fds[0]!;
    };
    // Of another device, which has left pre-copy meanwhile.
    await other!.setState("pre-copy");
    const others = copyOf(dataFd());
    await other!.setState("running");
    // And this one's own, of a pre-copy before.
    await device!.setState("pre-copy");
    const dead = copyOf(dataFd());
    await device!.setState("running");
    await device!.setState("pre-copy");
    await refused(kernel.memfd("not a data fd", 4096), "ENOTTY", /no migration data fd/);
    lender.expected = ["the precopy info was asked for outside PRE_COPY"];
    await refused(others, "EINVAL", /not in pre-copy/);
    await refused(dead, "ENODEV", /has left pre-copy since/);
  });

  it("passes over messages that are no hand-over, and closes what is in them", async () => {
    await using lender = await lend("mlx5?size=64KiB");
    const { kernel, place } = lender;
    const send = (text: string, fds: number): void => {
      const files = Array.from({ length: fds }, () => kernel.memfd("rubbish", 4096));
      kernel.sendFds(place.put, new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>, files);
      for (const file of files) kernel.close(file);
    };
    await using first = await lender.script();
    await collect(precopy(first));
    await first.handOver();
    send("hello", 1);
    send("vfiokit data fd 1", 0);
    send("vfiokit data fd 1", 2);
    send("vfiokit data fd 1, and more", 1);
    await using second = await lender.script();
    assert.ok(bytesOf(await collect(stopAndCopy(second))) > 0);
    assert.deepEqual(kernel.openObjects.filter((label) => label.includes("rubbish")), []);
  });

  it("leaves nothing that was not taken: a new one replaces it, closing ends it", async () => {
    await using lender = await lend("mlx5?size=64KiB");
    for (const _ of [1, 2]) {
      await using script = await lender.script();
      await collect(precopy(script));
      await script.handOver();
      await script.setState("running");
    }
    await using script = await lender.script();
    await collect(precopy(script));
    await script.handOver();
    const received = lender.kernel.receiveFds(lender.place.take, new Uint8Array(32), 8);
    assert.equal(received.fds.length, 1);
    assert.throws(() => lender.kernel.receiveFds(lender.place.take, new Uint8Array(32), 8));
    received.fds.forEach((fd) => lender.kernel.close(fd));
    await script.recover();
  });
});

describe("a save of two processes by v1", () => {
  it("needs no place: all of it is in the device", async () => {
    await using lender = await lend("mapped?size=1MiB&seed=1", "mapped?size=1MiB&seed=2");
    const sink = resume(lender.devices[1]!);
    await using first = await lender.script(0, false);
    await precopy(first).pipeTo(sink, { preventClose: true });
    await first.handOver();
    await using second = await lender.script(0, false);
    await stopAndCopy(second).pipeTo(sink);
    const [from, to] = lender.kernel.devices;
    assert.equal(to!.checksum(), from!.checksum());
  });
});
