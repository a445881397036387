/**
 * `vfiokit import qemu`: a checkpoint of VFIO devices in a migration stream of QEMU's.
 *
 * @module
 */

import {
  type CheckpointFile,
  createCheckpointFile,
  type DeviceIdentity,
  encodeCheckpoint,
  newHeader,
  openCheckpointFile,
} from "../../../src/checkpoint/mod.ts";
import { shellFile } from "../../../src/base/shell.ts";
import {
  importedIdentity,
  protocolOfMachine,
  type QemuDevice,
  type QemuStream,
  stateOfDevices,
  VmmFileError,
} from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { bytes } from "../../output/format.ts";
import { fileProgress, readingBack, showAtTerminal } from "../../output/progress.ts";
import { readStream, streamDocument, streamLines } from "../../output/qemu_stream.ts";
import { STDERR } from "../../output/stdio.ts";
import { refuseStdout } from "../../output/transfer_report.ts";
import type { ImportQemuArgs } from "../../specs/import.ts";
import { UsageError } from "../../usage_error.ts";

/** Runs `import qemu`. */
export async function run(args: ImportQemuArgs, context: Context): Promise<number> {
  const { file, output } = args;
  context.set({ file, output: output ?? null, imported: null, stream: null });
  checkUsage(args);
  if (output === "-") context.resultFd = STDERR;
  await using source = await context.until(openCheckpointFile(file));
  if (!source.seekable) {
    throw new UsageError(`Cannot import "${file}": it is read twice, so it must be a regular file`);
  }
  const stream = await readStream(file, source, context);
  context.set({ stream: streamDocument(stream) });
  if (output === undefined) {
    context.print(...streamLines(file, stream));
    return 0;
  }
  const devices = chosen(stream, args.names);
  const identities = await identitiesOf(stream, devices, args);
  await using sink = await createCheckpointFile(output, {
    force: args.force,
    signal: context.signal,
  });
  const imported = { devices, identities, transactions: stateOfDevices(source.file.fd, devices) };
  await write(imported, sink, args, context);
  context.stands = true;
  const state = devices.reduce((sum, device) => sum + device.bytes, 0);
  context.set({ imported: devices.map(({ name }) => name) });
  const names = devices.map(({ name }) => name).join(", ");
  const where = output === "-" ? "stdout" : output;
  context.print(`Imported ${names} from ${file} to ${where}: ${bytes(state)} of state.`);
  if (!sink.direct) {
    const places = devices.map(() => "DEVICE").join(" ");
    context.note(`hint: restore it: vfiokit restore ${places} ${shellFile(output)}`);
  }
  return 0;
}

function checkUsage(args: ImportQemuArgs): void {
  const { list, output, names, like } = args;
  if (list === (output !== undefined)) {
    throw new UsageError("Expected either --list, to see what is in the file, or -o CHECKPOINT");
  }
  if (list && (names.length > 0 || like !== undefined)) {
    throw new UsageError("Cannot use --list with --device or --like: it lists all devices");
  }
  if (output === "-") refuseStdout(args);
}

/** The devices that are asked for, in that order; all of them if none is named. */
function chosen({ devices }: QemuStream, names: readonly string[]): readonly QemuDevice[] {
  const has = devices.length === 0 ? "none" : devices.map(({ name }) => name).join(", ");
  if (devices.length === 0) {
    throw new VmmFileError("no-such-device", null, "it has no state of a VFIO device");
  }
  if (names.length === 0) return devices;
  return names.map((name, index) => {
    if (names.indexOf(name) !== index) throw new UsageError(`Cannot take "${name}" twice`);
    const found = devices.find((device) => device.name === name);
    if (found !== undefined) return found;
    throw new VmmFileError(
      "no-such-device",
      null,
      `it has no VFIO device "${name}": it has ${has}`,
    );
  });
}

async function identitiesOf(
  stream: QemuStream,
  devices: readonly QemuDevice[],
  { like: name, protocol: wanted, vfToken, via }: ImportQemuArgs,
): Promise<DeviceIdentity[]> {
  const like = name === undefined ? null : await identityOf(name, { vfToken, via });
  const protocol = wanted ?? protocolOfMachine(stream.machine) ?? like?.protocol;
  if (protocol === undefined) {
    throw new UsageError(
      `Cannot tell the protocol: QEMU 7.2 and QEMU 8.0 both have the machine ${
        stream.machine ?? ""
      }. Say it: --protocol v1 if QEMU 7.2 or earlier wrote the file, else --protocol v2; or ` +
        "--like DEVICE",
    );
  }
  return devices.map((device) => importedIdentity(device, { protocol, like }));
}

async function identityOf(
  name: string,
  options: Pick<ImportQemuArgs, "vfToken" | "via">,
): Promise<DeviceIdentity> {
  const { openDevice } = await import("../../../mod.ts");
  await using device = await openDevice(name, options);
  return device.description.identity!;
}

/** What is written. */
interface ImportedState {
  readonly devices: readonly QemuDevice[];
  readonly identities: readonly DeviceIdentity[];
  readonly transactions: ReturnType<typeof stateOfDevices>;
}

async function write(
  { devices, identities, transactions }: ImportedState,
  sink: CheckpointFile,
  { file, compress, digest }: ImportQemuArgs,
  context: Context,
): Promise<void> {
  const { signal } = context;
  const total = devices.reduce((sum, { bytes }) => sum + bytes, 0);
  let written = 0;
  using _progress = showAtTerminal({
    verb: "Importing",
    name: file,
    now: () => readingBack(sink) ?? fileProgress(written, { pendingBytes: total - written }),
  }, context);
  async function* counted(): ImportedState["transactions"] {
    for await (const transaction of transactions) {
      // Its buffer may go back to where it came from.
      const { length } = transaction.data;
      yield transaction;
      written += length;
    }
  }
  await ReadableStream.from(counted())
    .pipeThrough(encodeCheckpoint(newHeader(identities), { compress, digest }))
    .pipeTo(sink.writable, { signal });
  const moved = devices.map(({ records, bytes }) => ({ transactions: records.length, bytes }));
  await sink.readBack?.run(moved, signal);
  await sink.commit();
}
