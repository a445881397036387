import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import {
  openDevice,
  openDevices,
  probe,
  resume,
  save,
  stopAndCopy,
  type Transaction,
  VERSION,
} from "../../mod.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import type { Kernel } from "../../src/kernel/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import {
  type BegunCall,
  formatCall,
  MemoryTrace,
  readTrace,
  Trace,
  type TraceEnd,
  type TraceEvent,
  TraceFileError,
  type TraceHeader,
  TraceKernel,
  type TraceThread,
} from "../../src/trace/mod.ts";
import { VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU } from "../../src/uapi/mod.ts";
import { command } from "../cli/_cli.ts";
import { Folder } from "../cli/_folder.ts";

type Line = TraceHeader | TraceThread | TraceEvent | BegunCall | TraceEnd;

function lines(path: string): Line[] {
  const text = fs.readFileSync(path, "utf8");
  assert.equal(text.at(-1), "\n");
  return text.trimEnd().split("\n").map((line) => JSON.parse(line) as Line);
}

function calls(path: string): TraceEvent[] {
  return lines(path).filter((line): line is TraceEvent => line.type === "call");
}

/** Saves a device over a kernel, and gives it its own state back. */
async function saveAndRestore(spec: string, kernel: Kernel): Promise<void> {
  await using device = await openDevice(spec, { kernel });
  const all: Transaction[] = [];
  await stopAndCopy(device).pipeTo(
    new WritableStream<Transaction>({
      write: (given) => void all.push({ ...given, data: given.data.slice() }),
    }),
  );
  await device.setState("running");
  await ReadableStream.from(all).pipeTo(resume(device));
  await device.setState("running");
}

