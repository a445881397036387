import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./_idle.ts", import.meta.url));

/** Runs the script to its end; one that does not end is killed, which rejects. */
function run(...args: string[]): Promise<string> {
  const words = "Deno" in globalThis ? ["run", "--allow-all", "--quiet", "--no-check"] : ["run"];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [...words, SCRIPT, ...args], { timeout: 60_000 }, (error, out) => {
      if (error) reject(error);
      else resolve(out.trim());
    });
  });
}

it("a device that nothing is asked of does not keep the process alive", async () => {
  assert.equal(await run(), "running");
});

it("a device keeps the process alive until what is asked of it is answered", async () => {
  assert.equal(await run("busy"), "read");
});
