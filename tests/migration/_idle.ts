/** A script that forgets to close its device; with `busy` it leaves a request under way, too. */

import process from "node:process";
import { openDevice } from "../../src/migration/device.ts";
import { stopAndCopy } from "../../src/migration/phases/stop_and_copy.ts";

const device = await openDevice("sim:trapped?size=1MiB&fault=block:300ms:1");
if (process.argv[2] === "busy") {
  const reader = stopAndCopy(device).getReader();
  reader.read().then(() => console.log("read"));
} else {
  console.log((await device.state()).state);
}
