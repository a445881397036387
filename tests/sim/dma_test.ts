import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { type SimDevice, SimKernel } from "../../src/sim/mod.ts";
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
} from "../../src/uapi/mod.ts";
import { bytes, Client, int, PRE_COPY, RUNNING, STOP, STOP_AND_COPY, text } from "./_client.ts";
import { pages, Type1Client } from "./_type1.ts";

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

interface Joined {
  readonly device: SimDevice;
  close(): void;
}

/** Adds another device to an existing container. */
function join(kernel: SimKernel, number: number, container: number): Joined {
  const device = kernel.devices[number]!;
  const group = kernel.open(`/dev/vfio/${number}`, O_RDWR);
  kernel.ioctl(group, VFIO_GROUP_SET_CONTAINER, int(container));
  const fd = kernel.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, text(device.path));
  return {
    device,
    close: () => {
      kernel.close(fd);
      kernel.close(group);
    },
  };
}

/** A device with a clock that the test moves, its container, and its dirty pages. */
class Setting implements Disposable {
  now = 0;
  readonly client: Client;
  readonly type1: Type1Client;

  constructor(spec: string) {
    const kernel = SimKernel.withClock(() => this.now, `trapped?size=4KiB&${spec}`);
    this.client = new Client(kernel);
    this.type1 = new Type1Client(this.client);
  }

  /** Moves the clock on by `ms` milliseconds; returns the indexes of the dirty pages. */
  dirtyAfter(ms: number, first: number, count: number): number[] {
    this.now += ms;
    return this.type1.get(first, count).flatMap((word, index) =>
      Array.from({ length: 64 }, (_, bit) => bit)
        .filter((bit) => (word >> BigInt(bit) & 1n) === 1n)
        .map((bit) => first + index * 64 + bit)
    );
  }

  [Symbol.dispose](): void {
    this.type1.close();
    this.client.close();
    assert.deepEqual(this.client.kernel.openObjects, []);
  }
}

