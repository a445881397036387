/**
 * One save, restore or verify in a process of its own, as the command line
 * does it; prints the seconds.
 *
 *     _transfer.ts save REGION FILE         _transfer.ts save-v2 DATA FILE
 *     _transfer.ts restore REGION <FILE     _transfer.ts restore-v2 DATA <FILE
 *     _transfer.ts verify FILE
 */

import * as fs from "node:fs";
import process from "node:process";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";

async function open(action: string, path: string): Promise<Device> {
  const script = action.endsWith("-v2") ? "./_data_worker.ts" : "./_region_worker.ts";
  const worker = new Worker(new URL(script, import.meta.url), { type: "module" });
  return await openDevice(`fd:${fs.openSync(path, "r+")}`, { worker });
}

async function run(action: string, first: string, second: string): Promise<number> {
  if (action.startsWith("save")) {
    await using device = await open(action, first);
    const file = await createCheckpointFile(second, { recycle: true });
    return (await save(device, file)).seconds;
  }
  if (action.startsWith("restore")) {
    await using device = await open(action, first);
    await using source = await openCheckpointFile("-");
    return (await restore(device, source)).seconds;
  }
  await using source = await openCheckpointFile(first);
  const begun = performance.now();
  await verifyCheckpoint(source.stream(), { recycle: true });
  return (performance.now() - begun) / 1000;
}

const [action = "", first = "", second = ""] = process.argv.slice(2);
console.log((await run(action, first, second)).toFixed(6));
