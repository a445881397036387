/**
 * The source of a live migration that prints for how long the devices stood still, in seconds, and how
 * long the bytes that were sent meanwhile take at the bandwidth of the rounds before. Arguments: a
 * folder for the journal, an address, MiB of memory to which one device writes, or 0 for so many
 * devices without memory whose driver takes its time (see _slow_kernel.ts).
 */

import process from "node:process";
import { type Device, openDevice, openDevices } from "../../mod.ts";
import { connectUnix, migrate, type MigrateProgress } from "../../src/live/mod.ts";
import { SLOW_WITHOUT_PRECOPY, slowDevice } from "./_slow_kernel.ts";
import { startWorker } from "./_start_worker.ts";
import { touchMemory } from "./_touch.ts";

const [, , journal = "", address = "", mib = "", count = ""] = process.argv;

/** A device that writes to 20 000 pages a second, and whose state has 64 MiB. */
async function writing(): Promise<readonly Device[]> {
  const maps = [{ iova: 0n, size: BigInt(mib) << 20n }];
  const spec = "sim:mlx5?size=64MiB&dma=random:20000/s";
  const devices = await openDevices([spec], { maps, tracker: "device" });
  await touchMemory(devices[0]!);
  return devices;
}

async function slow(): Promise<Device> {
  const worker = startWorker("./_slow_stopped_worker.ts");
  return await openDevice(slowDevice(SLOW_WITHOUT_PRECOPY), { worker });
}

const devices = mib === "0"
  ? await Promise.all(Array.from({ length: Number(count) }, slow))
  : await writing();
let atStop: MigrateProgress["bytes"] | null = null;
const report = await migrate(devices, await connectUnix(address.slice("unix:".length)), {
  journal,
  downtimeMs: 60_000,
  maxRounds: 3,
  ownerWrites: "none",
  onProgress: ({ phase, bytes }) => void (atStop ??= phase === "stopped" ? { ...bytes } : null),
});
const { rounds, bytes, downtimeSeconds } = report;
const sent = rounds.reduce((sum, round) => sum + round.sent, 0);
const seconds = rounds.reduce((sum, round) => sum + round.seconds, 0);
const last = bytes.memory - atStop!.memory + bytes.device - atStop!.device;
console.log(`\n${downtimeSeconds} ${sent > 0 ? last * seconds / sent : 0}`);
for (const device of devices) await device.close();
