/**
 * One save of several slow devices (see _slow_worker.ts), each of which prints when it stood still.
 *
 *     _standstill.ts DEVICES FILE
 */

import process from "node:process";
import { createCheckpointFile, type Device, openDevice, save } from "../../mod.ts";
import { SLOW, slowDevice } from "./_slow_kernel.ts";
import { startWorker } from "./_start_worker.ts";

async function open(): Promise<Device> {
  return await openDevice(slowDevice(SLOW), { worker: startWorker("./_slow_worker.ts") });
}

const [count = "", path = ""] = process.argv.slice(2);
const devices = await Promise.all(Array.from({ length: Number(count) }, open));
const file = await createCheckpointFile(path, { force: true });
await save(devices, file);
for (const device of devices) await device.close();
