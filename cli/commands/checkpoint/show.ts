/**
 * `vfiokit show`: what a checkpoint holds, or a migration stream of QEMU's, or a snapshot of
 * cloud-hypervisor's.
 *
 * @module
 */

import {
  type ChainLink,
  type CheckpointError,
  type CheckpointInspection,
  type CheckpointSource,
  type DeviceIdentity,
  inspectCheckpoint,
  openCheckpointFile,
} from "../../../src/checkpoint/mod.ts";
import { shellFile } from "../../../src/base/shell.ts";
import { fileChunks, isQemuStream } from "../../../src/vmm/mod.ts";
import { chainName } from "../../chain_name.ts";
import type { Context } from "../../context.ts";
import { bytes, count, hex, rate, time } from "../../output/format.ts";
import { whileReading } from "../../output/progress.ts";
import { storedTimeLines, storedTimes } from "../../output/stored_times.ts";
import {
  openSnapshot,
  readSnapshot,
  snapshotDocument,
  snapshotLines,
} from "../../vmm_files/cloud_hypervisor.ts";
import { isSnapshot } from "../../vmm_files/snapshot_folder.ts";
import { readStream, streamDocument, streamLines } from "../../vmm_files/qemu_stream.ts";
import { table } from "../../output/table.ts";
import type { FileArgs } from "../../specs/verify_show.ts";

/** What is not known of a checkpoint that cannot be read. */
const UNKNOWN = {
  ...{ version: null, devices: null, created: null, tool: null, iovaPageSize: null },
  ...{ complete: null, transactions: null, bytes: null, storedBytes: null, sha256: null },
  ...{ frames: null, phases: null, digest: null, stream: null },
};

/** Runs `show`. */
export async function run({ file: word }: FileArgs, context: Context): Promise<number> {
  const named = chainName(word);
  if (named !== null && named.number === undefined) {
    if (isSnapshot(word)) return await showSnapshot(word, context);
    const { showFolder } = await import("./folder.ts");
    return await showFolder(word, true, context);
  }
  const file = named === null ? word : await fileOf(named.folder, named.number!);
  context.set({ file, ...UNKNOWN });
  await using source = await context.until(openCheckpointFile(file));
  if (source.seekable && isQemuStream(await firstBytes(source.file.fd))) {
    return await showQemuStream(file, source, context);
  }
  const { signal } = context;
  const checkpoint = await whileReading(
    { verb: "Reading", file, source },
    context,
    (at) => inspectCheckpoint(source, { signal, onProgress: (read) => at(read.storedBytes) }),
  );
  const { version, header, trailer, storedBytes, frames, phases, error } = checkpoint;
  if (header === null) throw error;
  // Of one that is cut or damaged, what was read up to there.
  const sha256 = trailer?.sha256 ?? null;
  const times = storedTimes(checkpoint.times, header.devices.length);
  const devices = header.devices.map((device, number) => ({ ...device, ...times[number] }));
  const read = { ...content(checkpoint), storedBytes, sha256, frames, phases };
  context.set({ version, ...header, devices, ...read });
  context.print(...overview(file, checkpoint, header));
  header.devices.forEach((device, number) => context.print(`Device ${number}: ${words(device)}`));
  context.print(...phaseTable(checkpoint), ...storedTimeLines(times));
  if (error !== null) throw error;
  return 0;
}

/** The file of a folder's checkpoint. */
async function fileOf(folder: string, number: number): Promise<string> {
  const { linkFile } = await import("../../../src/live/mod.ts");
  return linkFile(folder, number);
}

async function showQemuStream(
  file: string,
  source: CheckpointSource,
  context: Context,
): Promise<number> {
  const stream = await readStream(file, source, context);
  context.set({ stream: streamDocument(stream) });
  context.print(...streamLines(file, stream));
  const next = `hint: import it: vfiokit import qemu ${shellFile(file)} -o CHECKPOINT`;
  if (stream.devices.length > 0) context.note(next);
  return 0;
}

