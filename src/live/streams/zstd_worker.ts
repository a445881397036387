/** The thread that compresses or decompresses the memory of one stream. */

import { serveParent } from "../../base/thread.ts";
import { decompressFrame, giveBack } from "../../checkpoint/frames/zstd.ts";
import { squeeze } from "./squeeze.ts";
import type { ZstdAnswer, ZstdRequest } from "./zstd_thread.ts";

serveParent<ZstdRequest, ZstdAnswer>((request, parent) => {
  const { slot, at, length, packed, packedLength } = request;
  const content = new Uint8Array(slot, at, length);
  if (packed === null) {
    const squeezed = squeeze(content)?.buffer ?? null;
    return parent.post(
      { slot, packed: squeezed, done: squeezed !== null },
      buffers(slot, squeezed),
    );
  }
  const unpacked = unpack(new Uint8Array(packed, 0, packedLength), length);
  if (unpacked !== null) {
    content.set(unpacked);
    giveBack(unpacked);
  }
  parent.post({ slot, packed, done: unpacked !== null }, buffers(slot, packed));
});

function buffers(slot: ArrayBuffer, packed: ArrayBuffer | null): ArrayBuffer[] {
  return packed === null ? [slot] : [slot, packed];
}

function unpack(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> | null {
  try {
    return decompressFrame(bytes, length);
  } catch {
    // It is no zstd; the caller says where it stands.
    return null;
  }
}
