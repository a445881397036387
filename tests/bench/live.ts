/**
 * Memory that a live migration sends, against socat and openssl.
 */

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import type { Readable } from "node:stream";
import { generateKeys } from "../../src/live/mod.ts";
import { run, wallSeconds } from "./_command.ts";
import { interleave } from "./_measure.ts";
import { rateRow, type Row } from "./_row.ts";
import { type Runtime, script } from "./_runtime.ts";
import { SLOW_WITHOUT_PRECOPY } from "./_slow_kernel.ts";

const MIB = 256;
const BYTES = MIB << 20;
/** What the rate over a unix socket is to be, of socat's; and over TLS, of openssl's. */
const LEAST_UNIX = 1.0;
const LEAST_TLS = 0.6;
/** Looking for zeros is to be as fast as a copy, or as this. */
const ENOUGH_MB = 5000;
const SCANNED_MIB = 512;
/** What each side may take in MiB, besides the memory that it moves. */
const MOST_MIB = 256;
/** What the downtime may be, of the time that sending takes and this besides. */
const MOST_DOWNTIME = 1.2;
const FIXED_MS = 5;
const SLOW_DEVICES = 8;
/** What the downtime of all of them may be, of that of one. */
const MOST_OF_ONE = 1.15;
const CIPHER = "TLS_AES_256_GCM_SHA384";

/** What a program says, until it matches. */
function said(child: ChildProcess, output: Readable, what: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    output.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      const [, found] = what.exec(text) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.once("close", () => reject(new Error(`Cannot measure: ${text}`)));
  });
}

/** A migration. */
interface Migrated {
  /** The bytes and seconds of its first round. */
  readonly bytes: number;
  readonly seconds: number;
  /** The most memory that a side took besides the memory that is moved, in MiB. */
  readonly besides: number;
}

/** What is migrated, and how. */
interface Way {
  /** Where the other side listens. */
  readonly listen: string;
  /** The folder of keys; null over a unix socket. */
  readonly keys: string | null;
  /** Whether all pages are hashed as they are sent, and compared after the stop. */
  readonly writes: "none" | "compare";
  /** How many streams. Default 1. */
  readonly streams?: number;
  /** Compresses memory, which then is that of a program. */
  readonly compress?: "zstd";
}

/** Migrates to a receive in the same runtime. */
async function migrated(
  folder: string,
  runtime: Runtime,
  { listen, keys, writes, streams = 1, compress }: Way,
): Promise<Migrated> {
  const journal = `${folder}/journal`;
  const [program = "", ...args] = script(
    runtime,
    "./_live_receive.ts",
    journal,
    listen,
    keys ?? "",
  );
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.on("data", (chunk: Uint8Array) => printed += new TextDecoder().decode(chunk));
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    const address = await said(child, child.stdout, /^(.+)$/m);
    const how = [writes, keys ?? "", String(streams), compress ?? ""];
    const given = [journal, String(MIB), address, ...how];
    const words = script(runtime, "./_live.ts", ...given);
    const [bytes, seconds, peak] = (await run(words)).stdout.split(" ").map(Number);
    await ended;
    const [, other] = printed.trim().split("\n").map(Number);
    return { bytes: bytes!, seconds: seconds!, besides: Math.max(peak!, other!) - MIB };
  } finally {
    child.kill("SIGTERM");
    await ended;
    fs.rmSync(journal, { recursive: true, force: true });
  }
}

/** How long devices stand still when they migrate, and how long it should take, in milliseconds. */
interface Downtime {
  readonly measured: number;
  /** What was sent meanwhile, at the bandwidth of the rounds before. */
  readonly sending: number;
}

/** Migrates a device that writes to so much memory, or so many slow ones without memory. */
async function downtime(
  folder: string,
  runtime: Runtime,
  { mib, devices }: { readonly mib: number; readonly devices: number },
): Promise<Downtime> {
  const journal = `${folder}/journal`;
  const listen = `unix:${folder}/live.sock`;
  const spec = mib === 0 ? SLOW_WITHOUT_PRECOPY : "sim:mlx5?size=64MiB";
  const specs = Array.from({ length: devices }, () => spec);
  const words = script(runtime, "./_live_receive.ts", journal, listen, "", ...specs);
  const child = spawn(words[0]!, words.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    await said(child, child.stdout, /^(.+)$/m);
    const given = [journal, listen, String(mib), String(devices)];
    const { stdout } = await run(script(runtime, "./_live_downtime.ts", ...given));
    const [measured, sending] = stdout.trim().split("\n").at(-1)!.split(" ").map(Number);
    await ended;
    return { measured: measured! * 1000, sending: sending! * 1000 };
  } finally {
    child.kill("SIGTERM");
    await ended;
    fs.rmSync(journal, { recursive: true, force: true });
  }
}

