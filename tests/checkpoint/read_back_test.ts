/** A save whose file changes, or cannot be kept, between its last byte and its name. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/checkpoint/checkpoint_error.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { CheckpointFile } from "../../src/checkpoint/file/checkpoint_file.ts";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { CheckpointFileError } from "../../src/checkpoint/file/file_error.ts";
import {
  ReadBackError,
  type ReadBackProgress,
  type ReadBackReport,
} from "../../src/checkpoint/read_back.ts";
import { save, type SaveOptions } from "../../src/transfer/save.ts";
import type { CheckpointSink } from "../../src/transfer/sinks_and_sources.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { type CheckpointSummary, verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

let folder = "";

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-read-back-");
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

const names = (): string[] => fs.readdirSync(folder).sort();
const target = (): string => `${folder}/a.vfk`;

/** The file under its temporary name. */
function partial(): string {
  const name = names().find((each) => each.endsWith(".partial"));
  assert.ok(name, names().join());
  return `${folder}/${name}`;
}

/** What can be put between a file and the save that writes it. */
interface Meddling {
  /** Called once all is written and synced. */
  readonly synced?: () => void | Promise<void>;
  /** Called when the reading back begins. */
  readonly reading?: () => void | Promise<void>;
  /** Takes the place of the stream. */
  readonly writable?: WritableStream<Bytes>;
}

/** A file as a sink that somebody meddles with. */
function meddled(file: CheckpointFile, { synced, reading, writable }: Meddling): CheckpointSink {
  const readBack = file.readBack!;
  return {
    path: file.path,
    fd: writable === undefined ? file.fd : undefined,
    writable: writable ?? file.writable,
    commit: () => file.commit(),
    abort: () => file.abort(),
    readBack: {
      async sync(): Promise<void> {
        await readBack.sync();
        await synced?.();
      },
      async run(moved, signal): Promise<CheckpointSummary> {
        await reading?.();
        return await readBack.run(moved, signal);
      },
      get progress(): ReadBackProgress | null {
        return readBack.progress;
      },
      get report(): ReadBackReport {
        return readBack.report;
      },
    },
  };
}

/** A way for a save to write: what it needs, and how it is done. */
interface Way {
  readonly name: string;
  open(): Promise<Device[]>;
  save(devices: readonly Device[], sink: CheckpointSink, options?: SaveOptions): Promise<{
    readonly readBack: ReadBackReport;
  }>;
}

const one: Way["save"] = (devices, sink, options) => save(devices[0]!, sink, options);

const WAYS: readonly Way[] = [
  {
    name: "a v1 device, by its own thread",
    open: async () => [await openDevice("sim:trapped?size=1MiB&chunk=64KiB")],
    save: one,
  },
  {
    name: "a v2 device, by its own thread, compressed and digested",
    open: async () => [await openDevice("sim:mlx5?size=1MiB")],
    save: (devices, sink, options) =>
      one(devices, sink, { ...options, compress: "zstd", digest: "sha256" }),
  },
  {
    name: "a v1 device, by streams",
    open: async () => {
      const kernel = new SimKernel("partitioned?size=1MiB&chunk=64KiB");
      return [await openDevice(kernel.devices[0]!.path, { kernel })];
    },
    save: one,
  },
  {
    name: "two devices at once",
    open: () => Promise.all([openDevice("sim:mlx5?size=1MiB"), openDevice("sim:mapped?size=1MiB")]),
    save: save,
  },
];

/** Runs a test with the devices of a way, and checks that they run in the end. */
async function withDevices(way: Way, test: (devices: Device[]) => Promise<void>): Promise<void> {
  const devices = await way.open();
  try {
    await test(devices);
    for (const device of devices) assert.equal((await device.state()).state, "running");
  } finally {
    for (const device of devices) await device.close();
  }
}

/** What a save fails with: its state is told, and the reading back is its cause. */
async function failure(work: Promise<unknown>): Promise<TransferError> {
  let failed: TransferError | null = null;
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof TransferError, String(error));
    failed = error;
    return true;
  });
  return failed!;
}

