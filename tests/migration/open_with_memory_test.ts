import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { save, stopAndCopy } from "../../mod.ts";
import { openFds } from "../../src/kernel/fd.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../src/kernel/kernel.ts";
import { DirtyRangeError, MappedDevice } from "../../src/dirty/mod.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { UnsupportedError } from "../../src/vfio/mod.ts";

const MIB = 1n << 20n;
const MAPS = [{ iova: MIB, size: MIB }, { iova: 16n * MIB, size: 64n * 1024n }];
const STAMP = new Uint8Array([1]);

async function count(stream: ReadableStream<unknown>): Promise<number> {
  let chunks = 0;
  for await (const _ of stream) chunks += 1;
  return chunks;
}

describe("a device that is opened with memory and a tracker", () => {
  for (const [name, tracker] of [["trapped", "type1"], ["mlx5", "device"]] as const) {
    it(`tracks, saves and goes on tracking as one object: ${tracker}`, async () => {
      const kernel = new SimKernel(`sim:${name}?size=64KiB`);
      {
        const [{ path, dma }] = kernel.devices as unknown as [SimKernel["devices"][0]];
        await using device = await openDevice(path, { kernel, maps: MAPS, tracker: "auto" });
        assert.equal(device.dirty!.name, tracker);
        assert.equal(device.dirty!.pgsize, 4096);
        assert.deepEqual(device.description.mappings, MAPS);
        await device.dirty!.start();
        dma.write(MIB + 0x3000n, STAMP);
        assert.deepEqual(await dirty(device), [MIB + 0x3000n]);
        assert.ok(await count(stopAndCopy(device)) > 0);
        await device.setState("running");
        dma.write(16n * MIB, STAMP);
        assert.deepEqual(await dirty(device), [16n * MIB]);
        await save(device, new WritableStream());
        dma.write(16n * MIB + 0x1000n, STAMP);
        const { reading, unmapped } = await device.dirty!.unmapWithDirty(16n * MIB, 64n * 1024n);
        assert.deepEqual([...reading.runs()], [{ iova: 16n * MIB + 0x1000n, size: 0x1000n }]);
        assert.equal(unmapped, 64n * 1024n);
        await device.dirty!.stop();
        await assert.rejects(device.dirty!.read(), /tracking has not started/);
      }
      assert.deepEqual(kernel.openObjects, []);
      assert.deepEqual(openFds(), []);
    });
  }

  it("cannot have more memory than there is: it is not opened, and says so", async () => {
    const maps = [{ iova: 1n << 32n, size: 1n << 40n }];
    await assert.rejects(
      openDevice("sim:mlx5?size=64KiB", { maps }),
      /^DmaError: Cannot allocate 1099511627776 bytes for DMA: the system does not have enough /,
    );
  });

  it("cannot have more than a process has room for: the message has the size as it was given", async () => {
    const kernel = new SimKernel("sim:mlx5?size=64KiB");
    const { path } = kernel.devices[0]!;
    const [iova, half] = [1n << 32n, 1n << 52n];
    for (
      const maps of [[{ iova, size: 0xffffffffffff000n }], [{ iova, size: half }, {
        iova: iova + half,
        size: half,
      }]]
    ) {
      const size = maps.reduce((sum, map) => sum + map.size, 0n);
      await assert.rejects(openDevice(path, { kernel, maps }), {
        name: "DirtyRangeError",
        message: `Cannot map ${size} bytes of memory: no process has room for so many`,
      });
    }
    assert.deepEqual(kernel.openObjects, []);
  });

  it("does so on a thread: bitmaps, memory and errors come over", async () => {
    await using device = await openDevice("sim:trapped?size=64KiB&pin=2", {
      maps: MAPS,
      tracker: "auto",
    });
    assert.match(device.dirty!.reason!, /DMA_LOGGING/);
    await device.dirty!.start();
    const reading = await device.dirty!.read({ twice: true });
    assert.deepEqual([reading.pages, reading.dirtyPages, reading.pinnedPages], [272, 2, 2]);
    assert.equal(reading.verdict, "tracks");
    await device.writeMemory(MIB + 10n, new Uint8Array([9, 1, 2, 3]).subarray(1));
    assert.deepEqual([...await device.readMemory(MIB + 9n, 5)], [0, 1, 2, 3, 0]);
    const unmapped = await device.dirty!.unmapWithDirty(16n * MIB, 64n * 1024n);
    assert.deepEqual([unmapped.reading.dirtyPages, unmapped.error], [0, null]);
    const wrong = device.dirty!.read({ ranges: [{ iova: MIB, size: 4096n }] });
    await assert.rejects(wrong, (error) => error instanceof DirtyRangeError);
    assert.ok(await count(stopAndCopy(device)) > 0);
  });

  it("reads and writes memory inside one mapping only", async () => {
    await using device = await openDevice("sim:mlx5", { maps: MAPS });
    assert.equal(device.dirty, null);
    await assert.rejects(device.readMemory(0n, 1), /1 bytes of memory at 0x0: nothing is mapped/);
    await assert.rejects(device.readMemory(2n * MIB, 1), /nothing is mapped there/);
    await assert.rejects(
      device.writeMemory(2n * MIB - 1n, new Uint8Array(2)),
      /Cannot write 2 bytes of memory at 0x1fffff: the mapping is 0x100000-0x1fffff/,
    );
  });

  it("has no memory and no tracker without being asked", async () => {
    await using device = await openDevice("sim:mlx5");
    assert.deepEqual([device.dirty, device.description.mappings], [null, []]);
    await assert.rejects(device.readMemory(0n, 1), /nothing is mapped there/);
  });

  it("is not opened if the tracker does not exist", async () => {
    const kernel = new SimKernel("sim:trapped");
    const [device] = kernel.devices as unknown as [SimKernel["devices"][0]];
    await assert.rejects(
      openDevice(device.path, { kernel, maps: MAPS, tracker: "device" }),
      (error) => error instanceof UnsupportedError,
    );
    assert.deepEqual(kernel.openObjects, []);
  });
});

