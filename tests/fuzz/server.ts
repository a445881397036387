/**
 * A vfio-user server that lies: the replies of an honest one, changed. All of them are sent before
 * the client asks, and then the server is gone. The client must end each operation, with a
 * documented error or with none, write to no memory but what it was given, and keep no fd.
 */

import { openDevices, probe, restore, save } from "../../mod.ts";
import { cleanly } from "../../src/base/cleanup.ts";
import { DirtySession } from "../../src/dirty/mod.ts";
import { ERRNO } from "../../src/kernel/errno_names.ts";
import { O_RDWR } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { VfioUserKernel } from "../../src/vfio_user/mod.ts";
import { VFIO_USER_DMA_WRITE } from "../../src/vfio_user/wire/commands.ts";
import { command, type Scripted, ScriptedServer } from "../vfio_user/_scripted_server.ts";
import { ownSink, ownSource, savedFrom } from "./_checkpoints.ts";
import { checkError } from "./_errors.ts";
import { HonestServer } from "./_honest_server.ts";
import { Find, type Kind, without } from "./_kind.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const OPERATIONS = ["raw", "probe", "save", "precopy", "restore", "states", "dirty"] as const;
type Operation = (typeof OPERATIONS)[number];

/** A change of one message; `message` stands for one of those that there are. */
type Change =
  | {
    readonly change: "bytes";
    readonly message: number;
    readonly at: number;
    readonly width: 1 | 2 | 4 | 8;
    readonly value: number;
  }
  | { readonly change: "cut" | "length"; readonly message: number; readonly by: number }
  | { readonly change: "drop" | "repeat"; readonly message: number }
  | { readonly change: "garbage"; readonly message: number; readonly bytes: readonly number[] }
  | { readonly change: "fds"; readonly message: number; readonly count: number }
  | { readonly change: "command"; readonly message: number; readonly bytes: readonly number[] };

/** A lying server, and what it is asked for. */
export interface ServerPlan {
  readonly operation: Operation;
  readonly extended: boolean;
  readonly changes: readonly Change[];
}

function makeChange(random: Random): Change {
  const message = random.u32();
  const bytes = (): number[] => [...random.bytes(random.few(1, 64))];
  switch (random.pick(["bytes", "bytes", "bytes", "length", "cut", "other"] as const)) {
    case "bytes":
      return {
        change: "bytes",
        message,
        at: random.chance(0.3) ? random.few(0, 200) : 4 * random.few(0, 16),
        width: random.pick([1, 2, 4, 4, 8]),
        value: random.chance(0.5) ? random.edge() : random.u32(),
      };
    case "length":
      return { change: "length", message, by: random.pick([-16, -8, -4, -1, 1, 8, 4096]) };
    case "cut":
      return { change: "cut", message, by: random.few(1, 64) };
    case "other":
      return random.pick<Change>([
        { change: "drop", message },
        { change: "repeat", message },
        { change: "garbage", message, bytes: bytes() },
        { change: "fds", message, count: random.few(1, 12) },
        { change: "command", message, bytes: bytes() },
      ]);
  }
}

const scripts = new Map<string, readonly Scripted[]>();

/** A lying server. */
export const server: Kind<ServerPlan> = {
  name: "server",
  make: (random): ServerPlan => ({
    operation: random.pick(OPERATIONS),
    extended: random.chance(0.6),
    changes: Array.from({ length: random.few(1, 3) }, () => makeChange(random)),
  }),
  *smaller(plan): Generator<ServerPlan> {
    for (const changes of without(plan.changes)) yield { ...plan, changes };
    if (plan.operation !== "raw") yield { ...plan, operation: "raw" };
    if (plan.extended) yield { ...plan, extended: false };
  },
  async run({ operation, extended, changes }): Promise<void> {
    const script = await honestScript(operation, extended);
    const before = openFiles();
    const memfd = libcKernel().memfd("fuzz-fd", 4096);
    {
      const lying = [...script];
      for (const change of changes) apply(lying, change, memfd);
      using lies = new ScriptedServer(lying);
      await operate(operation, lies);
    }
    libcKernel().close(memfd);
    const left = openFiles().filter((file) => !before.includes(file));
    if (left.length > 0) throw new Find("leak", `it left ${left.join(", ")} open`);
  },
};

/** The files that a client may keep by mistake, as /proc names them. */
function openFiles(): string[] {
  const kernel = libcKernel();
  return kernel.readDir("/proc/self/fd").flatMap((fd) => {
    try {
      const file = kernel.readLink(`/proc/self/fd/${fd}`);
      return /^socket:|memfd:/.test(file) ? [`${fd} ${file}`] : [];
    } catch {
      return [];
    }
  });
}

/** What an honest server sends, found out one request after the other. */
async function honestScript(operation: Operation, extended: boolean): Promise<readonly Scripted[]> {
  const key = `${operation} ${extended}`;
  const known = scripts.get(key);
  if (known !== undefined) return known;
  const honest = new HonestServer(extended);
  const script: Scripted[] = [];
  for (;;) {
    using asked = new ScriptedServer(script);
    await operate(operation, asked);
    const request = asked.requests().at(script.length);
    if (request === undefined) break;
    script.push(honest.answer(script.length, request.command, request.payload));
  }
  // Its fd is in the script for as long as the process runs.
  scripts.set(key, script);
  return script;
}

