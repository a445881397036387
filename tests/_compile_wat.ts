/**
 * Compiles the WebAssembly texts of src, with npm's wabt.
 *
 * Run by hand after a change to one of them:
 * `npx --yes deno@2.9.6 run -A tests/_compile_wat.ts`
 */

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const src: string = path.join(import.meta.dirname!, "../src");

/** The texts, without `.wat`, and the name of each one's bytes in TypeScript. */
const TEXTS = [
  ["dirty/bitmap/_bitmap_scan", "SCAN_WASM"],
  ["migration/memory/_keyed_hash", "HASH_WASM"],
] as const;

/** The modules' bytes in base64, freshly compiled from their texts. */
export function compileTexts(): string[] {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-wat-"));
  try {
    const output = (index: number): string => path.join(folder, `${index}.wasm`);
    const commands = TEXTS.map(([text], index) =>
      `wat2wasm ${path.join(src, text)}.wat -o ${output(index)}`
    );
    const words = ["--yes", "--package", "wabt@1.0.39", "-c", commands.join(" && ")];
    execFileSync("npx", words, { stdio: "pipe" });
    return TEXTS.map((_, index) => new Uint8Array(fs.readFileSync(output(index))).toBase64());
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) {
  for (const [index, bytes] of compileTexts().entries()) {
    const [text, name] = TEXTS[index]!;
    const lines = bytes.match(/.{1,90}/g)!.map((line) => `  "${line}"`);
    fs.writeFileSync(
      path.join(src, `${text}_wasm.ts`),
      `/** ${path.basename(text)}.wat, compiled by tests/_compile_wat.ts; in base64. */\n` +
        `export const ${name}: string =\n${lines.join(" +\n")};\n`,
    );
  }
}
