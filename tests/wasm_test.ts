import assert from "node:assert/strict";
import { it } from "node:test";
import { SCAN_WASM } from "../src/dirty/bitmap/_bitmap_scan_wasm.ts";
import { HASH_WASM } from "../src/migration/memory/_keyed_hash_wasm.ts";
import { compileTexts } from "./_compile_wat.ts";

it("the WebAssembly in src is what its texts compile to", () => {
  assert.deepEqual([SCAN_WASM, HASH_WASM], compileTexts());
});
