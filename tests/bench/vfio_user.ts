/**
 * A device that another process serves: how long a request takes, and how fast its data comes.
 */

import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { run } from "./_command.ts";
import { compile } from "./_compile.ts";
import { interleave } from "./_measure.ts";
import { rateRow, type Row } from "./_row.ts";
import { CLI, DENO, type Runtime, script } from "./_runtime.ts";

const DEVICE = "sim:mlx5?size=512MiB";
const BYTES = 512 << 20;
/** What a GET of the state may take in Deno, in microseconds. */
const MOST_US = 60;
/** What the data's rate is to be, of that of socat. */
const LEAST_RATIO = 0.7;
/** How long a program may take to make its socket, in milliseconds. */
const GIVE_UP_MS = 60_000;
const TURNS = 20_000;

/** Waits for a socket's file. */
async function socketAt(path: string): Promise<void> {
  const until = performance.now() + GIVE_UP_MS;
  while (!fs.existsSync(path)) {
    if (performance.now() > until) throw new Error(`Cannot measure: there is no socket ${path}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Runs a program that makes a socket, while `work` runs. */
async function beside<Value>(
  words: readonly string[],
  path: string,
  work: () => Promise<Value>,
): Promise<Value> {
  const [program = "", ...args] = words;
  const child = spawn(program, args, { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    await socketAt(path);
    return await work();
  } finally {
    child.kill("SIGTERM");
    await ended;
    fs.rmSync(path, { force: true });
  }
}

/** The seconds that socat takes for the bytes; null if it is not installed. */
async function socatSeconds(folder: string): Promise<number | null> {
  const path = `${folder}/socat.sock`;
  const chunk = ["-u", "-b", String(1 << 20)];
  try {
    await run(["socat", "-V"]);
  } catch {
    return null;
  }
  const server = ["socat", ...chunk, `UNIX-LISTEN:${path}`, "OPEN:/dev/null"];
  return await beside(server, path, async () => {
    const begun = performance.now();
    await run(["socat", ...chunk, `OPEN:/dev/zero,readbytes=${BYTES}`, `UNIX-CONNECT:${path}`]);
    return (performance.now() - begun) / 1000;
  });
}

/** A GET of the state against a turn in C, and the data against socat, or C if that is missing. */
export async function vfioUserRows(
  folder: string,
  runtime: Runtime,
  rounds: number,
): Promise<Row[]> {
  const program = await compile("socket", folder);
  const path = `${folder}/device.sock`;
  const yardstick = await socatSeconds(folder) === null ? "C" : "socat";
  const number = async (...args: readonly string[]): Promise<number> =>
    Number((await run([program, ...args])).stdout);
  const serve = [...DENO.words, CLI, "serve", DEVICE, "--socket", path];
  const least = await beside(serve, path, async () => {
    let bytes = 0;
    let seconds = Infinity;
    const turns = await interleave(rounds, {
      theirs: () => number("turns", String(TURNS)),
      ours: async () => {
        const { stdout } = await run(script(runtime, "./_vfio_user.ts", path));
        const [microseconds, came, took] = stdout.split(" ").map(Number);
        bytes = came!;
        seconds = Math.min(seconds, took!);
        return microseconds!;
      },
    });
    return { turns, bytes, seconds };
  });
  const { theirs } = await interleave(rounds, {
    theirs: async () => await socatSeconds(folder) ?? await number("copy", String(BYTES)),
  });
  const { turns, bytes, seconds } = least;
  return [
    {
      what: `${runtime.name}: state of a served device`,
      ...turns,
      yardstick: "a turn in C",
      unit: "us",
      compared: `${(turns.ours / turns.theirs).toFixed(1)} times`,
      target: `≤ ${MOST_US} us`,
      met: turns.ours <= MOST_US,
      note: null,
    },
    rateRow(
      `${runtime.name}: data of a served device, 1 MiB a message`,
      yardstick,
      bytes,
      { ours: seconds, theirs: theirs * bytes / BYTES },
      LEAST_RATIO,
    ),
  ];
}
