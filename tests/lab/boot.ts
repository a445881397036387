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
import { prepare } from "./prepare.ts";
import { boot } from "./qemu.ts";
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
export interface Task
  extends Pick<Options, "only" | "timeout" | "append" | "long" | "once" | "serve" | "command"> {
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

/** Boots a kernel, lets the guest do its task and says what went wrong; `folder` is this run's own. */
export async function bootOnce(
  project: string,
  release: KernelRelease,
  task: Task,
  folder: string,
  say: (text: string) => void,
): Promise<Outcome> {
  const parts = prepare(project, release, folder, task.serve, say);
  const runFolder = join(folder, "run");
  mkdirSync(runFolder);
  const { deno, bun } = parts.programs;
  const inGuest = (path: string): string => join("/opt", path.slice(parts.programs.folder.length));
  const variables = { PROJECT: project, DENO: inGuest(deno), BUN: inGuest(bun) };
  writeFileSync(
    join(runFolder, "env"),
    Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}\n`).join(""),
  );
  writeFileSync(join(runFolder, "shown.json"), JSON.stringify(task.shown));
  writeFileSync(join(runFolder, "command"), guestCommand(task, inGuest(deno)));

  const served = task.serve ? join(folder, "served.sock") : null;
  await using _server = served === null ? null : await Server.listen(SERVED, served, {
    onEvent: (event) => say(`the served device: ${JSON.stringify(event)}`),
  });
  const consoleFile = join(folder, "console");
  const started = performance.now();
  say(`booting Linux ${release.name}`);
  const end = await boot(parts.qemu, {
    vmlinux: parts.vmlinux,
    initramfs: parts.initramfs,
    append: task.append,
    shares: [
      { tag: "run", path: runFolder, writable: true },
      { tag: "runtimes", path: parts.programs.folder, writable: false },
      { tag: "client", path: parts.client, writable: false },
      { tag: "vmm", path: parts.guestQemu, writable: false },
    ],
    served,
    consoleFile,
    timeout: task.timeout,
  }, (bytes) => process.stdout.write(bytes));

  const seconds = (performance.now() - started) / 1000;
  const complaints = kernelComplaints(
    `${readOr(consoleFile, "")}\n${readOr(join(runFolder, "dmesg"), "")}`,
  );
  const status = readOr(join(runFolder, "status"), "").trim();
  if (end.complaint !== "") say(end.complaint);
  if (end.timedOut) say(`the guest was killed after ${task.timeout} s`);
  else if (status === "") say(`the guest ended without a result\n${readOr(consoleFile, "")}`);
  for (const line of complaints) say(`the guest's kernel says: ${line}`);
  say(`the guest ran for ${seconds.toFixed(1)} s`);
  return {
    kernel: release.name,
    seconds,
    ok: status === "0" && complaints.length === 0,
    result: JSON.parse(readOr(join(runFolder, "result.json"), "null")),
  };
}
