import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { CheckpointEncoder } from "../../../src/checkpoint/format/checkpoint_encoder.ts";
import { CheckpointReader } from "../../../src/checkpoint/format/checkpoint_reader.ts";
import type { FramePosition } from "../../../src/checkpoint/frames/frame_writer.ts";
import { PAGE_UNIT } from "../../../src/checkpoint/frames/page_frame.ts";
import { DeviceMemory } from "../../../src/dirty/mod.ts";
import { UnixSocket } from "../../../src/kernel/libc/unix_socket.ts";
import { isErrno } from "../../../src/kernel/sys_error.ts";
import { PageScan } from "../../../src/migration/memory/page_scan.ts";
import {
  PageReceiver,
  PageSender,
  type SendTurn,
} from "../../../src/migration/memory/page_socket.ts";
import { header } from "../../checkpoint/_tools.ts";
import { CopiedMemory } from "../../dirty/_naive_bitmap.ts";

const IOVA = 1n << 20n;
const PAGES = 1100;

function memoryOf(bytes: Uint8Array<ArrayBuffer>): DeviceMemory {
  const memory = new CopiedMemory(bytes);
  return new DeviceMemory([{ iova: IOVA, size: BigInt(bytes.length), memory, offset: 0 }]);
}

/** A sender of random memory with a page of zeros, and where its first frame stands. */
function sending(): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sender: PageSender;
  readonly encoder: CheckpointEncoder;
  readonly begin: readonly Uint8Array[];
} {
  const bytes = new Uint8Array(randomBytes(PAGES * PAGE_UNIT));
  bytes.fill(0, 5 * PAGE_UNIT, 6 * PAGE_UNIT);
  const scan = new PageScan(memoryOf(bytes), { device: 0, tracker: null, lazyHashes: false });
  scan.add("all");
  const encoder = new CheckpointEncoder(header());
  const begin = encoder.begin().map((chunk) => chunk.slice());
  return { bytes, sender: new PageSender(scan), encoder, begin };
}

function receiveAll(socket: UnixSocket): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const into = new Uint8Array(1 << 20);
    const count = socket.receive(into);
    if (count === null || count === 0) return chunks;
    chunks.push(into.subarray(0, count));
  }
}

describe("memory sent by a socket", () => {
  it("is a checkpoint's frames, and goes on where there was no room", () => {
    const { bytes, sender, encoder, begin } = sending();
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const memory = memoryOf(new Uint8Array(bytes.length).fill(7));
    const reader = new CheckpointReader({
      allocate: ({ bodyLength }) => new Uint8Array(new ArrayBuffer(bodyLength)),
      pages: ({ entries, body }) => {
        let at = 0;
        for (const { iova, length, zero } of entries) {
          memory.write(iova, zero ? new Uint8Array(length) : body.subarray(at, at += length));
        }
      },
    });
    const take = (chunks: readonly Uint8Array[]): void => {
      for (const chunk of chunks) assert.deepEqual([...reader.push(chunk)], []);
    };
    take(begin);
    const sum = { body: 0, zero: 0, blocked: 0 };
    for (let done = false; !done;) {
      const { position } = encoder;
      const request = { fd: ours.fd, stream: 0, position, more: true, waitMs: 0 };
      const turn = sender.send(request);
      encoder.position = turn.position;
      sum.body += turn.body;
      sum.zero += turn.zero;
      if (turn.blocked) sum.blocked += 1;
      take(receiveAll(theirs));
      done = turn.done;
    }
    take([encoder.end()].flat());
    reader.end();
    const there = new Uint8Array(bytes.length);
    memory.read(IOVA, there);
    assert.equal(Buffer.compare(there, bytes), 0);
    assert.equal(sum.body, (PAGES - 1) * PAGE_UNIT);
    assert.equal(sum.zero, PAGE_UNIT);
    assert.ok(sum.blocked > 1, String(sum.blocked));
  });

  it("ends with the frame that was begun if no more is wanted", () => {
    const { sender, encoder } = sending();
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const turn = (position: FramePosition, more: boolean): SendTurn =>
      sender.send({ fd: ours.fd, stream: 0, position, more, waitMs: 0 });
    const first = turn(encoder.position, true);
    assert.ok(first.blocked && !first.done);
    let last = first;
    while (last.blocked) {
      receiveAll(theirs);
      last = turn(last.position, false);
    }
    assert.deepEqual([last.done, last.body], [false, 0]);
    assert.deepEqual(last.position, first.position);
  });

  it("fails with the call's error once the other end is closed", () => {
    const { sender, encoder } = sending();
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    theirs.close();
    const request = { fd: ours.fd, stream: 0, position: encoder.position, more: true, waitMs: 0 };
    assert.throws(() => sender.send(request), (error) => isErrno(error, "EPIPE"));
  });
});

