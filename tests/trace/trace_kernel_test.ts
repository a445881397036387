import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import {
  FIONBIO,
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  O_RDWR,
  POLLIN,
  PROT_READ,
  PROT_WRITE,
} from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { openDevice, precopy, stopAndCopy, type Transaction } from "../../mod.ts";
import {
  formatCall,
  MemoryTrace,
  type TracedCall,
  type TraceEvent,
  TraceKernel,
} from "../../src/trace/mod.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { tracedSim } from "./_traced.ts";

/** Saves a device over a kernel; what it gave. */
async function saved(spec: string, kernel: Kernel): Promise<Uint8Array[]> {
  await using device = await openDevice(spec, { kernel });
  const given: Uint8Array[] = [];
  const keep = new WritableStream<Transaction>({
    write: ({ data }) => void given.push(data.slice()),
  });
  await precopy(device).pipeTo(keep, { preventClose: true });
  await stopAndCopy(device).pipeTo(keep);
  await device.setState("running");
  return given;
}

function find(events: readonly TraceEvent[], wanted: Partial<TraceEvent>): TraceEvent {
  const found = events.find((event) =>
    Object.entries(wanted).every(([name, value]) => event[name as keyof TraceEvent] === value)
  );
  assert.ok(found, `no event ${JSON.stringify(wanted)}`);
  return found;
}