function overwrite(path: string, bytes: Uint8Array): void {
  const fd = fs.openSync(path, "r+");
  fs.ftruncateSync(fd);
  fs.writeSync(fd, bytes);
  fs.closeSync(fd);
}

function flip(path: string, at: number): void {
  const bytes = fs.readFileSync(path);
  bytes[at]! ^= 1;
  overwrite(path, bytes);
}

/** Ways to spoil a file, and what is found. */
const DAMAGES: readonly (readonly [what: string, spoil: () => void, found: RegExp])[] = [
  ["its first byte is changed", () => flip(partial(), 0), /its first bytes are not/],
  ["a byte of its header is changed", () => flip(partial(), 100), /CRC .*\(at byte \d+\)/],
  [
    "a byte in its midst is changed",
    () => flip(partial(), fs.statSync(partial()).size >> 1),
    /CRC/,
  ],
  ["its last byte is changed", () => flip(partial(), fs.statSync(partial()).size - 1), /CRC/],
  [
    "its last byte is missing",
    () => fs.truncateSync(partial(), fs.statSync(partial()).size - 1),
    /ends/,
  ],
  ["it is empty", () => fs.truncateSync(partial(), 0), /empty/],
  ["something is behind it", () => fs.appendFileSync(partial(), "x"), /after|behind|follow/],
  [
    "a stretch of it is zero, as of a page that was never written",
    () => {
      const bytes = fs.readFileSync(partial());
      bytes.fill(0, 8192, 12288);
      overwrite(partial(), bytes);
    },
    /CRC/,
  ],
  ["it is gone", () => fs.unlinkSync(partial()), /ENOENT/],
  [
    "another file has come in its place, though it is a good one",
    () => {
      const bytes = fs.readFileSync(partial());
      const path = partial();
      fs.unlinkSync(path);
      fs.writeFileSync(path, bytes);
    },
    /another file stands in the place of/,
  ],
  [
    "a fifo has come in its place",
    () => {
      const path = partial();
      fs.unlinkSync(path);
      execFileSync("mkfifo", [path]);
    },
    /another file stands in the place of/,
  ],
  [
    "a symbolic link to a good file has come in its place",
    () => {
      const path = partial();
      fs.renameSync(path, `${path}.moved`);
      fs.symlinkSync(`${path}.moved`, path);
    },
    /ELOOP/,
  ],
];

