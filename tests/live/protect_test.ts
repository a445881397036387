import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ProtectedMemory, type ProtectedRange, WriteProtection } from "../../src/dirty/mod.ts";
import {
  libcKernel,
  MAP_SHARED,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/mod.ts";
import {
  CheckpointChain,
  migrate,
  type Owner,
  restoreChain,
  verifyChain,
} from "../../src/live/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { NO_WRITE_PROTECTION } from "../_write_protection.ts";
import {
  assertSameMemory,
  MIB,
  migrateTo,
  openSim,
  type SimSide,
  succeeded,
  withFolder,
} from "./_pair.ts";

const SIZE = 256 * 1024;

/** The owner's memory, as the simulated kernel knows it. */
const FD = 1_000_000;
const MAPS = [{ iova: MIB, size: BigInt(SIZE), fd: FD }];

/** A program that has memory of its own, of which only this mapping is write-protected. */
class ProtectingOwner implements Owner, Disposable {
  readonly #fd: number = libcKernel().memfd("owner", SIZE);
  readonly memory: Mapping = this.map();
  /** What the device, and vfiokit, reach it through. */
  readonly #others: Mapping = this.map();
  readonly #protection = WriteProtection.begin(this.#ranges());
  protected: ProtectedMemory = this.#protection;
  writes = 0;
  quiet = false;

  map(): Mapping {
    const options = { fd: this.#fd, prot: PROT_READ | PROT_WRITE, flags: MAP_SHARED };
    return libcKernel().mmap(SIZE, options);
  }

  #ranges(): ProtectedRange[] {
    return [{ iova: MIB, size: BigInt(SIZE), address: this.memory.address }];
  }

  /** Opens a simulated device with this memory. */
  open(spec: string): Promise<SimSide> {
    return openSim(spec, MAPS, "auto", (kernel) => {
      const { mmap, pread } = kernel;
      kernel.mmap = (length, options) =>
        options.fd === FD
          ? kernel.mapOutside(length, this.#others)
          : mmap.call(kernel, length, options);
      kernel.pread = (fd, into, offset) =>
        fd === FD ? Number(offset < SIZE) : pread.call(kernel, fd, into, offset);
      return kernel;
    });
  }

  /** Writes to a page, another each time, or through another mapping. */
  write(through: Mapping = this.memory): void {
    assert.equal(this.quiet, false);
    this.writes += 1;
    const text = new TextEncoder().encode(`write ${this.writes}`);
    through.write(this.writes * 7 % 64 * 4096 + 100, text);
  }

  quiesce(): Promise<void> {
    // The last write, late.
    this.write();
    this.quiet = true;
    return Promise.resolve();
  }

  resume(): Promise<void> {
    this.quiet = false;
    return Promise.resolve();
  }

  protectedMemory(): ProtectedMemory {
    return this.protected;
  }

  [Symbol.dispose](): void {
    this.#protection[Symbol.dispose]();
    this.memory.close();
    this.#others.close();
    libcKernel().close(this.#fd);
  }
}

describe("an owner that write-protects its memory", { skip: NO_WRITE_PROTECTION }, () => {
  it("has what it writes in each round moved, and the device's writes with it", async () => {
    await withFolder(async (folder) => {
      using owner = new ProtectingOwner();
      const { device } = await owner.open("mlx5?size=64KiB&dma=random:500/s");
      await using _ = device;
      owner.write();
      let rounds = 0;
      const { source, destination } = await migrateTo(
        folder,
        [device],
        new SimKernel("sim:mlx5?size=64KiB"),
        {
          source: {
            ...{ downtimeMs: 0, maxRounds: 4, onNoConverge: "stop" },
            ...{ owner, ownerWrites: "protect", verifyMemory: true },
            onProgress: ({ phase, rounds: done }) => {
              if (phase !== "pre-copy" || done.length < rounds) return;
              rounds = done.length + 1;
              owner.write();
            },
          },
        },
      );
      await using devices = succeeded(destination).devices;
      const report = succeeded(source);
      assert.ok(rounds >= 3 && owner.writes > rounds, `${rounds}`);
      await assertSameMemory(device, devices[0]!);
      // All was not looked at again after the stop.
      const { memory, zero, same } = report.bytes;
      assert.ok(memory + zero + same < 2 * SIZE + report.rounds.length * 64 * 1024);
    });
  });

  it("is found out by comparing memory if it writes through another mapping", async () => {
    await withFolder(async (folder) => {
      using owner = new ProtectingOwner();
      using other = owner.map();
      const { device, kernel } = await owner.open("mlx5?size=64KiB");
      await using _ = device;
      let late = false;
      const { source, destination } = await migrateTo(
        folder,
        [device],
        new SimKernel("sim:mlx5?size=64KiB"),
        {
          source: {
            ...{ downtimeMs: 60_000, owner, ownerWrites: "protect", verifyMemory: true },
            onProgress: ({ rounds }) => {
              if (rounds.length !== 1 || late) return;
              late = true;
              owner.write(other);
            },
          },
        },
      );
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.equal((destination.reason as TransferError).code, "memory-differs");
      assert.match(source.reason.message, /Memory differs from the source's in 1 pages: 0x107000/);
      assert.equal(kernel.devices[0]!.running, true);
      assert.equal(owner.quiet, false);
    });
  });

  it("has what it writes between checkpoints, and during them, in the next", async () => {
    await withFolder(async (folder) => {
      using owner = new ProtectingOwner();
      const { device } = await owner.open("mlx5?size=64KiB");
      await using _ = device;
      await using chain = new CheckpointChain(device, folder, { owner, ownerWrites: "protect" });
      const states: Uint8Array[] = [];
      for (let number = 0; number < 3; number++) {
        owner.write();
        const { bytes } = await chain.take();
        // One page before, and one as it became quiet.
        if (number > 0) assert.equal(bytes.memory, 2 * 4096);
        states.push(await device.readMemory(MIB, SIZE));
      }
      for (const [number, memory] of states.entries()) {
        const verified = await verifyChain(folder, { number });
        const { device } = await openSim("mlx5?size=64KiB", verified.memory[0]!.ranges);
        await using _ = device;
        await restoreChain(device, verified);
        assert.deepEqual(await device.readMemory(MIB, SIZE), memory);
      }
    });
  });

  it("is refused before anything is touched if its memory is not protected", async () => {
    await withFolder(async (folder) => {
      using owner = new ProtectingOwner();
      using other = owner.map();
      const { device, kernel } = await owner.open("mlx5?size=64KiB");
      await using _ = device;
      const [range] = owner.protected.ranges as readonly [ProtectedRange];
      for (
        const [ranges, message] of [
          [[], /0x100000-0x13ffff: it is not known where that is mapped; the device is running/],
          [[{ ...range, address: other.address }], /not mapped, or not protected/],
        ] as const
      ) {
        owner.protected = { pagemap: owner.protected.pagemap, ranges };
        const unused = (): never => assert.fail("the connection was used");
        const connection = { name: "nobody", read: unused, write: unused, close: () => {} };
        await assert.rejects(
          migrate([device], connection, {
            ...{ journal: `${folder}/journal`, owner, ownerWrites: "protect" },
          }),
          (error) => {
            assert.ok(error instanceof TransferError);
            assert.equal(error.code, "owner-protocol");
            assert.match(error.message, message);
            return true;
          },
        );
      }
      assert.equal(kernel.devices[0]!.running, true);
    });
  });

  it("ends the migration if its memory is protected no more", async () => {
    await withFolder(async (folder) => {
      using owner = new ProtectingOwner();
      const { device, kernel } = await owner.open("mlx5?size=64KiB");
      await using _ = device;
      const { source, destination } = await migrateTo(
        folder,
        [device],
        new SimKernel("sim:mlx5?size=64KiB"),
        {
          source: {
            ...{ downtimeMs: 60_000, owner, ownerWrites: "protect" },
            onProgress: ({ rounds }) => {
              if (rounds.length !== 1) return;
              owner.memory.close();
              owner.quiesce = () => Promise.resolve();
            },
          },
        },
      );
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.equal((source.reason as TransferError).code, "owner-protocol");
      // Other memory of this process may be there by now.
      assert.match(source.reason.message, /not mapped, or not protected|not registered/);
      assert.equal(kernel.devices[0]!.running, true);
    });
  });
});

describe("an owner that is to write-protect its memory, and does not", () => {
  it("is refused", async () => {
    await withFolder(async (folder) => {
      const { device } = await openSim("mlx5?size=64KiB", [{ iova: MIB, size: MIB }]);
      await using _ = device;
      const options = { journal: `${folder}/journal`, ownerWrites: "protect" } as const;
      const unused = (): never => assert.fail("the connection was used");
      const connection = { name: "nobody", read: unused, write: unused, close: unused };
      await assert.rejects(migrate([device], connection, options), /it protects nothing/);
      assert.throws(() => new CheckpointChain(device, folder, options), /it protects nothing/);
    });
  });
});