describe("TraceKernel", () => {
  for (
    const spec of ["sim:trapped?size=200KiB", "sim:mapped?size=200KiB", "sim:mlx5?size=200KiB"]
  ) {
    it(`changes nothing of a save: ${spec}`, async () => {
      const { sim, kernel } = tracedSim(spec);
      const plain = tracedSim(spec);
      assert.deepEqual(await saved(spec, kernel), await saved(spec, plain.sim));
      assert.deepEqual(sim.openObjects, []);
      assert.deepEqual(sim.devices[0]!.violations, []);
    });
  }

  it("numbers the calls of a thread, and orders them in time", async () => {
    const { kernel, trace } = tracedSim("sim:mlx5?size=64KiB", { thread: 3 });
    await saved("sim:mlx5?size=64KiB", kernel);
    trace.events.forEach((event, index) => {
      assert.equal(event.n, index + 1);
      assert.equal(event.thread, 3);
      assert.ok(event.duration >= 0);
      const next = trace.events[index + 1];
      if (next !== undefined) assert.ok(event.time + event.duration <= next.time + 0.002);
    });
  });

  it("has the registers of v1 by name, and states by name", async () => {
    const { kernel, trace } = tracedSim("sim:trapped?size=64KiB");
    const data = await saved("sim:trapped?size=64KiB", kernel);
    const written = find(trace.events, { call: "pwrite", register: "device_state" });
    assert.equal(written.state, "pre-copy");
    const pending = find(trace.events, { register: "pending_bytes" });
    assert.equal(typeof pending.answer!["pending_bytes"], "number");
    assert.equal(pending.raw!.after!.length, 16);
    const read = find(trace.events, { register: "data" });
    assert.equal(read.data!.length, data[0]!.length);
    assert.equal(read.data!.crc32, crc32(data[0]!).toString(16).padStart(8, "0"));
    assert.equal(read.data!.bytes, undefined);
  });

  it("knows v1's registers after an answer that had no room for the region's type", async () => {
    const { kernel, trace } = tracedSim("sim:trapped?size=64KiB");
    await using device = await openDevice("sim:trapped?size=64KiB", { kernel });
    // The migration region is the only one with a capability, so it is asked for with room for that.
    const { fd, args } = trace.events.find((event) =>
      event.request === "VFIO_DEVICE_GET_REGION_INFO" && event.args!["argsz"] as number > 32
    )!;
    const index = args!["index"] as number;
    kernel.ioctl(fd!, uapi.VFIO_DEVICE_GET_REGION_INFO, uapi.vfioRegionInfo.pack({ index }));
    trace.take();
    await device.state();
    find(trace.events, { call: "pread", register: "device_state", state: "running" });
  });

  it("has the requests of v2 by name, with their fields and flags", async () => {
    const { kernel, trace } = tracedSim("sim:mlx5?size=64KiB");
    await saved("sim:mlx5?size=64KiB", kernel);
    const flags = find(trace.events, { feature: "MIGRATION" });
    assert.deepEqual(flags.answer!["flags"], [
      "VFIO_MIGRATION_P2P",
      "VFIO_MIGRATION_PRE_COPY",
      "VFIO_MIGRATION_STOP_COPY",
    ]);
    const entered = find(trace.events, { feature: "MIG_DEVICE_STATE", state: "pre-copy" });
    assert.deepEqual(entered.args!["operation"], ["VFIO_DEVICE_FEATURE_SET"]);
    const fd = entered.answer!["data_fd"] as number;
    const info = find(trace.events, { request: "VFIO_MIG_GET_PRECOPY_INFO", fd });
    assert.equal(info.file, "data fd");
    assert.equal(typeof info.answer!["initial_bytes"], "number");
    assert.equal(find(trace.events, { call: "read", fd }).file, "data fd");
    find(trace.events, { request: "FIONBIO" });
  });

  it("has the bytes of data if that is asked for", async () => {
    const spec = "sim:trapped?size=64KiB";
    const { kernel, trace } = tracedSim(spec, { data: true });
    const given = await saved(spec, kernel);
    const bytes = trace.events.filter(({ register }) => register === "data")
      .map(({ data }) =>
        new Uint8Array(Uint8Array.from(atob(data!.bytes!), (c) => c.charCodeAt(0)))
      );
    assert.deepEqual(bytes, given);
  });

  it("passes errors on, and reports their errno", () => {
    const { kernel, trace } = tracedSim("sim:mlx5");
    assert.throws(() => kernel.open("/dev/vfio/77", O_RDWR), { code: "ENOENT" });
    assert.throws(() => kernel.close(99), { code: "EBADF" });
    assert.deepEqual(trace.events.map(({ errno, errnoNumber }) => [errno, errnoNumber]), [
      ["ENOENT", 2],
      ["EBADF", 9],
    ]);
    assert.equal(formatCall(trace.events[1]!), "close(99) = EBADF (bad file descriptor)");
  });

  it("reports each call of the interface", () => {
    const trace = new MemoryTrace();
    const kernel = new TraceKernel(libcKernel(), trace);
    const buffer = new Uint8Array(new ArrayBuffer(16));
    const [one, other] = kernel.socketPair();
    kernel.sendFds(one, buffer, [one]);
    const { fds } = kernel.receiveFds(other, buffer, 1);
    const file = kernel.memfd("test", 4096);
    kernel.dup3(file, fds[0]!);
    kernel.write(file, buffer);
    kernel.pwrite(file, buffer, 8n);
    kernel.pread(file, buffer, 0);
    assert.equal(kernel.read(file, buffer), 16);
    kernel.ioctl(one, FIONBIO, new Uint8Array(new Int32Array([1]).buffer));
    kernel.poll(one, POLLIN, 0);
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const mapping = kernel.mmap(4096, { prot: PROT_READ | PROT_WRITE, flags });
    mapping.write(8, buffer);
    mapping.read(8, buffer);
    mapping.close();
    mapping.close();
    kernel.readText("/proc/sys/kernel/ostype");
    kernel.readLink("/proc/self");
    kernel.readDir("/proc/self/fd");
    kernel.realPath("/proc/self/");
    const opened = kernel.open("/dev/null", O_RDWR);
    for (const fd of [one, other, file, fds[0]!, opened]) kernel.close(fd);
    const calls: TracedCall[] = [
      ...["socketPair", "sendFds", "receiveFds", "memfd", "dup3", "write", "pwrite"] as const,
      ...["pread", "read", "ioctl", "poll", "mmap", "mappingWrite", "mappingRead"] as const,
      ...["munmap", "readText", "readLink", "readDir", "realPath", "open"] as const,
      ...["close", "close", "close", "close", "close"] as const,
    ];
    assert.deepEqual(trace.events.map(({ call }) => call), calls);
    const mapped = find(trace.events, { call: "mmap" });
    assert.equal(mapped.result, `0x${mapping.address.toString(16)}`);
    assert.deepEqual(mapped.args!["flags"], ["MAP_PRIVATE", "MAP_ANONYMOUS"]);
    assert.equal(find(trace.events, { call: "close", fd: fds[0]! }).file, "memfd test");
    assert.equal(find(trace.events, { call: "readText" }).result, "Linux\n");
  });

  it("distinguishes requests that share a number, by the file or by the flags", () => {
    const { kernel, trace } = tracedSim("sim:mlx5");
    const container = kernel.open("/dev/vfio/vfio", O_RDWR);
    const info = uapi.vfioIommuType1Info.pack({});
    assert.throws(() => kernel.ioctl(container, uapi.VFIO_IOMMU_GET_INFO, info));
    const feature = uapi.vfioDeviceFeature.pack({
      flags: uapi.VFIO_DEVICE_FEATURE_PROBE | uapi.VFIO_DEVICE_FEATURE_MIGRATION,
    });
    const start = uapi.vfioIommuType1DirtyBitmap.pack({
      flags: uapi.VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
    });
    for (const fd of [container, 50]) {
      for (const argument of [feature, start]) {
        assert.throws(() => kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument));
      }
    }
    assert.deepEqual(trace.events.slice(1).map(({ request, fd }) => [request, fd]), [
      ["VFIO_IOMMU_GET_INFO", container],
      ["VFIO_IOMMU_DIRTY_PAGES", container],
      ["VFIO_IOMMU_DIRTY_PAGES", container],
      ["VFIO_DEVICE_FEATURE", 50],
      ["VFIO_IOMMU_DIRTY_PAGES", 50],
    ]);
  });

  it("takes any argument and any answer", () => {
    const bytes = fc.uint8Array({ maxLength: 80 });
    const requests = fc.oneof(
      fc.constantFrom(...Object.values(uapi.IOCTLS)),
      fc.integer({ min: 0, max: 0xffff_ffff }),
    );
    fc.assert(fc.property(requests, bytes, bytes, fc.integer(), (request, given, left, result) => {
      const trace = new MemoryTrace();
      const answers = {
        name: "any",
        open: () => 3,
        ioctl: (_fd: number, _request: number, arg: Uint8Array) => {
          arg.set(left.subarray(0, arg.length));
          return result;
        },
        pread: (_fd: number, into: Uint8Array) => {
          into.set(left.subarray(0, into.length));
          return result;
        },
      } as unknown as Kernel;
      const kernel = new TraceKernel(answers, trace);
      for (
        const path of ["/dev/vfio/vfio", "/dev/vfio/1", "/dev/vfio/devices/vfio0", "/dev/iommu"]
      ) {
        const argument = new Uint8Array(given);
        const fd = kernel.open(path, O_RDWR);
        assert.equal(kernel.ioctl(fd, request, argument), result);
        assert.equal(kernel.pread(fd, new Uint8Array(8), 8), result);
        assert.deepEqual(argument.subarray(0, left.length), left.subarray(0, argument.length));
      }
      for (const event of trace.events) {
        assert.deepEqual(JSON.parse(JSON.stringify(event)), event);
        assert.equal(typeof formatCall(event), "string");
      }
    }));
  });
});

describe("MemoryTrace", () => {
  it("keeps the latest events, and says how many it dropped", () => {
    const trace = new MemoryTrace(10);
    const event: TraceEvent = {
      type: "call",
      thread: 0,
      n: 1,
      time: 0,
      duration: 0,
      call: "close",
    };
    for (let n = 1; n <= 35; n++) trace.event({ ...event, n });
    assert.equal(trace.dropped, 20);
    assert.deepEqual(trace.events.map(({ n }) => n), Array.from({ length: 15 }, (_, i) => i + 21));
    assert.equal(trace.take().length, 15);
    assert.equal(trace.dropped, 0);
  });
});