describe("memory received by a socket", () => {
  const ALONE = { index: 0, count: 1 };

  /** The frames of so many pages, behind the beginning of a checkpoint. */
  function frames(): {
    readonly bytes: Uint8Array<ArrayBuffer>;
    readonly start: FramePosition;
    readonly end: FramePosition;
    readonly sent: Uint8Array;
  } {
    const { bytes, sender, encoder } = sending();
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const start = encoder.position;
    const chunks: Uint8Array[] = [];
    for (let done = false; !done;) {
      const { position } = encoder;
      const turn = sender.send({ fd: ours.fd, stream: 0, position, more: true, waitMs: 0 });
      encoder.position = turn.position;
      chunks.push(...receiveAll(theirs));
      done = turn.done;
    }
    return { bytes, start, end: encoder.position, sent: Buffer.concat(chunks) };
  }

  it("is stored frame by frame, in parts of any size, up to what is no memory", () => {
    const { bytes, start, end, sent } = frames();
    const memory = memoryOf(new Uint8Array(bytes.length).fill(7));
    const receiver = new PageReceiver(memory);
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    let position = start;
    let received = 0;
    const receive = (): string => {
      const request = { fd: theirs.fd, device: 0, part: ALONE, id: 1, position, waitMs: 0 };
      const turn = receiver.receive(request);
      position = turn.position;
      received += turn.bytes;
      return turn.ended;
    };
    assert.equal(receive(), "waiting");
    for (let at = 0, size = 100; at < sent.length; size = size * 3 % 100_003) {
      at += ours.send(sent.subarray(at, at + size));
      while (receive() === "time");
    }
    assert.deepEqual(position, end);
    ours.send(new TextEncoder().encode("not a frame of memory at all"));
    assert.equal(receive(), "other");
    assert.equal(received, bytes.length);
    const there = new Uint8Array(bytes.length);
    memory.read(IOVA, there);
    assert.equal(Buffer.compare(there, bytes), 0);
  });

  it("is refused as a whole frame if a bit of it has changed", () => {
    const { bytes, start, sent } = frames();
    const memory = memoryOf(new Uint8Array(bytes.length).fill(7));
    sent[5000]! ^= 4;
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const request = { fd: theirs.fd, device: 0, part: ALONE, id: 1, position: start, waitMs: 0 };
    const receiver = new PageReceiver(memory);
    assert.throws(() => {
      for (let at = 0; at < sent.length;) {
        at += ours.send(sent.subarray(at));
        receiver.receive(request);
      }
    }, { name: "CheckpointError", code: "crc" });
    const there = new Uint8Array(bytes.length);
    memory.read(IOVA, there);
    assert.ok(there.every((byte) => byte === 7));
    // Another migration begins anew, whatever was left of this one.
    const [, next] = UnixSocket.pair();
    using _next = next;
    assert.equal(receiver.receive({ ...request, fd: next.fd, id: 2 }).ended, "waiting");
  });

  it("lets the thread go if a frame comes byte by byte", () => {
    const { bytes, start, sent } = frames();
    const receiver = new PageReceiver(memoryOf(new Uint8Array(bytes.length)));
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const request = { fd: theirs.fd, device: 0, part: ALONE, id: 1, position: start, waitMs: 1000 };
    ours.send(sent.subarray(0, 1000));
    const feeding = new Worker(new URL("./_feeding_worker.ts", import.meta.url), {
      type: "module",
    });
    feeding.postMessage({ fd: ours.fd, bytes: sent.subarray(1000, 3000) });
    const turn = receiver.receive(request);
    feeding.terminate();
    assert.equal(turn.ended, "time");
    assert.deepEqual(turn.position, start);
  });

  it("is not stored if it belongs to another stream", () => {
    const { bytes, start, sent } = frames();
    const memory = memoryOf(new Uint8Array(bytes.length).fill(7));
    const [ours, theirs] = UnixSocket.pair();
    using _ours = ours;
    using _theirs = theirs;
    const part = { index: 1, count: 2 };
    const request = { fd: theirs.fd, device: 0, part, id: 1, position: start, waitMs: 0 };
    const receiver = new PageReceiver(memory);
    let foreign: bigint | null = null;
    for (let at = 0; foreign === null;) {
      at += ours.send(sent.subarray(at));
      foreign = receiver.receive(request).foreign;
    }
    const there = new Uint8Array(bytes.length);
    memory.read(IOVA, there);
    assert.ok(there.every((byte) => byte === 7));
  });
});