/** For how long a device stands still that moves, and eight whose drivers take their time. */
export async function liveDowntimeRows(
  folder: string,
  runtime: Runtime,
  rounds: number,
): Promise<Row[]> {
  let least: Downtime = { measured: Infinity, sending: 1 };
  const writing = async (): Promise<number> => {
    const now = await downtime(folder, runtime, { mib: MIB, devices: 1 });
    if (now.measured / expected(now) < least.measured / expected(least)) least = now;
    return now.measured;
  };
  const slow = async (devices: number): Promise<number> =>
    (await downtime(folder, runtime, { mib: 0, devices })).measured;
  const pair = await interleave(rounds, {
    writing,
    theirs: () => slow(1),
    ours: () => slow(SLOW_DEVICES),
  });
  const ratio = pair.ours / pair.theirs;
  const part = least.measured / expected(least);
  return [
    {
      what: `${runtime.name}: downtime of a live migration`,
      ours: least.measured,
      theirs: expected(least),
      yardstick: `bytes / bandwidth + ${FIXED_MS} ms`,
      unit: "ms",
      compared: part.toFixed(2),
      target: `≤ ${MOST_DOWNTIME}`,
      met: part <= MOST_DOWNTIME,
      note: null,
    },
    {
      what: `${runtime.name}: downtime of ${SLOW_DEVICES} slow devices that move`,
      ours: pair.ours,
      theirs: pair.theirs,
      yardstick: "one",
      unit: "ms",
      compared: ratio.toFixed(2),
      target: `≤ ${MOST_OF_ONE}`,
      met: ratio <= MOST_OF_ONE,
      note: null,
    },
  ];
}

function expected({ sending }: Downtime): number {
  return sending + FIXED_MS;
}

