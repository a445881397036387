import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import {
  CheckpointChain,
  type Connection,
  LiveError,
  migrate,
  type Owner,
} from "../../src/live/mod.ts";
import type { Device } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { IovaMapping } from "../../src/vfio/mod.ts";
import { restored } from "./chain/_chain.ts";
import {
  assertSameMemory,
  MIB,
  migrateTo,
  openSim,
  socketPair,
  succeeded,
  withFolder,
} from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 256n * 1024n }, { iova: 64n * MIB, size: 64n * 1024n }];

/** The device breaks as it leaves the state in which it is saved, and no reset brings it back. */
const STAYS_STOPPED = "fault=error-state:4&fault=reset-ignored:always";
const NOT_RUNNING = /the driver stayed in error/;

/** An owner that writes, and says where; it notes what it is asked. */
class WritingOwner implements Owner {
  readonly asked: string[] = [];
  readonly #device: Device;
  readonly #runs: () => boolean;
  #written: IovaMapping[] = [];
  #quiet = false;

  constructor(device: Device, runs: () => boolean) {
    this.#device = device;
    this.#runs = runs;
  }

  async write(iova: bigint): Promise<void> {
    assert.equal(this.#quiet, false);
    this.#written.push({ iova, size: 5n });
    await this.#device.writeMemory(iova, new TextEncoder().encode("owner"));
  }

  async quiesce(): Promise<void> {
    this.asked.push(`quiesce ${this.#runs()}`);
    // The last write, late.
    await this.write(MIB + 50n * 4096n);
    this.#quiet = true;
  }

  resume(): Promise<void> {
    this.asked.push(`resume ${this.#runs()}`);
    this.#quiet = false;
    return Promise.resolve();
  }

  dirty(number: number): Promise<readonly IovaMapping[]> {
    this.asked.push(`dirty ${number}`);
    return Promise.resolve(this.#written.splice(0));
  }
}

/** Moves a device, and gives up once it stands still. */
async function givenUpWhenStopped(
  folder: string,
  device: Device,
  owner: Owner,
): Promise<PromiseSettledResult<unknown>> {
  const ending = new AbortController();
  const { source } = await migrateTo(folder, [device], new SimKernel("sim:mlx5?size=64KiB"), {
    source: {
      downtimeMs: 60_000,
      owner,
      signal: ending.signal,
      onProgress: ({ phase }) => {
        if (phase === "stopped") ending.abort(new Error("enough"));
      },
    },
  });
  return source;
}

describe("the owner of a device that moves", () => {
  it("reports what it writes in each round, and is quiet while the device stops", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB&dma=random:500/s", MAPS);
      const target = new SimKernel("sim:mlx5?size=64KiB");
      await using device = from.device;
      const owner = new WritingOwner(device, () => from.kernel.devices[0]!.running);
      let writes = 0;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: {
          downtimeMs: 60_000,
          owner,
          ownerWrites: "reported",
          onProgress: ({ phase }) => {
            // Across the border of two pages.
            if (phase === "pre-copy") void owner.write(MIB + BigInt(++writes) * 12_288n - 2n);
          },
        },
      });
      await using _ = succeeded(destination).devices;
      const report = succeeded(source);
      assert.ok(writes >= 2);
      await assertSameMemory(device, (succeeded(destination)).devices[0]!);
      assert.deepEqual(owner.asked.filter((what) => !what.startsWith("dirty")), ["quiesce true"]);
      assert.deepEqual(owner.asked.slice(-2), ["quiesce true", "dirty 0"]);
      assert.deepEqual(report.downtime.map(({ step }) => step), [
        ...["quiesce", "stop", "memory", "device data", "commit"],
      ]);
    });
  });

  it("goes on if the migration fails after that, and the device runs", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      await using device = from.device;
      const owner = new WritingOwner(device, () => from.kernel.devices[0]!.running);
      const source = await givenUpWhenStopped(folder, device, owner);
      assert.ok(source.status === "rejected");
      assert.deepEqual(owner.asked, ["quiesce true", "resume true"]);
    });
  });

  it("goes on if the migration ends while it becomes quiet, or the stop is refused", async () => {
    const aborted = new AbortController();
    let peer: Connection | null = null;
    for (
      const [spec, late, options, message] of [
        [
          "mlx5",
          () => aborted.abort(new Error("enough")),
          { signal: aborted.signal },
          /interrupted/,
        ],
        ["mlx5", () => peer!.close(), {}, /The connection to unix:/],
        ["mlx5&fault=transition:2:EIO", () => {}, {}, /EIO/],
      ] as const
    ) {
      await withFolder(async (folder) => {
        const from = await openSim(spec.replace(/&|$/, "?size=64KiB$&"), MAPS);
        await using device = from.device;
        const owner = new WritingOwner(device, () => from.kernel.devices[0]!.running);
        const quiesce = owner.quiesce.bind(owner);
        owner.quiesce = async (): Promise<void> => {
          await quiesce();
          late();
        };
        const { source } = await migrateTo(folder, [device], new SimKernel("sim:mlx5?size=64KiB"), {
          source: { downtimeMs: 60_000, owner, ...options },
          ends: async (folder) => {
            const both = await socketPair(folder);
            peer = both[1];
            return both;
          },
        });
        assert.ok(source.status === "rejected");
        assert.match(source.reason.message, message);
        assert.deepEqual(owner.asked, ["quiesce true", "resume true"]);
      });
    }
  });

  it("does not go on if the device does not run again", async () => {
    await withFolder(async (folder) => {
      const from = await openSim(`mlx5?size=64KiB&${STAYS_STOPPED}`, MAPS);
      await using device = from.device;
      const owner = new WritingOwner(device, () => from.kernel.devices[0]!.running);
      const source = await givenUpWhenStopped(folder, device, owner);
      assert.ok(source.status === "rejected");
      assert.equal(from.kernel.devices[0]!.running, false);
      assert.match(source.reason.message, NOT_RUNNING);
      assert.deepEqual(owner.asked, ["quiesce true"]);
    });
  });

  it("goes on with those of several devices that run again", async () => {
    await withFolder(async (folder) => {
      const specs = [`mlx5?size=64KiB&${STAYS_STOPPED}`, "mlx5?size=64KiB"] as const;
      const kernel = new SimKernel(...specs);
      await using devices = await openDevices(kernel.devices.map(({ path }) => path), {
        kernel,
        maps: MAPS,
      });
      const ending = new AbortController();
      const resumed: (readonly number[])[] = [];
      const target = new SimKernel("mlx5?size=64KiB", "mlx5?size=64KiB");
      const { source } = await migrateTo(folder, devices, target, {
        source: {
          downtimeMs: 60_000,
          owner: {
            quiesce: () => Promise.resolve(),
            resume: (numbers) => Promise.resolve(void resumed.push(numbers)),
          },
          signal: ending.signal,
          onProgress: ({ phase }) => {
            if (phase === "stopped") ending.abort(new Error("enough"));
          },
        },
      });
      assert.ok(source.status === "rejected");
      assert.deepEqual(kernel.devices.map(({ running }) => running), [false, true]);
      assert.deepEqual(resumed, [[1]]);
    });
  });

  it("ends the migration if it cannot become quiet, or reports what is not its memory", async () => {
    for (
      const [broken, message] of [
        [{ quiesce: () => Promise.reject(new Error("still busy")) }, /still busy; the device is r/],
        [
          { dirty: () => Promise.resolve([{ iova: 1n, size: 1n }]) },
          /Cannot send 0x1-0x1: not all of it is mapped; the device is running/,
        ],
      ] as const
    ) {
      await withFolder(async (folder) => {
        const from = await openSim("mlx5?size=64KiB", MAPS);
        await using device = from.device;
        const owner: Owner = {
          quiesce: () => Promise.resolve(),
          resume: () => Promise.resolve(),
          dirty: () => Promise.resolve([]),
          ...broken,
        };
        const target = new SimKernel("sim:mlx5?size=64KiB");
        const { source, destination } = await migrateTo(folder, [device], target, {
          source: { downtimeMs: 60_000, owner, ownerWrites: "reported" },
        });
        assert.ok(source.status === "rejected" && destination.status === "rejected");
        assert.ok(source.reason instanceof TransferError);
        assert.match(source.reason.message, message);
        assert.equal(from.kernel.devices[0]!.running, true);
        assert.equal(target.devices[0]!.running, false);
      });
    }
  });

  it("refuses at the destination, and the source runs on", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      await using device = from.device;
      const target = new SimKernel("sim:mlx5?size=64KiB");
      let running: boolean | null = null;
      const { source, destination } = await migrateTo(folder, [device], target, {
        source: { downtimeMs: 60_000 },
        destination: {
          onTaken: () => {
            running = from.kernel.devices[0]!.running;
            throw new LiveError("owner-lost", "the owner is gone");
          },
        },
      });
      assert.equal(running, false);
      assert.ok(source.status === "rejected" && destination.status === "rejected");
      assert.equal((source.reason as TransferError).code, "peer-refused");
      assert.match(source.reason.message, /the owner is gone/);
      assert.equal((destination.reason as TransferError).code, "owner-lost");
      assert.equal((destination.reason as TransferError).devices[0]!.recovery, "reset");
      assert.equal(from.kernel.devices[0]!.running, true);
    });
  });

  it("throttles the device until what is left fits, or fails once it cannot any more", async () => {
    for (const enough of [3, Infinity]) {
      await withFolder(async (folder) => {
        const from = await openSim("mlx5?size=4KiB", MAPS, "auto");
        await using device = from.device;
        let throttled = 0;
        const owner: Owner = {
          quiesce: () => Promise.resolve(),
          resume: () => Promise.resolve(),
          // It writes all the while, until it was throttled enough.
          dirty: () => Promise.resolve(throttled >= enough ? [] : [{ iova: MIB, size: 4096n }]),
          throttle: () => Promise.resolve(throttled++ < 4),
        };
        const target = new SimKernel("sim:mlx5?size=4KiB");
        const { source, destination } = await migrateTo(folder, [device], target, {
          source: {
            ...{ downtimeMs: 0, maxRounds: 2, onNoConverge: "throttle" },
            ...{ owner, ownerWrites: "reported" },
          },
        });
        if (enough === 3) {
          await using _ = succeeded(destination).devices;
          assert.equal(succeeded(source).rounds.length, 5);
          assert.equal(throttled, 3);
        } else {
          assert.ok(source.status === "rejected");
          assert.equal((source.reason as TransferError).code, "no-convergence");
          assert.equal(throttled, 5);
          assert.equal(from.kernel.devices[0]!.running, true);
        }
      });
    }
  });

  it("is refused if it does not offer what is asked of it, before there is a journal", async () => {
    await withFolder(async (folder) => {
      const from = await openSim("mlx5?size=64KiB", MAPS);
      await using device = from.device;
      for (
        const [options, message] of [
          [{ ownerWrites: "reported" }, /it reports nothing/],
          [{ onNoConverge: "throttle" }, /does not offer that/],
        ] as const
      ) {
        const unused = (): never => assert.fail("the connection was used");
        const connection = { name: "nobody", read: unused, write: unused, close: unused };
        const journal = `${folder}/journal`;
        await assert.rejects(migrate([device], connection, { journal, ...options }), message);
        assert.equal(fs.existsSync(journal), false);
      }
    });
  });
});