describe("the DMA of a simulated device", () => {
  it("goes through all mappings page by page if the pattern is sequential", () => {
    using setting = new Setting("dma=sequential:10/s");
    setting.type1.map(0, 4);
    setting.type1.map(64, 4);
    setting.type1.start();
    assert.deepEqual(setting.dirtyAfter(300, 0, 128), [0, 1, 2]);
    assert.deepEqual(setting.dirtyAfter(300, 0, 128), [3, 64, 65]);
    assert.deepEqual(setting.dirtyAfter(300, 0, 128), [0, 66, 67]);
    assert.deepEqual(setting.dirtyAfter(50, 0, 128), []);
    assert.deepEqual(setting.dirtyAfter(50, 0, 128), [1], "the time left over is kept");
  });

  it("repeats with the same seed and clock, and is spread evenly if the pattern is random", () => {
    const run = (seed: number): number[][] => {
      using setting = new Setting(`dma=random:1000/s&seed=${seed}`);
      setting.type1.map(0, 2048);
      setting.type1.start();
      return [setting.dirtyAfter(100, 0, 2048), setting.dirtyAfter(100, 0, 2048)];
    };
    const [first, second] = run(1);
    assert.deepEqual(run(1), [first, second]);
    assert.notDeepEqual(run(2), [first, second]);
    assert.ok(first!.length > 85 && first!.length <= 100, String(first!.length));
    const quarters = [0, 1, 2, 3].map((q) => first!.filter((page) => page >> 9 === q).length);
    assert.ok(quarters.every((count) => count > 8), String(quarters));
  });

  it("goes mostly to the first pages if the pattern is hot", () => {
    using setting = new Setting("dma=hot:90/10:1000/s");
    setting.type1.map(0, 2000);
    setting.type1.start();
    const dirty = setting.dirtyAfter(500, 0, 2000);
    const cold = dirty.filter((page) => page >= 200).length;
    assert.ok(cold > 20 && cold < 80, `${cold} of 500 writes`);
    // 450 writes to 200 pages miss few of them.
    assert.ok(dirty.length - cold > 150, String(dirty.length - cold));
  });

  it("writes into memory, a new value each time", () => {
    using setting = new Setting("dma=sequential:1/s");
    const memory = setting.type1.map(0, 2);
    const seen = (page: number): number => {
      const stamp = bytes(8);
      memory.read(page * 4096, stamp);
      return new DataView(stamp.buffer).getFloat64(0, true);
    };
    setting.type1.start();
    setting.dirtyAfter(2000, 0, 2);
    assert.deepEqual([seen(0), seen(1)], [1, 2]);
    setting.dirtyAfter(1000, 0, 2);
    assert.deepEqual([seen(0), seen(1)], [3, 2]);
    assert.equal(setting.client.device.dma.writes, 3);
  });

  it("stops with the device, and does not catch up later", () => {
    using setting = new Setting("dma=sequential:10/s");
    setting.type1.map(0, 64);
    setting.type1.start();
    assert.equal(setting.dirtyAfter(500, 0, 64).length, 5);
    setting.client.state = PRE_COPY;
    assert.equal(setting.dirtyAfter(500, 0, 64).length, 5, "it runs in pre-copy");
    setting.now += 500;
    setting.client.state = STOP_AND_COPY;
    assert.equal(setting.dirtyAfter(5000, 0, 64).length, 5, "the writes from before it stopped");
    assert.deepEqual(setting.dirtyAfter(5000, 0, 64), []);
    setting.client.state = STOP;
    setting.client.state = RUNNING;
    assert.equal(setting.dirtyAfter(500, 0, 64).length, 5);
  });

  it("happens neither before the device is opened nor after it is closed", () => {
    let now = 0;
    const kernel = SimKernel.withClock(() => now, "trapped?size=4KiB&dma=sequential:10/s");
    const client = new Client(kernel);
    const type1 = new Type1Client(client);
    type1.map(0, 64);
    kernel.close(client.fd);
    type1.start();
    now += 1000;
    assert.deepEqual(type1.get(0, 64), [0n]);
    type1.close();
  });

  it("starts over after a reset", () => {
    using setting = new Setting("dma=sequential:10/s&pin=2");
    setting.type1.map(0, 64);
    setting.type1.start();
    assert.equal(setting.dirtyAfter(300, 0, 64).length, 3);
    setting.client.reset();
    assert.deepEqual(setting.dirtyAfter(100, 0, 64), [0, 1], "pinned again, and page 0 written");
  });

  it("writes to each page at most four times after a long time without a call", () => {
    using setting = new Setting("dma=sequential:1000000/s");
    setting.type1.map(0, 10);
    setting.type1.start();
    setting.dirtyAfter(1e9, 0, 10);
    assert.equal(setting.client.device.dma.writes, 40);
  });

  it("is done by each device of a container", () => {
    let now = 0;
    const kernel = SimKernel.withClock(
      () => now,
      "trapped?size=4KiB&dma=sequential:10/s",
      "trapped?size=4KiB&pin=1",
    );
    const client = new Client(kernel);
    const other = join(kernel, 1, client.container);
    const type1 = new Type1Client(client);
    type1.map(0, 64);
    type1.start();
    kernel.devices[1]!.dma.write(pages(40), bytes(1));
    now += 300;
    assert.deepEqual(type1.get(0, 64), [1n << 40n | 7n]);
    other.close();
    assert.deepEqual(type1.get(0, 64), [1n], "unpinned by the close, and dirty once more");
    assert.deepEqual(type1.get(0, 64), [0n]);
    type1.close();
    client.close();
    assert.deepEqual(kernel.openObjects, []);
  });
});

describe("DMA of a simulated device on request", () => {
  it("is refused with the kernel's errno", () => {
    using setting = new Setting("pin=0");
    const { dma } = setting.client.device;
    refused("EINVAL", () => dma.write(0n, bytes(1)));
    refused("EINVAL", () => dma.pin(0n, 1));
    const memory = setting.type1.map(0, 2);
    setting.type1.mapAt(pages(10), pages(1), memory.address, VFIO_DMA_MAP_FLAG_READ);
    refused("EPERM", () => dma.write(pages(10), bytes(1)));
    refused("EPERM", () => dma.pin(pages(10), 1));
    setting.type1.mapAt(pages(20), pages(1), 0x10000n);
    refused("EFAULT", () => dma.write(pages(20), bytes(1)));
    refused("EFAULT", () => dma.pin(pages(20), 1));
    refused("EINVAL", () => dma.unpin(0n, 1));
    refused("EINVAL", () => dma.write(pages(2) - 1n, bytes(2)));
  });

  it("marks each page that a write touches, also across two mappings", () => {
    using setting = new Setting("pin=0");
    setting.type1.map(0, 2);
    setting.type1.map(2, 2);
    setting.type1.start();
    setting.client.device.dma.write(pages(1) + 4095n, bytes(4098));
    assert.deepEqual(setting.dirtyAfter(0, 0, 2), [1]);
    assert.deepEqual(setting.dirtyAfter(0, 2, 2), [2, 3]);
  });

  it("counts pins: a page stays pinned until it is unpinned as often", () => {
    using setting = new Setting("pin=0");
    const { dma } = setting.client.device;
    setting.type1.map(0, 4);
    setting.type1.start();
    dma.pin(0n, 2);
    dma.pin(pages(1), 2);
    dma.unpin(0n, 2);
    assert.deepEqual(setting.dirtyAfter(0, 0, 4), [0, 1, 2]);
    assert.deepEqual(setting.dirtyAfter(0, 0, 4), [1, 2]);
    dma.unpin(pages(1), 1);
    refused("EINVAL", () => dma.unpin(pages(1), 1));
    assert.deepEqual(setting.dirtyAfter(0, 0, 4), [1, 2], "once more");
    assert.deepEqual(setting.dirtyAfter(0, 0, 4), [2]);
  });

  it("locks the memory of pinned pages", () => {
    using setting = new Setting("memlock=8KiB");
    const { dma } = setting.client.device;
    setting.type1.map(0, 4);
    dma.pin(0n, 2);
    refused("ENOMEM", () => dma.pin(pages(2), 1));
    dma.pin(0n, 1);
    dma.unpin(pages(1), 1);
    dma.pin(pages(2), 1);
  });
});

