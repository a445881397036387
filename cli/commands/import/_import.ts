/**
 * What the `import` commands share: which devices are taken, what the checkpoint says of them, and
 * how it is written.
 */

import {
  type CheckpointFile,
  createCheckpointFile,
  type DeviceIdentity,
  encodeCheckpoint,
  newHeader,
} from "../../../src/checkpoint/mod.ts";
import { shellFile } from "../../../src/base/shell.ts";
import type { Transaction } from "../../../mod.ts";
import { type DeviceInFile, VmmFileError } from "../../../src/vmm/mod.ts";
import type { Context } from "../../context.ts";
import { bytes, count } from "../../output/format.ts";
import { fileProgress, readingBack, showAtTerminal } from "../../output/progress.ts";
import { STDERR } from "../../output/stdio.ts";
import { refuseStdout } from "../../output/transfer_report.ts";
import type { ImportArgs } from "../../specs/import.ts";
import { UsageError } from "../../usage_error.ts";

/** A device in a file, and the bytes of its state. */
export interface StateInFile extends DeviceInFile {
  /** See above. */
  readonly bytes: number;
}

/** What is written: devices, what the checkpoint says of each, and their state. */
export interface ImportedState {
  readonly devices: readonly StateInFile[];
  readonly identities: readonly DeviceIdentity[];
  readonly transactions: AsyncIterable<Transaction>;
}

/**
 * Begins the document of an `import` command; `key` is what the file holds.
 *
 * @throws {UsageError} If its words make no sense.
 */
export function begin(args: ImportArgs, key: "stream" | "snapshot", context: Context): void {
  const { list, output, names, like } = args;
  context.set({ file: args.file, output: output ?? null, imported: null, [key]: null });
  if (list === (output !== undefined)) {
    throw new UsageError("Expected either --list, to see what is in it, or -o CHECKPOINT");
  }
  if (list && (names.length > 0 || like !== undefined)) {
    throw new UsageError("Cannot use --list with --device or --like: it lists all devices");
  }
  if (output !== "-") return;
  refuseStdout(args);
  context.resultFd = STDERR;
}

/**
 * The devices that are asked for, in that order; all of them if none is named.
 *
 * @param without Devices that have no state, and why, for messages.
 */
export function chosen<Device extends StateInFile>(
  devices: readonly Device[],
  names: readonly string[],
  without: { readonly names: readonly string[]; readonly why: string } | null,
): readonly Device[] {
  const why = without === null || without.names.length === 0
    ? ""
    : ` (${count(without.names.length, "device")} without: ${without.why})`;
  if (devices.length === 0) {
    throw new VmmFileError("no-such-device", null, `it has no state of a VFIO device${why}`);
  }
  if (names.length === 0) return devices;
  const has = devices.map(({ name }) => name).join(", ");
  return names.map((name, index) => {
    if (names.indexOf(name) !== index) throw new UsageError(`Cannot take "${name}" twice`);
    const found = devices.find((device) => device.name === name);
    if (found !== undefined) return found;
    const what = without?.names.includes(name) === true
      ? `it has no state of "${name}": ${without.why}`
      : `it has no VFIO device "${name}": it has ${has}`;
    throw new VmmFileError("no-such-device", null, what);
  });
}

/** The identity of the device that is named as one of the same kind; null if none is. */
export async function likeIdentity(
  { like, vfToken, via }: Pick<ImportArgs, "like" | "vfToken" | "via">,
): Promise<DeviceIdentity | null> {
  if (like === undefined) return null;
  const { openDevice } = await import("../../../mod.ts");
  await using device = await openDevice(like, { vfToken, via });
  return device.description.identity!;
}

/** Writes the checkpoint, and says so. */
export async function writeImported(
  imported: ImportedState,
  args: ImportArgs,
  context: Context,
): Promise<void> {
  const { file, force } = args;
  const output = args.output!;
  await using sink = await createCheckpointFile(output, { force, signal: context.signal });
  await write(imported, sink, args, context);
  context.stands = true;
  const { devices } = imported;
  context.set({ imported: devices.map(({ name }) => name) });
  const names = devices.map(({ name }) => name).join(", ");
  const where = output === "-" ? "stdout" : output;
  const state = devices.reduce((sum, device) => sum + device.bytes, 0);
  context.print(`Imported ${names} from ${file} to ${where}: ${bytes(state)} of state.`);
  if (sink.direct) return;
  const places = devices.map(() => "DEVICE").join(" ");
  context.note(`hint: restore it: vfiokit restore ${places} ${shellFile(output)}`);
}

async function write(
  { devices, identities, transactions }: ImportedState,
  sink: CheckpointFile,
  { file, compress, digest }: ImportArgs,
  context: Context,
): Promise<void> {
  const { signal } = context;
  const total = devices.reduce((sum, { bytes }) => sum + bytes, 0);
  const moved = devices.map(({ bytes }) => ({ transactions: 0, bytes }));
  let written = 0;
  using _progress = showAtTerminal({
    verb: "Importing",
    name: file,
    now: () => readingBack(sink) ?? fileProgress(written, { pendingBytes: total - written }),
  }, context);
  async function* counted(): AsyncGenerator<Transaction> {
    for await (const transaction of transactions) {
      // Its buffer may go back to where it came from.
      const { data: { length }, device, more } = transaction;
      yield transaction;
      written += length;
      if (more !== true) moved[device]!.transactions++;
    }
  }
  await ReadableStream.from(counted())
    .pipeThrough(encodeCheckpoint(newHeader(identities), { compress, digest }))
    .pipeTo(sink.writable, { signal });
  await sink.readBack?.run(moved, signal);
  await sink.commit();
}
