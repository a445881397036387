/**
 * Compiles src/dirty/_bitmap_scan.wat, with npm's wabt.
 *
 * Run by hand after a change to it:
 * `npx --yes deno@2.9.6 run -A tests/dirty/_compile_scan.ts`
 */

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const dirty: string = path.join(import.meta.dirname!, "../../src/dirty");

/** The module's bytes, freshly compiled from its text. */
export function compileScan(): Uint8Array {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-scan-"));
  try {
    const output = path.join(folder, "scan.wasm");
    const text = path.join(dirty, "_bitmap_scan.wat");
    execFileSync("npx", ["--yes", "--package", "wabt@1.0.39", "wat2wasm", text, "-o", output], {
      stdio: "pipe",
    });
    return new Uint8Array(fs.readFileSync(output));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const lines = compileScan().toBase64().match(/.{1,90}/g)!.map((line) => `  "${line}"`);
  fs.writeFileSync(
    path.join(dirty, "_bitmap_scan_wasm.ts"),
    "/** _bitmap_scan.wat, compiled by tests/dirty/_compile_scan.ts; in base64. */\n" +
      `export const SCAN_WASM: string = ${lines.join(" +\n").trimStart()};\n`,
  );
}