async function showSnapshot(folder: string, context: Context): Promise<number> {
  context.set({ file: folder, snapshot: null });
  await using source = await context.until(openSnapshot(folder));
  const snapshot = await readSnapshot(folder, source, context);
  context.set({ snapshot: snapshotDocument(snapshot) });
  context.print(...snapshotLines(folder, snapshot));
  const next = `hint: import it: vfiokit import cloud-hypervisor ${
    shellFile(folder)
  } -o CHECKPOINT`;
  if (snapshot.devices.some(({ blob }) => blob !== null)) context.note(next);
  return 0;
}

async function firstBytes(fd: number): Promise<Uint8Array> {
  for await (const chunk of fileChunks(fd)) return chunk;
  return new Uint8Array(0);
}

/** How much state it holds: as the trailer says, or as far as it could be read. */
function content({ trailer, phases }: CheckpointInspection): {
  readonly transactions: number;
  readonly bytes: number;
} {
  const { transactions, bytes } = trailer ?? {
    transactions: phases.reduce((sum, phase) => sum + phase.transactions, 0),
    bytes: phases.reduce((sum, phase) => sum + phase.bytes, 0),
  };
  return { transactions, bytes };
}

function overview(
  file: string,
  checkpoint: CheckpointInspection,
  header: NonNullable<CheckpointInspection["header"]>,
): string[] {
  const { version, trailer, storedBytes, frames, error } = checkpoint;
  const { transactions, bytes: state } = content(checkpoint);
  const sha256 = trailer?.sha256 ?? null;
  const compressed = frames.compressed === 0 ? "" : `, ${frames.compressed} of them compressed`;
  return [
    `${file === "-" ? "stdin" : file}: a checkpoint, version ${version}, ${bytes(storedBytes)}`,
    `  written    ${header.created} by ${header.tool}`,
    error === null
      ? `  complete   ${
        header.complete ? "yes" : "no: pre-copy only, it cannot be restored as it is"
      }`
      : `  damaged    ${damage(error, storedBytes)}`,
    ...(header.link === undefined ? [] : [`  chain      ${linkWords(header.link)}`]),
    `  state      ${bytes(state)} in ${count(transactions, "transaction")}`,
    `  frames     ${frames.data} with data${compressed}`,
    ...(sha256 === null ? [] : [`  sha256     ${sha256}`]),
  ];
}

/** Which checkpoint of which chain it is. */
function linkWords({ number, chain, previous, memory }: ChainLink): string {
  const all = memory.flatMap(({ ranges }) => ranges).reduce(
    (sum, { size }) => sum + Number(size),
    0,
  );
  const what = previous === null
    ? `all of ${bytes(all)} of memory`
    : `what changed since number ${previous.number} of ${bytes(all)} of memory`;
  return `number ${number} of chain ${chain}: ${what}`;
}

function damage({ code, problem }: CheckpointError, storedBytes: number): string {
  return code === "truncated"
    ? `it is cut: it ends after ${bytes(storedBytes)}, and this is what it holds up to there`
    : `${problem}; this is what it holds up to there`;
}

function words(device: DeviceIdentity): string {
  const { protocol, bus, driver, vendorId, deviceId, mdevType, vgpuType, region } = device;
  const ids = vendorId === null || deviceId === null
    ? ""
    : `, ${hex(vendorId, 4)}:${hex(deviceId, 4)}`;
  const named = mdevType ?? vgpuType;
  const type = named === undefined ? "" : `, type ${named}`;
  const where = region === null ? "" : `, region type ${region.type} subtype ${region.subtype}`;
  return `${bus}${ids}, driver ${driver ?? "unknown"}${type}, protocol ${protocol}${where}`;
}

function phaseTable({ phases }: CheckpointInspection): string[] {
  const right = "right" as const;
  return table(
    [
      { head: "device", align: right },
      { head: "phase" },
      { head: "transactions", align: right },
      { head: "bytes", align: right },
      { head: "smallest", align: right },
      { head: "largest", align: right },
      { head: "time", align: right },
      { head: "rate", align: right },
    ],
    // Those of several devices come as they were ready; the devices in their order read better.
    phases.toSorted((a, b) => a.device - b.device).map((phase) => [
      String(phase.device),
      phase.phase,
      String(phase.transactions),
      bytes(phase.bytes),
      bytes(phase.smallest),
      bytes(phase.largest),
      time(phase.seconds),
      rate(phase.bytes, phase.seconds),
    ]),
  );
}
