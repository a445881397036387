import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { CheckpointEncoder } from "../../src/checkpoint/format/checkpoint_encoder.ts";
import { FRAME_OPTIONAL, FRAME_PAGE, FRAME_ZSTD } from "../../src/checkpoint/frames/constants.ts";
import { describeFrame } from "../../src/checkpoint/frames/frame_writer.ts";
import { PAGE_UNIT, pageHeadSize, writePageMeta } from "../../src/checkpoint/frames/page_frame.ts";
import { compressToFrame } from "../../src/checkpoint/frames/zstd.ts";
import { newHeader } from "../../src/checkpoint/metadata/header.ts";
import { Peer } from "../../src/live/connection/peer.ts";
import { FrameReceiver } from "../../src/live/frame_receiver.ts";
import { ZstdThread } from "../../src/live/streams/zstd_thread.ts";
import { openDevice } from "../../src/migration/device.ts";
import { Lockstep } from "../../src/transfer/lockstep.ts";
import { socketPair, withFolder } from "./_pair.ts";

const MIB = 1 << 20;

it("a page that comes compressed, and then not, has its newest version", async () => {
  await withFolder(async (folder) => {
    const [ours, theirs] = await socketPair(folder);
    const maps = [{ iova: 0n, size: 2n << 20n }];
    await using device = await openDevice("sim:mlx5?size=4KiB", { maps });
    using lockstep = new Lockstep("receive", [device]);
    using zstd = new ZstdThread();
    const part = { index: 0, count: 2 };
    const receiver = new FrameReceiver(new Peer(theirs), lockstep, { zstd, part });
    const encoder = new CheckpointEncoder(newHeader([device.description.identity!]));
    const frame = (body: Uint8Array<ArrayBuffer>, compress: boolean): Uint8Array[] => {
      const head = new Uint8Array(new ArrayBuffer(pageHeadSize(1)));
      writePageMeta(head, [{ iova: 0n, length: body.length, zero: false }]);
      const stored = compress ? compressToFrame(body)! : body;
      const flags = FRAME_OPTIONAL | (compress ? FRAME_ZSTD : 0);
      describeFrame(head, { type: FRAME_PAGE, flags, device: 0 }, stored);
      return [...encoder.place(head, stored.length), head, stored];
    };
    const old = new Uint8Array(MIB);
    for (let at = 0; at < old.length; at += 64) old[at] = at >> 6;
    const fresh = new Uint8Array(randomBytes(PAGE_UNIT));
    const chunks = [...encoder.begin(), ...frame(old, true), ...frame(fresh, false)];
    const sending = ours.write(Buffer.concat([...chunks, ...[encoder.end()].flat()]));
    await receiver.header();
    await Promise.all([receiver.rest(), sending]);
    const there = await device.readMemory(0n, PAGE_UNIT);
    assert.equal(Buffer.compare(there, fresh), 0);
    ours.close();
    theirs.close();
  });
});
