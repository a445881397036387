/**
 * The lab: boots a real kernel under QEMU's software emulation, with a vendor
 * driver of ours, and runs the toolkit in it. See docs/lab.md.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MissingError } from "./host.ts";
import { type KernelRelease, KERNELS } from "./kernel.ts";
import { kernelComplaints } from "./kernel_log.ts";
import { prepare } from "./prepare.ts";
import { boot } from "./qemu.ts";

const PROJECT = resolve(fileURLToPath(new URL("../..", import.meta.url)));

const USAGE = `Usage: deno task lab [--kernel ${KERNELS.map(({ name }) => name).join("|")}]
                     [--only WORD] [--timeout SECONDS] [-- COMMAND…]

Boots a Debian kernel in an emulator and runs the toolkit against a vendor
driver in it; with a COMMAND, runs that in the guest instead.
Exit code 0: all passed; 1: not; 3: this machine lacks something.`;

interface Options {
  readonly release: KernelRelease;
  readonly only: string | undefined;
  readonly timeout: number;
  readonly command: readonly string[];
}

function parseOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      kernel: { type: "string", default: "6.1" },
      only: { type: "string" },
      timeout: { type: "string", default: "1200" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return null;
  const release = KERNELS.find(({ name }) => name === values.kernel);
  if (release === undefined) {
    const known = KERNELS.map(({ name }) => name).join(", ");
    throw new TypeError(`Cannot boot kernel "${values.kernel}": known are ${known}`);
  }
  const timeout = Number(values.timeout);
  if (!(timeout > 0)) throw new TypeError(`Cannot wait "${values.timeout}" seconds`);
  return { release, only: values.only, timeout, command: positionals };
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function say(text: string): void {
  process.stderr.write(`lab: ${text}\n`);
}

function guestCommand(options: Options, deno: string): string {
  const words = options.command.length > 0 ? options.command : [
    ...[deno, "run", "--allow-all", "--cached-only", "tests/lab/guest/main.ts"],
    ...(options.only === undefined ? [] : [options.only]),
  ];
  return words.map(quote).join(" ") + "\n";
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

async function lab(options: Options, folder: string): Promise<number> {
  const parts = prepare(PROJECT, options.release, folder, say);
  const runFolder = join(folder, "run");
  mkdirSync(runFolder);
  const { deno, bun } = parts.programs;
  const inGuest = (path: string): string => join("/opt", path.slice(parts.programs.folder.length));
  const variables = { PROJECT, DENO: inGuest(deno), BUN: inGuest(bun) };
  writeFileSync(
    join(runFolder, "env"),
    Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}\n`).join(""),
  );
  writeFileSync(join(runFolder, "command"), guestCommand(options, inGuest(deno)));

  const consoleFile = join(folder, "console");
  const started = performance.now();
  say(`booting Linux ${options.release.name}`);
  const end = await boot(parts.qemu, {
    vmlinux: parts.vmlinux,
    initramfs: parts.initramfs,
    append: [],
    shares: [
      { tag: "run", path: runFolder, writable: true },
      { tag: "runtimes", path: parts.programs.folder, writable: false },
      { tag: "client", path: parts.client, writable: false },
    ],
    consoleFile,
    timeout: options.timeout,
  }, (bytes) => process.stdout.write(bytes));

  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const complaints = kernelComplaints(
    `${readOr(consoleFile, "")}\n${readOr(join(runFolder, "dmesg"), "")}`,
  );
  const status = readOr(join(runFolder, "status"), "").trim();
  if (end.complaint !== "") say(end.complaint);
  if (end.timedOut) say(`the guest was killed after ${options.timeout} s`);
  else if (status === "") say(`the guest ended without a result\n${readOr(consoleFile, "")}`);
  for (const line of complaints) say(`the guest's kernel says: ${line}`);
  say(`the guest ran for ${seconds} s`);
  return status === "0" && complaints.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === null) {
    console.log(USAGE);
    return 0;
  }
  const folder = mkdtempSync(join(tmpdir(), "vfiokit-lab-run-"));
  try {
    return await lab(options, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof MissingError ? 3 : error instanceof TypeError ? 2 : 1;
}
