import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  openCheckpointFile,
  openDevice,
  openDevices,
  probe,
  restore,
  VfiokitError,
} from "../../mod.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { ReplayError, replayTrace, Trace, type TraceKernel } from "../../src/trace/mod.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  vfioDeviceInfo,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import { openVfioDevice, parseDeviceName } from "../../src/vfio/mod.ts";
import { vfiokit } from "../cli/_cli.ts";
import { Folder } from "../cli/_folder.ts";
import { linesOf, recordedSave, saved, writeLines } from "./_recorded.ts";

/** The data of a checkpoint: how v2's is cut, and when it was written, depends on the thread. */
async function dataOf(path: string): Promise<Uint8Array> {
  const { decodeCheckpoint } = await import("../../src/checkpoint/mod.ts");
  await using source = await openCheckpointFile(path);
  const data: Uint8Array[] = [];
  for await (const part of source.stream().pipeThrough(decodeCheckpoint())) {
    data.push((part as { data: Uint8Array }).data.slice());
  }
  return new Uint8Array(Buffer.concat(data));
}

describe("replay:", () => {
  for (
    const spec of ["sim:mlx5?size=256KiB", "sim:trapped?size=256KiB", "sim:mapped?size=256KiB"]
  ) {
    it(`saves again what was saved, with the data: ${spec}`, async () => {
      using folder = new Folder();
      const { trace, checkpoint } = await recordedSave(folder, spec, { data: true });
      const again = folder.file("again.vfk");
      await saved(`replay:${trace}`, again);
      assert.deepEqual(await dataOf(again), await dataOf(checkpoint));
    });
  }

  it("saves again without the data, of the same length", async () => {
    using folder = new Folder();
    const { trace, checkpoint } = await recordedSave(folder, "sim:mlx5?size=256KiB");
    const again = folder.file("again.vfk");
    await saved(`replay:${trace}`, again);
    const data = await dataOf(again);
    assert.equal(data.length, (await dataOf(checkpoint)).length);
    assert.ok(data.every((byte) => byte === 0));
  });

  it("restores again, and sees that another state is given", async () => {
    using folder = new Folder();
    const { checkpoint } = await recordedSave(folder, "sim:mlx5?size=256KiB&seed=1");
    const path = folder.file("restore.trace");
    const into = async (name: string, from: string, trace?: Trace): Promise<void> => {
      await using source = await openCheckpointFile(from);
      await using device = await openDevice(name, { trace });
      await restore(device, source);
    };
    {
      using trace = Trace.create(path);
      await into("sim:mlx5?size=256KiB", checkpoint, trace);
    }
    await into(`replay:${path}`, checkpoint);
    const other = folder.file("other.vfk");
    await saved("sim:mlx5?size=256KiB&seed=2", other);
    await assert.rejects(into(`replay:${path}`, other), (error: Error) => {
      const cause = (error.cause ?? error) as ReplayError;
      assert.match(cause.message, /leaves the trace at call \d+ of thread 1: expected write\(/);
      return true;
    });
  });

  it("reports the call at which the replay differs, with both calls", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    {
      using trace = Trace.create(path);
      await using device = await openDevice("sim:mlx5", { trace });
      await device.state();
    }
    const calls = linesOf(path).filter((line) => line.includes('"type":"call"'));
    await using device = await openDevice(`replay:${path}`);
    assert.equal((await device.state()).state, "running");
    const expected = calls.findLastIndex((line) => line.includes("GET")) + 2;
    await assert.rejects(device.setState("stop"), (error) => {
      assert.ok(error instanceof ReplayError);
      assert.equal(error.code, "diverged");
      assert.equal(error.call, expected);
      assert.match(error.expected!, /^close\(5<device /);
      assert.match(error.actual!, /^VFIO_DEVICE_FEATURE\(5<device .*GET MIG_DEVICE_STATE\)$/);
      return true;
    });
  });

  it("reports a call of another size as another call, not as a bad trace", () => {
    using folder = new Folder();
    const path = folder.file("t");
    const name = parseDeviceName("sim:mlx5");
    const config = 7 * 2 ** 40;
    {
      using trace = Trace.create(path);
      const kernel = trace.kernel(new SimKernel("sim:mlx5"), "sim:mlx5", "0000:3b:00.1");
      using device = openVfioDevice(kernel, name);
      kernel.pread(device.fd.number, new Uint8Array(4), config);
      kernel.ioctl(device.fd.number, VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo.pack({}));
    }
    const replayed = (use: (kernel: TraceKernel, fd: number) => void): void => {
      const kernel = replayTrace(path, null);
      using device = openVfioDevice(kernel, parseDeviceName(`replay:${path}`));
      assert.throws(() => use(kernel, device.fd.number), (error) => {
        assert.ok(error instanceof ReplayError, String(error));
        assert.equal(error.code, "diverged");
        return true;
      });
    };
    replayed((kernel, fd) => kernel.pread(fd, new Uint8Array(2), config));
    replayed((kernel, fd) => {
      kernel.pread(fd, new Uint8Array(4), config);
      kernel.ioctl(fd, VFIO_DEVICE_GET_INFO, vfioDeviceInfo.pack({}));
    });
  });

  it("says that calls are left, or that there are no more", async () => {
    using folder = new Folder();
    const { trace } = await recordedSave(folder, "sim:mlx5?size=64KiB");
    const device = await openDevice(`replay:${trace}`);
    await assert.rejects(device.close(), { name: "ReplayError", code: "diverged" });
    const kernel = replayTrace(trace, null);
    assert.throws(() => kernel.end(), { name: "ReplayError", code: "calls-left" });
    assert.throws(() => replayTrace(trace, 7), { name: "TraceError", code: "order" });
  });

  it("replays one of several threads", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    const names = ["sim:mlx5", "sim:trapped"];
    {
      using trace = Trace.create(path, { devices: names });
      await using devices = await openDevices(names, { trace });
      for (const device of devices) await device.state();
    }
    const again = [`replay:${path}#1`, `replay:${path}#2`];
    await using devices = await openDevices(again);
    assert.deepEqual(devices.map(({ description }) => description.protocol), ["v2", "v1"]);
    for (const device of devices) assert.equal((await device.state()).state, "running");
  });

  it("replays a probe and a reading of dirty pages", () => {
    using folder = new Folder();
    const [probed, read] = [folder.file("probe"), folder.file("dirty")];
    const maps = [{ iova: 0x100000n, size: 1n << 20n }];
    const dirty = (name: string, trace?: Trace): unknown => {
      using session = DirtySession.open(name, { maps, trace });
      session.tracker.start();
      const { dirtyPages, pinnedPages } = session.tracker.read({ twice: true });
      return { dirtyPages, pinnedPages };
    };
    using first = Trace.create(probed);
    const report = probe("sim:mapped", { trace: first });
    first.close();
    assert.deepEqual(probe(`replay:${probed}`), { ...report, device: `replay:${probed}` });
    using second = Trace.create(read, { data: true });
    const reading = dirty("sim:trapped?pin=3", second);
    second.close();
    assert.deepEqual(reading, { dirtyPages: 3, pinnedPages: 3 });
    assert.deepEqual(dirty(`replay:${read}`), reading);
  });

  it("can be traced itself, and gives the same trace", async () => {
    using folder = new Folder();
    const { trace: path } = await recordedSave(folder, "sim:mlx5?size=64KiB", { data: true });
    const again = folder.file("again");
    {
      using trace = Trace.create(again, { data: true });
      await saved(`replay:${path}`, folder.file("again.vfk"), trace);
    }
    const timeless = (file: string): unknown[] =>
      linesOf(file).map((line) => JSON.parse(line)).filter(({ type }) => type === "call")
        .map((call) => ({ ...call, time: 0, duration: 0 }));
    assert.deepEqual(timeless(again), timeless(path));
  });

  it("ends in a documented error if the trace's answers are damaged", async () => {
    using folder = new Folder();
    const { trace } = await recordedSave(folder, "sim:mlx5?size=16KiB", { data: true });
    const lines = linesOf(trace);
    const path = folder.file("damaged");
    const values = fc.constantFrom<unknown>(null, -1, 1e15, "x", [], {}, [1e9, "y"], "0xzz", 7);
    const field = fc.constantFrom("result", "answer", "raw", "data", "errno", "error");
    await fc.assert(
      fc.asyncProperty(fc.nat(lines.length - 4), field, values, async (at, name, value) => {
        const damaged = lines.map((line, index) => {
          return index === at + 2 ? JSON.stringify({ ...JSON.parse(line), [name]: value }) : line;
        });
        writeLines(path, damaged);
        try {
          const kernel = replayTrace(path, null);
          await using device = await openDevice(`replay:${path}`, { kernel });
          await device.setState("pre-copy");
        } catch (error) {
          const first = error instanceof SuppressedError ? error.suppressed : error;
          assert.ok(
            first instanceof VfiokitError || first.message === String(value),
            String(first),
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  it("ends with exit code 1 if it leaves the trace, 4 if the trace is bad, 2 for a bad name", async () => {
    using folder = new Folder();
    const { trace } = await recordedSave(folder, "sim:mlx5?size=64KiB");
    const left = await vfiokit(["reset", `replay:${trace}`, "--json"]);
    assert.equal(left.code, 1, left.err);
    assert.match(left.err, /^vfiokit reset: The replay of .* leaves the trace at call \d+ /);
    assert.equal(JSON.parse(left.out).error.code, "diverged");
    writeLines(trace, linesOf(trace).slice(0, 20));
    const cut = await vfiokit(["state", `replay:${trace}`]);
    assert.equal(cut.code, 4, cut.err);
    assert.match(cut.err, /line 21: the trace ends here, without its last line/);
    assert.equal((await vfiokit(["state", "replay:"])).code, 2);
    const lent = await vfiokit(["with", `replay:${trace}`, "--", "true"]);
    assert.equal(lent.code, 2, lent.err);
  });
});
