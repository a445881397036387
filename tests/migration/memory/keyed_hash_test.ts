import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { PAGE_UNIT } from "../../../src/checkpoint/frames/page_frame.ts";
import { HASH_WASM } from "../../../src/migration/memory/_keyed_hash_wasm.ts";
import {
  HASH_PAGES,
  HASH_WORDS,
  newPageHash,
  sha256PageHash,
} from "../../../src/migration/memory/keyed_hash.ts";

const WORDS = PAGE_UNIT / 4;

/** NH as it is defined, four times, the key four words further on each time. */
function sums(page: Uint32Array, key: Uint32Array): bigint[] {
  return [0, 4, 8, 12].map((shift) => {
    let sum = 0n;
    const term = (at: number): bigint => BigInt((page[at]! + key[at + shift]!) >>> 0);
    for (let at = 0; at < WORDS; at += 8) {
      for (let word = at; word < at + 4; word++) sum += term(word) * term(word + 4);
    }
    return BigInt.asUintN(64, sum);
  });
}

function randomPage(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(new ArrayBuffer(PAGE_UNIT)));
}

describe("the hash of pages under a key", () => {
  it("is NH, four times", () => {
    const { exports } = new WebAssembly.Instance(
      new WebAssembly.Module(Uint8Array.fromBase64(HASH_WASM)),
    );
    const { memory, hash } = exports as unknown as {
      readonly memory: { readonly buffer: ArrayBuffer };
      readonly hash: (at: number) => void;
    };
    const key = new Uint32Array(memory.buffer, 0, WORDS + 12);
    const page = new Uint8Array(memory.buffer, 8192, PAGE_UNIT);
    for (const content of [randomPage(), new Uint8Array(PAGE_UNIT).fill(255)]) {
      crypto.getRandomValues(new Uint8Array(memory.buffer, 0, key.byteLength));
      page.set(content);
      hash(8192);
      const own = [...new BigUint64Array(memory.buffer, 4160, 4)];
      assert.deepEqual(own, sums(new Uint32Array(memory.buffer, 8192, WORDS), key));
    }
  });

  for (const [name, make] of [["by NH", newPageHash], ["by SHA-256", sha256PageHash]] as const) {
    it(`tells each bit of each page, ${name}`, () => {
      const pageHash = make();
      const { pages } = pageHash;
      const content = randomPage();
      const before = ((): string => {
        pages.set(content);
        return pageHash.hash(0).join();
      })();
      for (const page of [0, 1, HASH_PAGES - 1]) {
        const at = page * PAGE_UNIT;
        pages.set(content, at);
        assert.equal(pageHash.hash(page).join(), before);
        for (let byte = 0; byte < PAGE_UNIT; byte += 97) {
          const bit = 1 << byte % 8;
          pages[at + byte]! ^= bit;
          assert.notEqual(pageHash.hash(page).join(), before);
          pages[at + byte]! ^= bit;
        }
      }
    });
  }

  it("has a key that no other has", () => {
    const content = randomPage();
    const hashes = [newPageHash(), newPageHash()].map((pageHash) => {
      pageHash.pages.set(content);
      return pageHash.hash(0).join();
    });
    assert.notEqual(hashes[0], hashes[1]);
  });

  it("is SHA-256 where there are no 128-bit vectors", () => {
    const content = randomPage();
    const pageHash = sha256PageHash();
    pageHash.pages.set(content, PAGE_UNIT);
    const hash = pageHash.hash(1);
    assert.equal(hash.length, HASH_WORDS);
    const bytes = new Uint8Array(hash.buffer, hash.byteOffset, hash.byteLength);
    assert.deepEqual(bytes, new Uint8Array(createHash("sha256").update(content).digest()));
  });
});