for (const way of WAYS) {
  describe(`a save of ${way.name}`, () => {
    it("is read back from the file, once the devices run and before it appears", async () => {
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target());
        const seen: string[] = [];
        const sink = meddled(file, {
          synced: async () => {
            for (const device of devices) seen.push((await device.state()).state);
          },
          reading: async () => {
            for (const device of devices) seen.push((await device.state()).state);
            assert.deepEqual(names(), [partial().slice(folder.length + 1)]);
            assert.equal(file.readBack!.progress, null);
          },
        });
        const { readBack } = await way.save(devices, sink);
        const stopped = seen.slice(0, devices.length);
        assert.ok(stopped.every((state) => state === "stop"), seen.join());
        assert.ok(seen.slice(devices.length).every((state) => state === "running"), seen.join());
        assert.equal(seen.length, 2 * devices.length);
        assert.equal(readBack.done, true);
        assert.equal(readBack.reason, null);
        assert.ok(readBack.seconds! > 0);
        const { size } = fs.statSync(target());
        assert.deepEqual(file.readBack!.progress, { bytes: size, total: size });
        assert.deepEqual(names(), ["a.vfk"]);
        await using source = await openCheckpointFile(target());
        await verifyCheckpoint(source.stream());
      });
    });

    for (const [what, spoil, found] of DAMAGES) {
      it(`leaves no file if ${what}, and says what was found`, async () => {
        await withDevices(way, async (devices) => {
          await using file = await createCheckpointFile(target());
          const error = await failure(
            way.save(devices, meddled(file, { synced: spoil })),
          );
          assert.equal(error.code, "read-back");
          assert.match(error.message, found);
          assert.match(error.message, /^Cannot save (the device|2 devices): Cannot read back ".*"/);
          assert.match(error.message, /no file was left; (the device is|all of them are) running$/);
          assert.match(error.hint!.text, /save again/);
          assert.ok(error.cause instanceof ReadBackError);
          const { done, seconds, reason } = file.readBack!.report;
          assert.deepEqual([done, reason], [false, "bad"]);
          assert.ok(seconds! >= 0);
          assert.deepEqual(names().filter((name) => !name.endsWith(".moved")), []);
        });
      });
    }

    it("leaves no file if another checkpoint is in it, whole and of the same kind", async () => {
      await withDevices(way, async (devices) => {
        const others = await way.open();
        {
          await using file = await createCheckpointFile(`${folder}/other`);
          // One that has pre-copy in it: more was read than of a device that is stopped at once.
          await way.save(others, file, { precopy: {} });
        }
        for (const other of others) await other.close();
        const good = fs.readFileSync(`${folder}/other`);
        await using file = await createCheckpointFile(target());
        const error = await failure(
          way.save(devices, meddled(file, { synced: () => overwrite(partial(), good) })),
        );
        assert.equal(error.code, "read-back");
        assert.match(
          error.message,
          /it has \d+ bytes in \d+ transactions of device \d, which gave/,
        );
        assert.deepEqual(names(), ["other"]);
      });
    });

    it("keeps a bad file if it was asked not to read it back", async () => {
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target());
        const sink = meddled(file, { reading: () => assert.fail("it was read back") });
        const { readBack } = await way.save(devices, sink, { readBack: false });
        assert.deepEqual(readBack, { done: false, seconds: null, reason: "not-wanted" });
        assert.deepEqual(names(), ["a.vfk"]);
      });
    });

    it("leaves the old file untouched if the new one is bad", async () => {
      fs.writeFileSync(target(), "precious");
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target(), { force: true });
        const spoil = (): void => flip(partial(), 100);
        const error = await failure(way.save(devices, meddled(file, { synced: spoil })));
        assert.match(error.message, /removed, and the file that was there is as it was;/);
        assert.deepEqual(names(), ["a.vfk"]);
        assert.equal(fs.readFileSync(target(), "utf8"), "precious");
      });
    });

    it("leaves no file at a signal before the reading back, and in its midst", async () => {
      for (const chunks of [0, 1]) {
        await withDevices(way, async (devices) => {
          await using file = await createCheckpointFile(target());
          const controller = new AbortController();
          const { signal } = controller;
          let looks = -1;
          const sink = meddled(file, { reading: () => void (looks = 0) });
          // Each look at the signal while the file is read is one at a chunk.
          const { throwIfAborted } = signal;
          signal.throwIfAborted = () => {
            if (looks >= 0 && looks++ === chunks) controller.abort(new Error("enough"));
            throwIfAborted.call(signal);
          };
          const error = await failure(way.save(devices, sink, { signal }));
          assert.equal(error.code, "cancelled");
          assert.match(
            error.message,
            /Cannot read back ".*": interrupted; the temporary file was removed, no file was left;/,
          );
          assert.equal(file.readBack!.report.reason, "interrupted");
          assert.deepEqual(names(), []);
        });
      }
    });

    it("leaves no file if one of that name has appeared in between", async () => {
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target());
        const sink = meddled(file, { synced: () => fs.writeFileSync(target(), "theirs") });
        const error = await failure(way.save(devices, sink));
        assert.equal(error.errno, "EEXIST");
        assert.match(error.message, /EEXIST .*; the temporary file was removed; .* running$/);
        assert.match(error.hint!.text, /another name/);
        assert.deepEqual(names(), ["a.vfk"]);
        assert.equal(fs.readFileSync(target(), "utf8"), "theirs");
        assert.equal(file.readBack!.report.done, true);
      });
    });

    it("leaves no file if it cannot be renamed", async () => {
      fs.writeFileSync(target(), "old");
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target(), { force: true });
        const { rename } = fs.promises;
        fs.promises.rename = () =>
          Promise.reject(Object.assign(new Error("no"), { code: "EDQUOT" }));
        try {
          const error = await failure(way.save(devices, file));
          assert.equal(error.errno, "EDQUOT");
          assert.match(error.message, /EDQUOT.*; the temporary file was removed; .* running$/);
        } finally {
          fs.promises.rename = rename;
        }
        assert.deepEqual(names(), ["a.vfk"]);
        assert.equal(fs.readFileSync(target(), "utf8"), "old");
      });
    });

    it("brings the devices back, and leaves no file, if the disk is full at the sync", async () => {
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile(target());
        const full = new CheckpointFileError("Cannot write: ENOSPC", {
          path: target(),
          code: "ENOSPC",
        });
        const error = await failure(
          way.save(devices, meddled(file, { synced: () => Promise.reject(full) })),
        );
        assert.equal(error.errno, "ENOSPC");
        assert.match(error.message, /running again$/);
        assert.equal(file.readBack!.report.reason, "not-reached");
        assert.deepEqual(names(), []);
      });
    });

    it("reports a sink that has nothing to read back", async () => {
      await withDevices(way, async (devices) => {
        await using file = await createCheckpointFile("/dev/null");
        assert.equal(file.readBack, undefined);
        const { readBack } = await way.save(devices, file);
        assert.deepEqual(readBack, { done: false, seconds: null, reason: "not-a-file" });
      });
    });
  });
}