describe("the owner of a device whose checkpoints are taken", () => {
  it("is quiet during each stop, and reports what it writes between and during them", async () => {
    await withFolder(async (folder) => {
      const { kernel, device } = await openSim("mlx5?size=64KiB", MAPS);
      await using _ = device;
      const owner = new WritingOwner(device, () => kernel.devices[0]!.running);
      await using chain = new CheckpointChain(device, folder, { owner, ownerWrites: "reported" });
      const states: Uint8Array[] = [];
      for (let number = 0; number < 3; number++) {
        await owner.write(MIB + BigInt(number) * 8192n);
        const { stop, bytes } = await chain.take();
        assert.equal(stop[0]!.step, "quiesce");
        if (number > 0) assert.equal(bytes.memory, 4096);
        states.push(await device.readMemory(MIB, 256 * 1024));
      }
      assert.deepEqual(owner.asked.filter((what) => !what.startsWith("dirty")), [
        ...["quiesce true", "resume true", "quiesce true", "resume true"],
        ...["quiesce true", "resume true"],
      ]);
      for (const [number, memory] of states.entries()) {
        const content = await restored(folder, "mlx5?size=64KiB", number);
        assert.deepEqual(content.memory[0], memory);
      }
    });
  });

  it("does not go on if the device does not run again", async () => {
    await withFolder(async (folder) => {
      const { kernel, device } = await openSim(`mlx5?size=64KiB&${STAYS_STOPPED}`, MAPS);
      await using _ = device;
      const owner = new WritingOwner(device, () => kernel.devices[0]!.running);
      await using chain = new CheckpointChain(device, folder, { owner });
      await assert.rejects(chain.take(), NOT_RUNNING);
      assert.equal(kernel.devices[0]!.running, false);
      assert.deepEqual(owner.asked, ["quiesce true"]);
    });
  });
});