async function dirty(device: Device): Promise<bigint[]> {
  return [...(await device.dirty!.read()).ranges.flatMap(({ bitmap }) => [...bitmap.pages()])];
}

describe("memory of the caller", () => {
  it("is mapped from an fd at an offset, shared, and stays the caller's", () => {
    const kernel = new SimKernel("sim:mlx5");
    const fd = kernel.memfd("callers", 1 << 20);
    {
      const [{ path, dma }] = kernel.devices as unknown as [SimKernel["devices"][0]];
      using mapped = MappedDevice.open(path, {
        kernel,
        maps: [
          { iova: MIB, size: 0x2000n, fd, offset: 0x3000 },
          { iova: 2n * MIB, size: 0x1000n },
        ],
      });
      assert.deepEqual(mapped.mapped, [{ iova: 2n * MIB, size: 0x1000n, offset: 0 }]);
      assert.equal(mapped.memory!.size, 0x1000);
      dma.write(MIB + 0x1010n, new Uint8Array([7]));
      const byte = new Uint8Array(1);
      kernel.pread(fd, byte, 0x4010);
      assert.equal(byte[0], 7);
      mapped.contents.write(MIB, new Uint8Array([8]));
      kernel.pread(fd, byte, 0x3000);
      assert.equal(byte[0], 8);
    }
    kernel.pwrite(fd, STAMP, 0);
    kernel.close(fd);
    assert.deepEqual(kernel.openObjects, []);
  });

  it("is mapped by an address that the caller vouches for, and is not read", () => {
    const kernel = new SimKernel("sim:mlx5");
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    using memory = kernel.mmap(0x2000, { prot: PROT_READ | PROT_WRITE, flags });
    const [{ path, dma }] = kernel.devices as unknown as [SimKernel["devices"][0]];
    {
      using mapped = MappedDevice.open(path, {
        kernel,
        maps: [{ iova: MIB, size: 0x2000n, address: memory.address }],
      });
      assert.equal(mapped.memory, null);
      dma.write(MIB + 5n, new Uint8Array([7]));
      assert.throws(() => mapped.contents.read(MIB, STAMP), /only the memory's address is known/);
    }
    const byte = new Uint8Array(1);
    memory.read(5, byte);
    assert.equal(byte[0], 7);
  });

  it("is refused with both, and undone", () => {
    const kernel = new SimKernel("sim:mlx5");
    const [{ path }] = kernel.devices as unknown as [SimKernel["devices"][0]];
    const maps = [{ iova: MIB, size: 0x1000n, fd: 3, address: 0x1000n }];
    assert.throws(() => MappedDevice.open(path, { kernel, maps }), /its address, not both/);
    assert.deepEqual(kernel.openObjects, []);
  });
});