describe("a sink that writes something else than it was given", () => {
  for (
    const [what, lie] of [
      ["drops a byte", (chunk: Bytes): Bytes => chunk.subarray(0, -1)],
      ["drops its second half", (chunk: Bytes): Bytes => chunk.subarray(0, chunk.length >> 1)],
      ["drops all", (): Bytes => new Uint8Array(0)],
      ["writes zeros in place", (chunk: Bytes): Bytes => new Uint8Array(chunk.length)],
      ["repeats a byte", (chunk: Bytes): Bytes => new Uint8Array([chunk[0]!, ...chunk])],
    ] as const
  ) {
    it(`leaves no file if it ${what} of one chunk, whichever`, async () => {
      const kernel = new SimKernel("trapped?size=192KiB&chunk=64KiB");
      await using device = await openDevice(kernel.devices[0]!.path, { kernel });
      let chunks = 1;
      for (let chunk = 0; chunk < chunks; chunk += 1) {
        await using file = await createCheckpointFile(target());
        let count = 0;
        const writable = new WritableStream<Bytes>({
          write: (bytes) => file.write(count++ === chunk ? new Uint8Array(lie(bytes)) : bytes),
        });
        const error = await failure(save(device, meddled(file, { writable })));
        assert.equal(error.code, "read-back");
        assert.deepEqual(names(), []);
        chunks = count;
      }
      assert.ok(chunks > 3, `${chunks} chunks`);
    });
  }
});

