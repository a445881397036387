/**
 * One boot of one kernel, and what came of it.
 *
 * @module
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KernelRelease } from "./kernel.ts";
import { kernelComplaints } from "./kernel_log.ts";
import type { Options } from "./options.ts";
import type { Outcome } from "./outcome.ts";
import { prepare, type Prepared } from "./prepare.ts";
import { boot, type Network } from "./qemu.ts";
import { Server } from "../../src/server/mod.ts";

/** The device that is served: it writes to memory and interrupts when its doorbell is rung. */
const SERVED = "sim:none?size=4KiB&doorbell=1";

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

/** What the guest is to do. */
export interface Task extends Omit<Options, "kernels"> {
  /** Names of cases that need not be shown again: another kernel has. */
  readonly shown: readonly string[];
}

function guestCommand({ command, only, long, once }: Task, deno: string): string {
  const words = command.length > 0 ? command : [
    ...[deno, "run", "--allow-all", "--cached-only", "tests/lab/guest/main.ts"],
    ...(long ? ["--long"] : []),
    ...(once ? ["--once"] : []),
    ...(only === undefined ? [] : [only]),
  ];
  return words.map(quote).join(" ") + "\n";
}

/** Whose guest it is, of one or two. */
interface Place {
  /** The guest's own folder. */
  readonly folder: string;
  /** Its socket to the other guest, which sees the folder `both`, too; null if it is alone. */
  readonly network: Network | null;
  /** A folder that both guests see; null if there is one guest. */
  readonly both: string | null;
  /** The socket of the device that is served; null for none. */
  readonly served: string | null;
  /** Takes what the guest prints. */
  print(bytes: Uint8Array): void;
  /** Tells of what went wrong. */
  say(text: string): void;
}

/** The places of one guest, or of two with a network between them. */
function placesOf(
  folder: string,
  guests: number,
  served: string | null,
  say: (text: string) => void,
): Place[] {
  if (guests === 1) {
    const print = (bytes: Uint8Array): void => void process.stdout.write(bytes);
    return [{ folder, network: null, both: null, served, print, say }];
  }
  const both = join(folder, "both");
  mkdirSync(both);
  const socket = (guest: number): string => join(folder, `${guest}.sock`);
  return [1, 2].map((guest) => {
    const own = join(folder, `guest-${guest}`);
    mkdirSync(own);
    return {
      folder: own,
      network: { guest, own: socket(guest), other: socket(3 - guest) },
      both,
      served,
      print: linesWith(`${guest}: `),
      say: (text) => say(`guest ${guest}: ${text}`),
    };
  });
}

/** Prints whole lines, with something before each. */
function linesWith(before: string): (bytes: Uint8Array) => void {
  const decoder = new TextDecoder();
  let begun = "";
  return (bytes) => {
    const lines = (begun + decoder.decode(bytes, { stream: true })).split("\n");
    begun = lines.pop()!;
    for (const line of lines) process.stdout.write(`${before}${line}\n`);
  };
}

/** Boots one guest, lets it do its task and says what went wrong. */
async function bootGuest(
  project: string,
  parts: Prepared,
  task: Task,
  { folder, network, both, served, print, say }: Place,
): Promise<Pick<Outcome, "ok" | "result">> {
  const runFolder = join(folder, "run");
  mkdirSync(runFolder);
  const { deno, bun } = parts.programs;
  const inGuest = (path: string): string => join("/opt", path.slice(parts.programs.folder.length));
  const variables = {
    ...{ PROJECT: project, DENO: inGuest(deno), BUN: inGuest(bun) },
    ...(network !== null && { GUEST: `${network.guest}` }),
  };
  writeFileSync(
    join(runFolder, "env"),
    Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}\n`).join(""),
  );
  writeFileSync(join(runFolder, "shown.json"), JSON.stringify(task.shown));
  writeFileSync(join(runFolder, "command"), guestCommand(task, inGuest(deno)));
  const consoleFile = join(folder, "console");
  const end = await boot(parts.qemu, {
    vmlinux: parts.vmlinux,
    initramfs: parts.initramfs,
    append: task.append,
    shares: [
      { tag: "run", path: runFolder, writable: true },
      { tag: "runtimes", path: parts.programs.folder, writable: false },
      { tag: "client", path: parts.client, writable: false },
      { tag: "vmm", path: parts.guestQemu, writable: false },
      ...(both === null ? [] : [{ tag: "both", path: both, writable: true }]),
    ],
    network,
    served,
    consoleFile,
    timeout: task.timeout,
  }, print);
  const complaints = kernelComplaints(
    `${readOr(consoleFile, "")}\n${readOr(join(runFolder, "dmesg"), "")}`,
  );
  const status = readOr(join(runFolder, "status"), "").trim();
  if (end.complaint !== "") say(end.complaint);
  if (end.timedOut) say(`the guest was killed after ${task.timeout} s`);
  else if (status === "") say(`the guest ended without a result\n${readOr(consoleFile, "")}`);
  for (const line of complaints) say(`the guest's kernel says: ${line}`);
  return {
    ok: status === "0" && complaints.length === 0,
    result: JSON.parse(readOr(join(runFolder, "result.json"), "null")),
  };
}

/**
 * Boots a kernel, in one guest or two, lets them do their task and says what went wrong; `folder`
 * is this run's own. What the first guest's cases tell is the result of both.
 */
export async function bootOnce(
  project: string,
  release: KernelRelease,
  task: Task,
  folder: string,
  say: (text: string) => void,
): Promise<Outcome> {
  const parts = prepare(project, release, folder, task.serve, say);
  const served = task.serve ? join(folder, "served.sock") : null;
  await using _server = served === null ? null : await Server.listen(SERVED, served, {
    onEvent: (event) => say(`the served device: ${JSON.stringify(event)}`),
  });
  const started = performance.now();
  say(`booting Linux ${release.name}${task.guests === 2 ? " in two guests" : ""}`);
  const ends = await Promise.all(
    placesOf(folder, task.guests, served, say).map((place) =>
      bootGuest(project, parts, task, place)
    ),
  );
  const seconds = (performance.now() - started) / 1000;
  say(`the guest ran for ${seconds.toFixed(1)} s`);
  return {
    kernel: release.name,
    seconds,
    ok: ends.every(({ ok }) => ok),
    result: ends[0]!.result,
  };
}
