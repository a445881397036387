/** One error of each exported class, and a kernel that throws them. */

import { AnswerError, CapabilityError, DeviceNameError, DmaError } from "../../src/vfio/mod.ts";
import {
  BusyError,
  CheckpointError,
  CheckpointFileError,
  DeviceClosedError,
  IdentityError,
  MigrationError,
  OpenError,
  ReadBackError,
  ThreadError,
  TransferError,
  UnsupportedError,
} from "../../mod.ts";
import { ClosedError, SysError } from "../../src/kernel/mod.ts";
import { DirtyRangeError, WriteProtectionError } from "../../src/dirty/mod.ts";
import { SimKernel, SimSpecError } from "../../src/sim/mod.ts";
import { addCleanup } from "../../src/base/cleanup.ts";
import { CheckError } from "../../src/check/mod.ts";
import { ChainError, JournalError, LiveError, TcpError } from "../../src/live/mod.ts";
import { SocketFileError } from "../../src/server/mod.ts";
import { PausedVmError, ProcessDeviceError, QmpError, VmmFileError } from "../../src/vmm/mod.ts";
import { ReplayError, TraceError, TraceFileError } from "../../src/trace/mod.ts";

const REASONS = [
  { code: "no-fds", message: "Too many files are open", hint: "ulimit -n 4096", blocks: true },
] as const;
const cause = new SysError("ioctl VFIO_TEST", 5, "fd 7");
const migration = new MigrationError("Cannot stop: EIO; it is in ERROR", {
  code: "io",
  deviceState: "error",
  recovery: "failed",
  failure: "Cannot stop: EIO",
  errno: "EIO",
  hint: { text: "reset it", remedy: "reset" },
}, { cause });
const broken = new CheckpointError("crc", 4096, "frame 2 has a wrong CRC", { cause });

/** The errors, in the order of their numbers. */
export const EVERY_ERROR: readonly Error[] = [
  new AnswerError("Cannot use region 9", "vfio_region_info.offset"),
  new BusyError("group 12", [{ pid: 4242, comm: "qemu" }], { cause }, REASONS),
  new CapabilityError("Cannot use region 9", "loop", 48),
  new ChainError("3: it is missing", { code: "missing-link", folder: "/backups", lastGood: 2 }, {
    cause,
  }),
  new CheckError("not-running", "Cannot check it: it is in STOP", "reset it"),
  broken,
  new CheckpointFileError("Cannot write", { path: "a.vfk", code: "ENOSPC", hint: "free some" }),
  new ClosedError("Cannot use it: it is closed"),
  new DeviceClosedError(
    "Cannot use it: it was closed",
    { code: "thread-ended", device: "fd:3", deviceState: "stop" },
    { cause: migration },
  ),
  new DeviceNameError("Cannot use this name"),
  new TransferError("Cannot save 2 devices", {
    code: "io",
    errno: "EIO",
    hint: { text: "reset fd:3", remedy: "reset" },
    devices: [{ name: "fd:3", state: "error", recovery: "failed", notes: [], error: migration }],
  }, { cause: migration }),
  new DirtyRangeError("Cannot map this"),
  new DmaError("Cannot map 0x1000-0x1fff", "it overlaps", "unmap it", cause),
  new IdentityError(["the driver is another one"], undefined, { text: "", remedy: "force" }),
  migration,
  new OpenError(REASONS, { cause }),
  new ReadBackError(
    "Cannot read back",
    { code: "read-back", path: "a.vfk", errno: "EIO", hint: "free some" },
    { cause: broken },
  ),
  new ReplayError({
    ...{ code: "diverged", path: "a.trace", thread: 1, call: 3 },
    ...{ expected: "close(5)", actual: "close(6)" },
  }),
  new SimSpecError("sim:none", "there is no such personality"),
  new ThreadError("The thread has ended", { cause }),
  cause,
  new TraceError("cut", "a.trace", 7, "it has no end"),
  TraceFileError.of("create", "a.trace", cause),
  new UnsupportedError(REASONS, { cause }),
  new JournalError("exists", "a.jsonl", "this migration has one already", cause),
  new LiveError("peer-refused", "The other side refused", "look there", { cause }),
  new PausedVmError("left-paused", "It stays paused", "resuming", { hint: "repair it", cause }),
  new QmpError("closed", "It has closed the connection", cause),
  new ProcessDeviceError("bad-name", "Cannot look at it", "say pid:N", cause),
  new SocketFileError("in-use", "Cannot serve there", { cause }, "choose another"),
  new TcpError("timeout", "It does not answer", cause, "try again"),
  new VmmFileError("truncated", 4096, "it ends in section 2", "copy it again"),
  new WriteProtectionError("Cannot find what was written", "register it", { cause }),
];
for (const error of EVERY_ERROR) addCleanup(error, new SysError("close", 4, error.name));

/** A simulated kernel. A read of the one byte at N of region 0 throws the error of that number. */
export class ThrowingKernel extends SimKernel {
  override pread(fd: number, into: Uint8Array<ArrayBuffer>, offset: number): number {
    const error = into.length === 1 ? EVERY_ERROR[offset] : undefined;
    if (error !== undefined) throw error;
    return super.pread(fd, into, offset);
  }
}

/** The name of its device. */
export const DEVICE = "sim:trapped?size=64KiB";