describe("a group whose device's writes are not tracked", () => {
  /** Two devices in one container; only the second one's writes are not tracked. */
  function pair(): { first: Client; second: Joined; type1: Type1Client; kernel: SimKernel } {
    const kernel = new SimKernel("trapped?size=4KiB", "trapped?size=4KiB&iommu=all-dirty");
    const first = new Client(kernel);
    const type1 = new Type1Client(first);
    type1.map(0, 8);
    type1.start();
    return { kernel, first, type1, second: join(kernel, 1, first.container) };
  }

  const ALL = 0xffn;

  it("makes every page of the container dirty at each read", () => {
    const { type1 } = pair();
    assert.deepEqual([type1.get(0, 8), type1.get(0, 8)], [[ALL], [ALL]]);
  });

  it("leaves every page dirty once when it is removed", () => {
    const { type1, second } = pair();
    second.close();
    assert.deepEqual([type1.get(0, 8), type1.get(0, 8)], [[ALL], [0n]]);
  });

  it("counts only its pinned pages once its driver pins a page", () => {
    const { type1, second } = pair();
    second.device.dma.pin(0n, 1);
    assert.deepEqual([type1.get(0, 8), type1.get(0, 8)], [[1n], [1n]]);
    second.close();
    assert.deepEqual(type1.get(0, 8), [1n], "unpinned, once more");
    assert.deepEqual(type1.get(0, 8), [0n]);
  });

  it("joins a container only if all of its memory may be locked, pinned pages counted once", () => {
    const joined = (memlock: number): void => {
      const specs = [`trapped?size=4KiB&memlock=${memlock}`, "trapped?size=4KiB&iommu=all-dirty"];
      const kernel = new SimKernel(...specs);
      const first = new Client(kernel);
      const type1 = new Type1Client(first);
      type1.map(0, 4);
      type1.map(8, 4);
      first.device.dma.pin(pages(8), 2);
      join(kernel, 1, first.container);
    };
    refused("ENOMEM", () => joined(4 * 4096));
    refused("ENOMEM", () => joined(8 * 4096 - 1));
    joined(8 * 4096);
  });

  it("has all memory locked, so a driver's pins lock no more of it", () => {
    const specs = ["trapped?size=4KiB&memlock=16KiB", "trapped?size=4KiB&iommu=all-dirty"];
    const kernel = new SimKernel(...specs);
    const first = new Client(kernel);
    const type1 = new Type1Client(first);
    join(kernel, 1, first.container);
    type1.map(0, 4);
    first.device.dma.pin(0n, 4);
    refused("ENOMEM", () => type1.map(8, 1));
  });

  it("cannot join a container with memory that hardware cannot reach", () => {
    for (
      const [iova, vaddr, code] of [
        [0xfee0_0000n, undefined, "EINVAL"],
        [pages(100), 0x10000n, "EFAULT"],
      ] as const
    ) {
      const kernel = new SimKernel("trapped?size=4KiB", "trapped?size=4KiB&iommu=all-dirty");
      const first = new Client(kernel);
      const type1 = new Type1Client(first);
      const memory = type1.map(0, 1);
      type1.mapAt(iova, pages(1), vaddr ?? memory.address);
      refused(code, () => join(kernel, 1, first.container));
    }
  });
});
