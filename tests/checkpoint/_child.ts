/**
 * A process that writes or reads a checkpoint's file, for tests from outside:
 *
 *     _child.ts write PATH MIB [hold]    writes so many MiB, and commits unless it is to hold
 *     _child.ts read PATH                prints how many bytes there are
 */

import process from "node:process";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import { openCheckpointFile } from "../../src/checkpoint/file/open_checkpoint_file.ts";

const [verb, path, size, hold] = process.argv.slice(2);

async function main(): Promise<void> {
  if (verb === "write") {
    await using file = await createCheckpointFile(path!);
    for (let count = 0; count < Number(size); count++) {
      await file.write(new Uint8Array(2 ** 20).fill(count));
    }
    console.error(`written ${file.bytes}`);
    if (hold === "hold") await new Promise((resolve) => setTimeout(resolve, 600_000));
    await file.commit();
  } else {
    await using source = await openCheckpointFile(path!);
    let total = 0;
    for await (const chunk of source.stream()) total += chunk.length;
    console.log(`${source.seekable ? "file" : "stream"} of ${total}`);
  }
}

try {
  await main();
} catch (error) {
  const { name, message, code } = error as Error & { code?: string };
  console.error(`${name} ${code}: ${message}`);
  process.exitCode = 1;
}
