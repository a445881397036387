/** Traces of simulated devices, in files. */

import * as fs from "node:fs";
import { createCheckpointFile, openDevice, save } from "../../mod.ts";
import { Trace } from "../../src/trace/mod.ts";
import type { Folder } from "../cli/_folder.ts";

/** A trace of a save, and the checkpoint that it wrote. */
export async function recordedSave(
  folder: Folder,
  spec: string,
  options: { readonly data?: boolean } = {},
): Promise<{ readonly trace: string; readonly checkpoint: string }> {
  const [path, checkpoint] = [folder.file("save.trace"), folder.file("save.vfk")];
  using trace = Trace.create(path, { devices: [spec], ...options });
  await saved(spec, checkpoint, trace);
  return { trace: path, checkpoint };
}

/** Saves a device with pre-copy. */
export async function saved(name: string, to: string, trace?: Trace): Promise<void> {
  await using sink = await createCheckpointFile(to, { force: true });
  await using device = await openDevice(name, { trace });
  await save(device, sink, { precopy: {} });
}

/** The lines of a file. */
export function linesOf(path: string): string[] {
  return fs.readFileSync(path, "utf8").trimEnd().split("\n");
}

/** Writes lines to a file. */
export function writeLines(path: string, lines: readonly string[]): void {
  fs.writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
}
