/**
 * The source of a live migration: sends memory without zero pages, and prints the bytes and seconds
 * of the first round. Arguments: a folder for the journal, MiB, an address, and for tcp a folder of
 * keys.
 */

import { randomFillSync } from "node:crypto";
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

const MIB = 1 << 20;
const [, , journal = "", mib = "", address = "", keys = ""] = process.argv;

async function connect(): Promise<Connection> {
  if (address.startsWith("unix:")) return await connectUnix(address.slice("unix:".length));
  const certificate = `${keys}/certificate.pem`;
  const identity = readIdentity({ key: `${keys}/key.pem`, certificate, peers: [certificate] });
  const socket = await connectTcp(parseTcpAddress(address), identity);
  return streamConnection(address, socket, socket);
}

const maps = [{ iova: 0n, size: BigInt(mib) * BigInt(MIB) }];
const devices = await openDevices(["sim:mlx5?size=4KiB"], { maps, tracker: "device" });
const random = randomFillSync(new Uint8Array(MIB));
for (let part = 0; part < Number(mib); part++) {
  await devices[0]!.writeMemory(BigInt(part) * BigInt(MIB), random);
}
const { rounds } = await migrate(devices, await connect(), {
  journal,
  downtimeMs: 60_000,
  ownerWrites: "none",
});
console.log(`${rounds[0]!.sent} ${rounds[0]!.seconds}`);
await devices[Symbol.asyncDispose]();