/** The seconds that socat takes for as many bytes. */
async function socatSeconds(folder: string): Promise<number> {
  const path = `${folder}/socat.sock`;
  const options = ["-u", "-d", "-d", "-b", String(1 << 20)];
  const child = spawn("socat", [...options, `UNIX-LISTEN:${path}`, "OPEN:/dev/null"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  await said(child, child.stderr!, /(listening) on/);
  const begun = performance.now();
  await run(["socat", "-u", "-b", String(1 << 20), `OPEN:${folder}/zeros`, `UNIX-CONNECT:${path}`]);
  await ended;
  return (performance.now() - begun) / 1000;
}

/** A port that is free. */
async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The seconds that openssl's client takes to send as many bytes to its server, by the same cipher. */
async function opensslSeconds(folder: string, keys: string): Promise<number> {
  const port = await freePort();
  const at = `127.0.0.1:${port}`;
  const pair = ["-cert", `${keys}/certificate.pem`, "-key", `${keys}/key.pem`];
  const server = ["s_server", "-accept", at, "-naccept", "1", "-quiet", "-tls1_3", ...pair];
  // It would end at the end of its stdin.
  const child = spawn("openssl", server, { stdio: ["pipe", "ignore", "ignore"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const client = ["s_client", "-connect", at, "-quiet", "-no_ign_eof", "-tls1_3"];
  const words = ["openssl", ...client, "-ciphersuites", CIPHER].join(" ");
  try {
    await listening(port);
    const begun = performance.now();
    // Zeros: it takes some letters at the start of a line for commands.
    await run(["sh", "-c", `${words} < "$1" > /dev/null 2>&1`, "sh", `${folder}/zeros`]);
    return (performance.now() - begun) / 1000;
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

/** Waits until a port listens, without a connection: the server takes one alone. */
async function listening(port: number): Promise<void> {
  const line = `:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`;
  while (!fs.readFileSync("/proc/net/tcp", "utf8").includes(line)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Whether both yardsticks are installed. */
async function installed(): Promise<boolean> {
  try {
    await run(["socat", "-V"]);
    await run(["openssl", "version"]);
    return true;
  } catch {
    console.error("live is left out: it needs socat and openssl");
    return false;
  }
}

/** A folder with a key and its certificate. */
async function newKeys(folder: string): Promise<string> {
  const keys = `${folder}/keys`;
  fs.mkdirSync(keys, { recursive: true });
  const { key, certificate } = await generateKeys();
  fs.writeFileSync(`${keys}/key.pem`, key, { mode: 0o600 });
  fs.writeFileSync(`${keys}/certificate.pem`, certificate);
  return keys;
}

/** Memory by several streams, against one: over TLS, and compressed over a unix socket. */
export async function liveStreamsRows(
  folder: string,
  runtime: Runtime,
  rounds: number,
): Promise<Row[]> {
  const ways: Readonly<Record<string, Way>> = {
    TLS: { listen: "tcp://127.0.0.1:0", keys: await newKeys(folder), writes: "none" },
    zstd: { listen: `unix:${folder}/live.sock`, keys: null, writes: "none", compress: "zstd" },
  };
  const rows: Row[] = [];
  for (const [name, way] of Object.entries(ways)) {
    const most = [0, 0, 0, 0, 0];
    const measured = async (streams: number): Promise<number> => {
      const { seconds, besides } = await migrated(folder, runtime, { ...way, streams });
      most[streams] = Math.max(most[streams]!, besides);
      return seconds;
    };
    const { one, two, four } = await interleave(rounds, {
      one: () => measured(1),
      two: () => measured(2),
      four: () => measured(4),
    });
    for (const [streams, ours] of [[2, two], [4, four]] as const) {
      const what = `${runtime.name}: memory of a live migration, ${name}, ${streams} streams`;
      const note = `a side takes ${most[streams]} MiB besides it, with one stream ${most[1]} MiB`;
      rows.push({ ...rateRow(what, "1 stream", BYTES, { ours, theirs: one }), note });
    }
  }
  return rows;
}

/** Memory over a unix socket, and over TLS; no rows without the programs to compare with. */
export async function liveRows(folder: string, runtime: Runtime, rounds: number): Promise<Row[]> {
  if (!await installed()) return [];
  fs.writeFileSync(`${folder}/zeros`, new Uint8Array(BYTES));
  const keys = await newKeys(folder);
  let most = 0;
  const scaled = async (way: Way): Promise<number> => {
    const { bytes, seconds, besides } = await migrated(folder, runtime, way);
    most = Math.max(most, besides);
    return seconds * BYTES / bytes;
  };
  const unix = { listen: `unix:${folder}/live.sock`, keys: null };
  const { theirs, plain, compared } = await interleave(rounds, {
    theirs: () => socatSeconds(folder),
    plain: () => scaled({ ...unix, writes: "none" }),
    compared: () => scaled({ ...unix, writes: "compare" }),
  });
  const tls = await interleave(rounds, {
    theirs: () => opensslSeconds(folder, keys),
    ours: () => scaled({ listen: "tcp://127.0.0.1:0", keys, writes: "none" }),
  });
  fs.rmSync(`${folder}/zeros`);
  const what = `${runtime.name}: memory of a live migration`;
  return [
    rateRow(`${what}, unix socket`, "socat", BYTES, { ours: plain, theirs }, LEAST_UNIX),
    rateRow(`${what}, all pages hashed`, "socat", BYTES, { ours: compared, theirs }),
    rateRow(`${what}, TLS`, "openssl", BYTES, tls, LEAST_TLS),
    {
      what: `${what}: what a side takes besides it`,
      ours: most,
      theirs: MIB,
      yardstick: "moved",
      unit: "MiB",
      compared: "",
      target: `< ${MOST_MIB} MiB`,
      met: most < MOST_MIB,
      note: null,
    },
    ...await scanRows(folder, runtime),
  ];
}

/** Looking for pages of zeros, and comparing pages with their hashes, against a copy. */
async function scanRows(folder: string, runtime: Runtime): Promise<Row[]> {
  const words = script(runtime, "./_page_scan.ts", String(SCANNED_MIB));
  const [zeros, last, hashed, compared, theirs] = (await run(words)).stdout.split(" ").map(Number);
  const bytes = SCANNED_MIB << 20;
  const row = (what: string, ours: number): Row =>
    rateRow(`${runtime.name}: ${what}`, "memcpy", bytes, { ours, theirs: theirs! });
  const zeroRow = (pages: string, ours: number): Row => {
    const measured = row(`looking for zeros in pages, ${pages}`, ours);
    const met = measured.ours >= Math.min(measured.theirs, ENOUGH_MB);
    return { ...measured, target: `≥ 1 or ${ENOUGH_MB} MB/s`, met };
  };
  return [
    zeroRow("all zero", zeros!),
    zeroRow("their last byte is not zero", last!),
    row("hashing pages into frames", hashed!),
    {
      ...row("comparing pages with their hashes", compared!),
      note: `openssl's SHA-256 ${await opensslHashed(folder)} MB/s`,
    },
  ];
}

/** How fast openssl hashes as many bytes by SHA-256, its start included, in MB/s. */
async function opensslHashed(folder: string): Promise<number> {
  const file = `${folder}/hashed`;
  fs.writeFileSync(file, new Uint8Array(BYTES));
  try {
    return Math.round(BYTES / await wallSeconds(["openssl", "dgst", "-sha256", file]) / 1e6);
  } finally {
    fs.rmSync(file);
  }
}