describe("any one bit that changes between writing and reading back", () => {
  it("is found, and no file is left", async () => {
    const kernel = new SimKernel("nvidia-vgpu?size=16KiB&chunk=4KiB");
    await using device = await openDevice(kernel.devices[0]!.path, { kernel });
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat({ max: 7 }),
        fc.constantFrom(undefined, "zstd" as const),
        async (where, bit, compress) => {
          await using file = await createCheckpointFile(target());
          const synced = (): void => {
            const bytes = fs.readFileSync(partial());
            bytes[where % bytes.length]! ^= 1 << bit;
            overwrite(partial(), bytes);
          };
          const error = await failure(save(device, meddled(file, { synced }), { compress }));
          assert.equal(error.code, "read-back");
          assert.ok(error.cause instanceof ReadBackError);
          assert.ok(error.cause.cause instanceof CheckpointError);
          assert.deepEqual(names(), []);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("a device that does not run again", () => {
  const REFUSING = "trapped?size=64KiB&fault=transition:3:EBUSY&fault=transition:4:EBUSY";

  it("has its checkpoint in its place all the same, read back", async () => {
    await using device = await openDevice(`sim:${REFUSING}`);
    await using file = await createCheckpointFile(target());
    const error = await failure(save(device, file));
    assert.equal(error.code, "transition-refused");
    assert.match(error.message, /^Cannot let the device run again, though the checkpoint is in /);
    assert.match(error.hint!.text, /try again/);
    assert.equal(file.readBack!.report.done, true);
    assert.deepEqual(names(), ["a.vfk"]);
    assert.equal((await device.state()).state, "stop");
  });

  it("is left as it is if the file is bad, too: it has the only copy", async () => {
    await using device = await openDevice(`sim:${REFUSING}`);
    await using file = await createCheckpointFile(target());
    const spoil = (): void => flip(partial(), 100);
    const error = await failure(save(device, meddled(file, { synced: spoil })));
    assert.match(
      error.message,
      /^Cannot let the device run again, and there is no checkpoint \(Cannot read back .*\): /,
    );
    assert.match(error.hint!.text, /a reset would lose it: set it to RUNNING, and save again/);
    assert.deepEqual(names(), []);
    assert.equal((await device.state()).state, "stop");
    // As the hint says: the driver takes the third try.
    await device.setState("running");
    await using again = await createCheckpointFile(target());
    assert.equal((await save(device, again)).readBack.done, true);
  });

  it("is reported among several, with or without a checkpoint", async () => {
    for (const bad of [false, true]) {
      const devices = await Promise.all([openDevice(`sim:${REFUSING}`), openDevice("sim:mlx5")]);
      try {
        await using file = await createCheckpointFile(target());
        const synced = (): void => {
          if (bad) flip(partial(), 100);
        };
        const error = await failure(save(devices, meddled(file, { synced })));
        assert.match(
          error.message,
          bad
            ? /^Cannot let all devices run again, and there is no checkpoint \(Cannot read back/
            : /^Cannot let all devices run again, though the checkpoint is in its place/,
        );
        assert.equal(/a reset would lose it/.test(error.hint!.text), bad);
        assert.deepEqual(names(), bad ? [] : ["a.vfk"]);
        fs.rmSync(target(), { force: true });
        const states = await Promise.all(devices.map((device) => device.state()));
        assert.deepEqual(states.map(({ state }) => state), ["stop", "running"]);
      } finally {
        for (const device of devices) await device.close();
      }
    }
  });
});

describe("a device that is left stopped", () => {
  it("stays so if the file is bad, and if the reading back is interrupted", async () => {
    for (const why of ["read-back", "cancelled"]) {
      await using device = await openDevice("sim:trapped?size=64KiB");
      await using file = await createCheckpointFile(target());
      const controller = new AbortController();
      const synced = (): void => {
        if (why === "cancelled") controller.abort(new Error("enough"));
        else flip(partial(), 100);
      };
      const error = await failure(
        save(device, meddled(file, { synced }), { leave: "stop", signal: controller.signal }),
      );
      assert.equal(error.code, why);
      assert.match(error.message, /no file was left; the device's state is stop$/);
      assert.deepEqual(names(), []);
      assert.equal((await device.state()).state, "stop");
    }
  });

  it("stays so among several, and no reset is advised", async () => {
    const devices = await Promise.all([openDevice("sim:trapped"), openDevice("sim:mlx5")]);
    try {
      await using file = await createCheckpointFile(target());
      const sink = meddled(file, { synced: () => flip(partial(), 100) });
      const error = await failure(save(devices, sink, { leave: "stop" }));
      assert.equal(error.code, "read-back");
      assert.doesNotMatch(error.hint?.text ?? "", /reset/);
      for (const device of devices) assert.equal((await device.state()).state, "stop");
    } finally {
      for (const device of devices) await device.close();
    }
  });
});
