import assert from "node:assert/strict";
import { it } from "node:test";
import { SCAN_WASM } from "../../src/dirty/bitmap/_bitmap_scan_wasm.ts";
import { compileScan } from "./_compile_scan.ts";

it("_bitmap_scan_wasm.ts is what _bitmap_scan.wat compiles to", () => {
  assert.equal(SCAN_WASM, compileScan().toBase64());
});
