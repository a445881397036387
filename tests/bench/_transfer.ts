/**
 * One save, restore or verify in a process of its own, as the command line
 * does it. Prints on stderr: 0, the seconds that it took, and, of a save or a
 * restore, those of reading back and of all there was to do.
 *
 *     _transfer.ts save REGION… FILE         _transfer.ts save-v2 DATA FILE
 *     _transfer.ts save-traced REGION FILE
 *     _transfer.ts restore REGION FILE       _transfer.ts restore-v2 DATA FILE
 *     _transfer.ts save-streams REGION FILE  _transfer.ts restore-streams REGION FILE
 *     _transfer.ts verify FILE               _transfer.ts crc BYTES
 *
 * FILE may be `-` for stdout or stdin.
 */

import * as fs from "node:fs";
import process from "node:process";
import { crc32 } from "node:zlib";
import {
  createCheckpointFile,
  decodeCheckpoint,
  encodeCheckpoint,
  openCheckpointFile,
  verifyCheckpoint,
} from "../../src/checkpoint/mod.ts";
import { type Device, openDevice, resume, stopAndCopy } from "../../src/migration/mod.ts";
import { type SharedTrace, Trace } from "../../src/trace/mod.ts";
import { restore, save } from "../../src/transfer/mod.ts";
import { startWorker } from "./_start_worker.ts";

/** What was measured, in seconds. */
interface Measured {
  readonly seconds: number;
  readonly readBack?: number;
  readonly all?: number;
}

const elapsed = (since: number): number => (performance.now() - since) / 1000;

async function open(action: string, path: string, trace?: SharedTrace): Promise<Device> {
  const worker = startWorker(
    action.endsWith("-v2") ? "./_data_worker.ts" : "./_region_worker.ts",
  );
  return await openDevice(`fd:${fs.openSync(path, "r+")}`, { worker, trace });
}

async function measureSave(
  action: string,
  paths: readonly string[],
  to: string,
): Promise<Measured> {
  using trace = action === "save-traced" ? Trace.create(`${to}.jsonl`) : null;
  const devices = await Promise.all(paths.map((path) => open(action, path, trace ?? undefined)));
  const file = await createCheckpointFile(to);
  const begun = performance.now();
  const report = await save(devices, file);
  const all = elapsed(begun);
  for (const device of devices) await device.close();
  return { seconds: report.seconds, readBack: report.readBack.seconds ?? 0, all };
}

async function measureRestore(action: string, path: string, from: string): Promise<Measured> {
  await using device = await open(action, path);
  await using source = await openCheckpointFile(from);
  const begun = performance.now();
  const { seconds } = await restore(device, source);
  const all = elapsed(begun);
  return { seconds, readBack: 0, all };
}

async function measureSaveStreams(action: string, path: string, to: string): Promise<Measured> {
  await using device = await open(action, path);
  await using file = await createCheckpointFile(to);
  const header = {
    devices: [device.description.identity!],
    created: new Date().toISOString(),
    tool: "benchmark",
    iovaPageSize: null,
  };
  const begun = performance.now();
  await stopAndCopy(device).pipeThrough(encodeCheckpoint(header)).pipeTo(file.writable);
  const seconds = elapsed(begun);
  await file.commit();
  return { seconds };
}

async function measureRestoreStreams(
  action: string,
  path: string,
  from: string,
): Promise<Measured> {
  await using device = await open(action, path);
  await using source = await openCheckpointFile(from);
  const decoder = decodeCheckpoint({ requireComplete: true });
  const begun = performance.now();
  const fed = source.stream().pipeTo(decoder.writable);
  await decoder.readable.pipeTo(resume(device));
  await fed;
  return { seconds: elapsed(begun) };
}

async function measureVerify(path: string): Promise<Measured> {
  await using source = await openCheckpointFile(path);
  const begun = performance.now();
  await verifyCheckpoint(source);
  return { seconds: elapsed(begun) };
}

/** The CRC of so many bytes, a MiB of them again and again. */
function measureCrc(bytes: number): Measured {
  const block = new Uint8Array(new ArrayBuffer(1 << 20)).fill(1);
  let crc = 0;
  const begun = performance.now();
  for (let done = 0; done < bytes; done += block.length) crc = crc32(block, crc);
  const seconds = elapsed(begun);
  if (crc === 0) throw new Error("The CRC is 0");
  return { seconds };
}

async function measure(action: string, args: readonly string[]): Promise<Measured> {
  const [first = "", second = ""] = args;
  if (action === "save-streams") return await measureSaveStreams(action, first, second);
  if (action === "restore-streams") return await measureRestoreStreams(action, first, second);
  if (action.startsWith("save")) return await measureSave(action, args.slice(0, -1), args.at(-1)!);
  if (action.startsWith("restore")) return await measureRestore(action, first, second);
  return action === "crc" ? measureCrc(Number(first)) : await measureVerify(first);
}

const [action = "", ...args] = process.argv.slice(2);
const { seconds, readBack, all } = await measure(action, args);
const numbers = [0, seconds, ...(all === undefined ? [] : [readBack!, all])];
console.error(numbers.map((number) => number.toFixed(6)).join(" "));
