/**
 * The source of a live migration: sends memory without zero pages, and prints the bytes and seconds
 * of the first round, and the most memory that it took, in MiB. Arguments: a folder for the journal,
 * MiB, an address, what the owner writes (`none` or `compare`), for tcp a folder of keys, how many
 * streams, and `zstd` to compress memory, which then holds what the runtime's executable does.
 */

import * as fs from "node:fs";
import process from "node:process";
import { openDevices } from "../../mod.ts";
import {
  type Connection,
  connectTcp,
  connectUnix,
  migrate,
  parseTcpAddress,
  readIdentity,
  streamConnection,
} from "../../src/live/mod.ts";
import { peakMib } from "./_peak.ts";
import { touchMemory } from "./_touch.ts";

const PAGE = 4096;
const MIB = 1 << 20;
const [, , journal = "", mib = "", address = "", ...how] = process.argv;
const [writes = "", keys = "", streams = "1", compress = ""] = how;

async function connect(): Promise<Connection> {
  if (address.startsWith("unix:")) return await connectUnix(address.slice("unix:".length));
  const certificate = `${keys}/certificate.pem`;
  const identity = readIdentity({ key: `${keys}/key.pem`, certificate, peers: [certificate] });
  const socket = await connectTcp(parseTcpAddress(address), identity);
  return streamConnection(address, socket, socket);
}

const maps = [{ iova: 0n, size: BigInt(mib) * BigInt(MIB) }];
const devices = await openDevices(["sim:mlx5?size=4KiB"], { maps, tracker: "device" });
if (compress === "zstd") {
  const program = fs.openSync(process.execPath, "r");
  const { size } = fs.fstatSync(program);
  // By the page: what larger writes leave behind is not collected in Bun, and counts as taken.
  const part = new Uint8Array(PAGE);
  for (let at = 0; at < Number(mib) * MIB; at += PAGE) {
    fs.readSync(program, part, 0, PAGE, at % (size - PAGE));
    await devices[0]!.writeMemory(BigInt(at), part);
  }
  fs.closeSync(program);
} else {
  await touchMemory(devices[0]!);
}
const { rounds } = await migrate(devices, await connect(), {
  journal,
  downtimeMs: 60_000,
  ownerWrites: writes === "compare" ? "compare" : "none",
  streams: { count: Number(streams), connect },
  compress: compress === "zstd" ? compress : undefined,
});
console.log(`${rounds[0]!.sent} ${rounds[0]!.seconds} ${peakMib()}`);
await devices[Symbol.asyncDispose]();
