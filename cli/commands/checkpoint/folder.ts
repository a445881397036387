/**
 * `verify` and `show` of a folder of checkpoints.
 *
 * @module
 */

import {
  ChainError,
  inspectChain,
  type LinkInspection,
  type VerifiedChain,
  verifyChain,
} from "../../../src/live/mod.ts";
import type { ChainName } from "../../chain_name.ts";
import type { Context } from "../../context.ts";
import { bytes, count } from "../../output/format.ts";
import { whileReadingFolder } from "../../output/progress.ts";
import { table } from "../../output/table.ts";

/**
 * Reads all checkpoints of a folder; prints which can be restored.
 *
 * @param all Prints a line for each, and not only for those that cannot be.
 * @throws {ChainError} If one of them cannot be restored.
 */
export async function showFolder(folder: string, all: boolean, context: Context): Promise<number> {
  context.set({ file: folder, ok: false, lastGood: null, checkpoints: null });
  const { signal } = context;
  const { links, lastGood } = await whileReadingFolder(
    { verb: all ? "Reading" : "Verifying", name: folder },
    context,
    (onProgress) => inspectChain(folder, { signal, onProgress }),
  );
  const bad = links.filter(({ problem }) => problem !== null);
  context.set({ ok: bad.length === 0, lastGood, checkpoints: links.map(fields) });
  const good = links.length - bad.length;
  context.print(
    `${folder}: ${count(links.length, "checkpoint")}, ${good} of them can be restored` +
      (lastGood === null ? "" : `, the last is ${lastGood}`),
  );
  const shown = all ? links : bad;
  if (shown.length > 0) context.print(...tableOf(shown));
  const [first] = bad;
  if (first === undefined && links.length > 0) return 0;
  const what = first === undefined ? "there are none" : `${first.number}: ${first.problem}`;
  throw new ChainError(what, { code: first?.code ?? "no-checkpoint", folder, lastGood }, {
    cause: first?.cause,
  });
}

/**
 * Verifies one checkpoint of a folder, and what it builds on.
 *
 * @throws {ChainError} If it cannot be restored.
 */
export async function verifyInFolder(
  file: string,
  chain: ChainName,
  context: Context,
): Promise<number> {
  context.set({ file, ok: false, files: null, bytes: null });
  const { files, deviceBytes } = await verifiedChain(file, chain, context);
  context.set({ ok: true, files, bytes: deviceBytes });
  context.print(
    `${file}: sound, with ${count(files.length, "file")}; ${bytes(deviceBytes)} of device data`,
  );
  return 0;
}

/**
 * Verifies one checkpoint of a folder, and what it builds on, and draws at a terminal how far it is.
 *
 * @param name What the user calls it.
 * @throws {ChainError} If it cannot be restored.
 */
export async function verifiedChain(
  name: string,
  { folder, number }: ChainName,
  context: Context,
): Promise<VerifiedChain> {
  const { signal } = context;
  return await whileReadingFolder(
    { verb: "Verifying", name },
    context,
    (onProgress) => verifyChain(folder, { number, signal, onProgress }),
  );
}

function kindOf({ header }: LinkInspection): "full" | "increment" | null {
  const link = header?.link;
  return link === undefined ? null : link.previous === null ? "full" : "increment";
}

function tableOf(links: readonly LinkInspection[]): string[] {
  const right = "right" as const;
  return table(
    [
      { head: "number", align: right },
      { head: "kind" },
      { head: "taken" },
      { head: "size", align: right },
      { head: "memory", align: right },
      { head: "device", align: right },
      { head: "can be restored" },
    ],
    links.map((link) => [
      String(link.number),
      kindOf(link) ?? "-",
      link.header?.created ?? "-",
      bytes(link.storedBytes),
      bytes(link.memoryBytes),
      bytes(link.deviceBytes),
      link.problem === null ? "yes" : `no: ${link.problem}`,
    ]),
  );
}

function fields(link: LinkInspection): Readonly<Record<string, unknown>> {
  const { number, file, header, storedBytes, memoryBytes, deviceBytes, problem, code } = link;
  return {
    number,
    file,
    kind: kindOf(link),
    chain: header?.link?.chain ?? null,
    previous: header?.link?.previous?.number ?? null,
    created: header?.created ?? null,
    storedBytes,
    memoryBytes,
    deviceBytes,
    ok: problem === null,
    problem,
    code,
  };
}