describe("Trace", () => {
  it("begins with a header, and ends with the number of calls", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    const before = performance.timeOrigin + performance.now();
    {
      using trace = Trace.create(path, { devices: ["sim:mlx5"] });
      await using device = await openDevice("sim:mlx5", { trace });
      assert.equal((await device.state()).state, "running");
    }
    const [header, thread, ...rest] = lines(path) as [TraceHeader, TraceThread, ...Line[]];
    const { started, kernel, ...fixed } = header;
    assert.deepEqual(fixed, {
      type: "header",
      schema: "vfiokit/trace/1",
      version: VERSION,
      devices: ["sim:mlx5"],
      data: false,
    });
    assert.ok(
      started >= before && started <= performance.timeOrigin + performance.now(),
      `${started}`,
    );
    assert.match(kernel!, /^\d+\.\d+/);
    assert.deepEqual(thread, {
      type: "thread",
      thread: 1,
      device: "sim:mlx5",
      name: "0000:3b:00.1",
      kernel: "sim",
    });
    const end = rest.pop() as TraceEnd;
    assert.equal(end.type, "end");
    assert.equal(end.calls, rest.length);
    assert.ok(rest.every(({ type }) => type === "call"));
    assert.equal(rest.at(-1)!.type === "call" && (rest.at(-1) as TraceEvent).call, "close");
    assert.equal(fs.statSync(path).mode & 0o777, 0o600);
  });

  it("has the calls of several threads, each in order and without a gap", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    const names = ["sim:mlx5?size=4MiB", "sim:trapped?size=4MiB&chunk=4KiB", "sim:qat?size=1MiB"];
    {
      using trace = Trace.create(path, { devices: names });
      await using devices = await openDevices(names, { trace });
      const sink = { writable: new WritableStream<Uint8Array<ArrayBuffer>>() };
      await save(devices, sink.writable);
    }
    const all = calls(path);
    for (const thread of [1, 2, 3]) {
      const own = all.filter((event) => event.thread === thread);
      assert.ok(own.length > 50);
      own.forEach(({ n }, index) => assert.equal(n, index + 1));
    }
    assert.equal((lines(path).at(-1) as TraceEnd).calls, all.length);
  });

  it("has the calls of the caller's thread", () => {
    using folder = new Folder();
    const path = folder.file("t");
    {
      using trace = Trace.create(path);
      probe("sim:mapped", { trace });
      const maps = [{ iova: 0x100000n, size: 1n << 20n }];
      using session = DirtySession.open("sim:trapped?pin=2", { maps, trace });
      session.tracker.start();
      assert.equal(session.tracker.read({ twice: true }).dirtyPages, 2);
    }
    const all = calls(path);
    assert.equal(new Set(all.map(({ thread }) => thread)).size, 2);
    assert.ok(all.some(({ request }) => request === "VFIO_IOMMU_DIRTY_PAGES"));
    assert.ok(all.some(({ call, data }) => call === "mappingRead" && data !== undefined));
    assert.equal((lines(path).at(-1) as TraceEnd).calls, all.length);
  });

  it("traces a kernel that the caller brings", async () => {
    using folder = new Folder();
    const path = folder.file("t");
    {
      using trace = Trace.create(path);
      const kernel = new SimKernel("sim:mlx5");
      await using device = await openDevice("sim:mlx5", { kernel, trace });
      await device.state();
    }
    assert.ok(calls(path).some(({ feature }) => feature === "MIG_DEVICE_STATE"));
  });

  for (const data of [false, true]) {
    it(`has each call as a trace in memory has it${data ? ", with the data" : ""}`, async () => {
      using folder = new Folder();
      const path = folder.file("t");
      for (const spec of ["sim:trapped?size=20KiB&chunk=3KiB", "sim:mlx5?size=2100KiB"]) {
        const memory = new MemoryTrace();
        await saveAndRestore(spec, new TraceKernel(new SimKernel(spec), memory, { data }));
        using trace = Trace.create(path, { data });
        await saveAndRestore(spec, trace.kernel(new SimKernel(spec), spec));
        trace.close();
        const untimed = (event: TraceEvent): object => {
          const { thread: _, time: __, duration: ___, ...rest } = event;
          return JSON.parse(JSON.stringify(rest));
        };
        assert.deepEqual(calls(path).map(untimed), memory.events.map(untimed));
      }
    });
  }

  it("replaces another trace, and no other file", () => {
    using folder = new Folder();
    const path = folder.file("t");
    Trace.create(path, { devices: ["one"] }).close();
    Trace.create(path, { devices: ["other"] }).close();
    assert.equal(lines(path).length, 2);
    fs.writeFileSync(path, "something else");
    assert.throws(
      () => Trace.create(path),
      (error) => error instanceof TraceFileError && error.code === "EEXIST",
    );
    assert.equal(fs.readFileSync(path, "utf8"), "something else");
    assert.throws(() => Trace.create(folder.file("no/such")), { code: "ENOENT" });
    assert.throws(() => Trace.create("/dev/full"), { code: "ENOSPC" });
  });

  it("ends if the file takes no more; the save goes on, and says so", () => {
    using folder = new Folder();
    const path = folder.file("t");
    // The limit is in blocks of 512 bytes; the checkpoint goes to a pipe, which has none.
    const limited = `trap '' XFSZ; ulimit -f 16; exec "$@"`;
    const words = ["save", "sim:trapped?size=256KiB&chunk=1KiB", "-o", "-", "--trace", path];
    const { status, stdout, stderr } = spawnSync(
      "/bin/sh",
      ["-c", limited, "sh", ...command(), ...words],
      { maxBuffer: 1 << 24 },
    );
    const err = stderr.toString();
    assert.equal(status, 0, err);
    assert.match(err, /vfiokit save: Cannot go on with the trace .*: EFBIG \(file too large\)/);
    assert.ok(stdout.length > 256 * 1024);
    assert.ok(fs.statSync(path).size <= 16 * 512);
  });

  it("has a call that did not return, with its arguments, and nothing of one that did", () => {
    using folder = new Folder();
    const path = folder.file("t");
    const kernel = new SimKernel("sim:mlx5");
    const trace = Trace.create(path);
    const traced = trace.kernel(kernel, "sim:mlx5");
    const fd = traced.open("/dev/vfio/vfio", 2);
    // The trace ends while the call is under way, as it does when the thread is given up.
    kernel.ioctl = () => {
      trace.close();
      return 0;
    };
    traced.ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
    const begun = lines(path).filter((line): line is BegunCall => line.type === "begun");
    assert.deepEqual(begun.map(({ time: _, ...line }) => line), [{
      type: "begun",
      thread: 1,
      n: 2,
      call: "ioctl",
      fd,
      file: "/dev/vfio/vfio",
      request: "VFIO_CHECK_EXTENSION",
      args: { extension: "VFIO_TYPE1v2_IOMMU" },
    }]);
    using read = readTrace(path);
    const last = [...read.lines()].at(-1)!;
    assert.equal(last.type, "begun");
    assert.match(formatCall(last as BegunCall), /^VFIO_CHECK_EXTENSION\(.*_IOMMU\)$/);
  });
});
