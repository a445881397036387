/**
 * The destination of a live migration, whose memory was touched before it comes. Arguments: a folder
 * for the journal, an address, and for tcp a folder of keys. It prints the address that it listens on, and
 * in the end the most memory that it took, in MiB.
 */

import process from "node:process";
import { openDevices } from "../../mod.ts";
import {
  type Connection,
  formatTcpAddress,
  parseTcpAddress,
  readIdentity,
  receive,
  streamConnection,
  TcpListener,
  UnixListener,
} from "../../src/live/mod.ts";
import { peakMib } from "./_peak.ts";

const PAGE = 4096n;
const [, , journal = "", address = "", keys = ""] = process.argv;

async function accepted(): Promise<Connection> {
  if (address.startsWith("unix:")) {
    using listener = await UnixListener.listen(address.slice("unix:".length));
    console.log(address);
    return await listener.next();
  }
  const certificate = `${keys}/certificate.pem`;
  const identity = readIdentity({ key: `${keys}/key.pem`, certificate, peers: [certificate] });
  using listener = await TcpListener.listen(parseTcpAddress(address), identity);
  console.log(formatTcpAddress(listener.address));
  const socket = await listener.accept();
  return streamConnection(address, socket, socket);
}

// A few bytes of each page: more would leave more behind, which counts as taken.
const some = new Uint8Array(8).fill(1);
const { devices } = await receive(await accepted(), async (memory) => {
  const devices = await openDevices(["sim:mlx5?size=4KiB"], { maps: memory[0] });
  for (const { iova, size } of memory[0]!) {
    for (let at = 0n; at < size; at += PAGE) await devices[0]!.writeMemory(iova + at, some);
  }
  return devices;
}, { journal });
console.log(peakMib());
await devices[Symbol.asyncDispose]();