function apply(script: Scripted[], change: Change, memfd: number): void {
  if (script.length === 0) return;
  const index = change.message % script.length;
  const { bytes, fds = [] } = script[index]!;
  const put = (changed: Bytes, its = fds): void =>
    void (script[index] = { bytes: changed, fds: its });
  switch (change.change) {
    case "bytes": {
      const copy = bytes.slice();
      const value = BigInt(change.value);
      for (let byte = 0; byte < change.width; byte++) {
        const at = change.at + byte;
        if (at < copy.length) copy[at] = Number(value >> BigInt(8 * byte) & 0xffn);
      }
      return put(copy);
    }
    case "cut":
      return put(bytes.slice(0, Math.max(1, bytes.length - change.by)));
    case "length": {
      const copy = new Uint8Array(Math.max(16, bytes.length + change.by));
      copy.set(bytes.subarray(0, copy.length));
      new DataView(copy.buffer).setUint32(4, copy.length, true);
      return put(copy);
    }
    case "drop":
      script.splice(index, 1);
      return;
    case "repeat":
      script.splice(index, 0, { bytes, fds });
      return;
    case "garbage":
      script.splice(index, 0, { bytes: new Uint8Array(change.bytes) });
      return;
    case "fds":
      return put(bytes, Array<number>(change.count).fill(memfd));
    case "command":
      script.splice(index, 0, command(7, VFIO_USER_DMA_WRITE, new Uint8Array(change.bytes)));
      return;
  }
}

async function operate(operation: Operation, lies: ScriptedServer): Promise<void> {
  const path = "/fuzz/device.sock";
  const name = `vfio-user:${path}`;
  let connected = false;
  const kernel = new VfioUserKernel(path, {
    connect: () => {
      if (connected) throw new SysError("connect", ERRNO.ECONNREFUSED, path);
      connected = true;
      return lies.connect();
    },
  });
  try {
    if (operation === "raw") return raw(kernel, path);
    if (operation === "probe") return void probe(name, { kernel });
    if (operation === "dirty") return dirty(name, kernel);
    const devices = await openDevices([name], { kernel });
    try {
      const [device] = devices;
      if (operation === "restore") {
        const spec = { personality: "mlx5", options: ["size=4KiB"], faults: [] } as const;
        const source = ownSource((await savedFrom([spec], {})).bytes, false);
        await restore(device!, source, { force: true });
      } else if (operation === "states") {
        await device!.state();
        await device!.setState("stop");
        await device!.recover();
        await device!.reset();
      } else {
        await save(device!, ownSink(), operation === "precopy" ? { precopy: {} } : {});
      }
    } finally {
      await devices[Symbol.asyncDispose]();
    }
  } catch (error) {
    checkError(error, [], operation);
  }
}

function dirty(name: string, kernel: VfioUserKernel): void {
  const maps = [{ iova: 0x100000n, size: 0x40000n }];
  cleanly(() => {
    using session = DirtySession.open(name, { kernel, maps, tracker: "device" });
    session.tracker.start();
    session.tracker.read({ twice: true });
    session.tracker.stop();
  });
}

/** Every call, whatever became of the one before. */
function raw(kernel: VfioUserKernel, path: string): void {
  const fd = kernel.open(path, O_RDWR);
  const data: number[] = [];
  const calls: (() => void)[] = [
    () => kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_INFO, uapi.vfioDeviceInfo.pack({})),
    ...[0, 7, 9].map((index) => () => {
      const argument = new Uint8Array(128);
      uapi.vfioRegionInfo.pack({ argsz: 128, index }, argument);
      new DataView(argument.buffer).setUint32(0, 128, true);
      kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_REGION_INFO, argument);
    }),
    () => kernel.ioctl(fd, uapi.VFIO_DEVICE_GET_IRQ_INFO, uapi.vfioIrqInfo.pack({ index: 1 })),
    () => guarded((into) => kernel.pread(fd, into, 0)),
    () => void kernel.pwrite(fd, new Uint8Array(64), 16),
    ...[6, 3].map((device_state) => () => {
      const argument = uapi.vfioDeviceFeature.pack({
        flags: uapi.VFIO_DEVICE_FEATURE_SET | uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
        data: uapi.vfioDeviceFeatureMigState.pack({ device_state, data_fd: -1 }),
      });
      kernel.ioctl(fd, uapi.VFIO_DEVICE_FEATURE, argument);
      const { data_fd } = uapi.vfioDeviceFeatureMigState.unpack(argument, 8);
      if (data_fd >= 0) data.push(data_fd);
      for (const each of data) guarded((into) => kernel.read(each, into));
      for (const each of data) {
        kernel.ioctl(each, uapi.VFIO_MIG_GET_PRECOPY_INFO, uapi.vfioPrecopyInfo.pack({}));
      }
    }),
    () => kernel.ioctl(fd, uapi.VFIO_DEVICE_RESET),
  ];
  for (const call of calls) {
    try {
      call();
    } catch (error) {
      checkError(error, [], "a call");
      if (!(error instanceof SysError)) throw new Find("undocumented error", String(error));
    }
  }
  for (const each of [...data, fd]) kernel.close(each);
}

/** Reads into the middle of a buffer, whose ends must stay as they are. */
function guarded(read: (into: Bytes) => number): void {
  const whole = new Uint8Array(256).fill(0xee);
  const into = whole.subarray(64, 192);
  const count = read(into);
  if (count < 0 || count > into.length) throw new Find("count", `${count} of ${into.length} bytes`);
  if ([...whole.subarray(0, 64), ...whole.subarray(192)].some((byte) => byte !== 0xee)) {
    throw new Find("memory", "bytes outside of the buffer were written");
  }
}
