/**
 * The destination of a live migration, whose memory was touched before it comes. Arguments: a folder
 * for the journal, an address, a folder of keys (empty if it is not tcp), and the devices. It prints the address that it listens on, and
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
import { touchMemory } from "./_touch.ts";

const [, , journal = "", address = "", keys = "", ...specs] = process.argv;
if (specs.length === 0) specs.push("sim:mlx5?size=4KiB");

/** What waits for connections. */
interface Listening extends Disposable {
  next(signal?: AbortSignal): Promise<Connection>;
}

async function listening(): Promise<Listening> {
  if (address.startsWith("unix:")) {
    const listener = await UnixListener.listen(address.slice("unix:".length));
    console.log(address);
    return listener;
  }
  const certificate = `${keys}/certificate.pem`;
  const identity = readIdentity({ key: `${keys}/key.pem`, certificate, peers: [certificate] });
  const listener = await TcpListener.listen(parseTcpAddress(address), identity);
  console.log(formatTcpAddress(listener.address));
  return {
    next: async (signal) => {
      const socket = await listener.accept(signal);
      return streamConnection(address, socket, socket);
    },
    [Symbol.dispose]: () => listener[Symbol.dispose](),
  };
}

using listener = await listening();
const { devices } = await receive(await listener.next(), async (memory) => {
  const devices = await openDevices(specs, { each: memory.map((maps) => ({ maps })) });
  for (const device of devices) await touchMemory(device);
  return devices;
}, { journal, connections: { next: (signal) => listener.next(signal) } });
console.log(peakMib());
await devices[Symbol.asyncDispose]();
