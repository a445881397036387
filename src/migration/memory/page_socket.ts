/**
 * Memory sent and received by a socket, on the device's thread: it does not pass by the thread that
 * asks for it.
 */

import { FRAME_OPTIONAL, FRAME_PAGE } from "../../checkpoint/frames/constants.ts";
import type { FrameHeader } from "../../checkpoint/frames/frame_header.ts";
import { FrameReader, senseless } from "../../checkpoint/frames/frame_reader.ts";
import { type FramePosition, FrameWriter } from "../../checkpoint/frames/frame_writer.ts";
import { parsePageMeta } from "../../checkpoint/frames/page_frame.ts";
import type { DeviceMemory } from "../../dirty/mod.ts";
import { POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import { bytesToCacheLine, CACHE_LINE } from "../../kernel/libc/cache_line.ts";
import { UnixSocket } from "../../kernel/libc/unix_socket.ts";
import {
  PAGE_BODY_AT,
  PAGE_SLOT_BYTES,
  type PageScan,
  type PageTurn,
  storeEntries,
} from "./page_scan.ts";
import { ownsAll, type StreamPart } from "./stripes.ts";

/** A turn ends once it has taken so long, in milliseconds. */
const TURN_MS = 20;

const NOTHING: Uint8Array = new Uint8Array(0);

/** What is to be sent in a turn. */
export interface SendRequest {
  /** The socket. */
  readonly fd: number;
  /** The number of the stream. */
  readonly stream: number;
  /** Where its next frame stands. */
  readonly position: FramePosition;
  /** Whether to begin more frames; false to send only what is left of the last one. */
  readonly more: boolean;
  /** How long to wait for room, in milliseconds. */
  readonly waitMs: number;
}

/** How a turn of sending went. */
export interface SendTurn extends Omit<PageTurn, "slot" | "head"> {
  /** Whether there is no room for more now. */
  readonly blocked: boolean;
  /** Where the next frame stands. */
  readonly position: FramePosition;
}

/** What is to be received in a turn. */
export interface ReceiveRequest {
  /** The socket. */
  readonly fd: number;
  /** The device's number in the stream. */
  readonly device: number;
  /** Which stream it is; its pages alone may come by it. */
  readonly part: StreamPart;
  /** A number that no other stream has, of whichever migration. */
  readonly id: number;
  /** Where the next frame stands. */
  readonly position: FramePosition;
  /** How long to wait for more, in milliseconds. */
  readonly waitMs: number;
}

/** How a turn of receiving went. */
export interface ReceiveTurn {
  /** Where the next frame stands. */
  readonly position: FramePosition;
  /** Bytes of memory that came, zeros included. */
  readonly bytes: number;
  /**
   * Why it has ended: that enough time has passed, that nothing more has come yet, or that
   * something else comes next.
   */
  readonly ended: "time" | "waiting" | "other";
  /** The first memory that should have come by another stream; nothing is stored from there on. */
  readonly foreign: bigint | null;
}

/** Memory for a frame. */
interface Slot {
  readonly buffer: ArrayBuffer;
  /** Where its body begins: with a cache line, as copying to and from there is twice as fast then. */
  readonly at: number;
}

function newSlot(): Slot {
  const buffer = new ArrayBuffer(PAGE_SLOT_BYTES + CACHE_LINE);
  return { buffer, at: PAGE_BODY_AT + bytesToCacheLine(new Uint8Array(buffer)) };
}

/** What is sent by a stream. */
interface Sending extends Slot {
  /** What is left to send of the frame in the slot. */
  rest: Uint8Array;
  /** Whether there is nothing more to look at. */
  done: boolean;
}

/** Sends what a scan finds. */
export class PageSender {
  readonly #scan: PageScan;
  readonly #streams: Sending[] = [];

  constructor(scan: PageScan) {
    this.#scan = scan;
  }

  /**
   * Sends frames for a while, or until there is no room.
   *
   * @throws {SysError} If the socket takes no more.
   */
  send({ fd, stream, position, more, waitMs }: SendRequest): SendTurn {
    const begun = performance.now();
    const sending = this.#streams[stream] ??= { ...newSlot(), rest: NOTHING, done: false };
    const frames = new FrameWriter();
    frames.position = position;
    const socket = UnixSocket.adopt(fd);
    const sum = { body: 0, zero: 0, same: 0 };
    let [seconds, blocked] = [0, false];
    while (!blocked) {
      if (sending.rest.length > 0) {
        const sent = socket.send(sending.rest);
        sending.rest = sending.rest.subarray(sent);
        if (sent > 0) continue;
        blocked = UnixSocket.wait([{ socket, events: POLLOUT }], waitMs)[0] === 0;
      } else if (sending.done || !more || performance.now() - begun > TURN_MS) break;
      else {
        const turn = this.#scan.fill(sending.buffer, stream, sending.at);
        sum.body += turn.body;
        sum.zero += turn.zero;
        sum.same += turn.same;
        seconds += turn.seconds;
        sending.done = turn.done;
        if (turn.head === 0) continue;
        const at = sending.at - turn.head;
        frames.place(new Uint8Array(sending.buffer, at, turn.head), turn.body);
        sending.rest = new Uint8Array(sending.buffer, at, turn.head + turn.body);
      }
    }
    const done = sending.done && !blocked;
    if (done) sending.done = false;
    return { ...sum, seconds, done, blocked, position: frames.position };
  }
}

/** What is received by a stream. */
interface Receiving {
  readonly id: number;
  readonly slot: Slot;
  readonly frames: FrameReader;
}

/** Receives frames of memory, as long as there are no others. */
export class PageReceiver {
  readonly #memory: DeviceMemory;
  readonly #streams: Receiving[] = [];
  /** The first bytes of a frame's header, as far as its length. */
  readonly #head = new Uint8Array(new ArrayBuffer(20));

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
  }

  /**
   * Receives and stores the frames of a device's memory for a while, or until something else comes.
   *
   * @throws {CheckpointError} If a frame is wrong.
   * @throws {RangeError} If there is no such memory.
   * @throws {SysError} If the connection is lost.
   */
  receive({ fd, device, part, id, position, waitMs }: ReceiveRequest): ReceiveTurn {
    const begun = performance.now();
    const { frames } = this.#stream(part, id);
    if (!frames.begun) frames.position = position;
    const socket = UnixSocket.adopt(fd);
    let [at, bytes] = [position, 0];
    const turn = (ended: ReceiveTurn["ended"], foreign: bigint | null = null): ReceiveTurn => ({
      position: at,
      bytes,
      ended,
      foreign,
    });
    for (;;) {
      let here: boolean | null = true;
      if (!frames.begun) {
        at = frames.position;
        if (performance.now() - begun > TURN_MS) return turn("time");
        here = this.#isNext(socket, device);
        if (here === false) return turn("other");
      }
      const count = here === null ? null : socket.receive(frames.room());
      if (count === 0) return turn("other");
      if (count === null) {
        if (UnixSocket.wait([{ socket, events: POLLIN }], waitMs)[0] === 0) return turn("waiting");
        continue;
      }
      const frame = frames.filled(count);
      if (frame === null) {
        // A frame that comes byte by byte must not keep the thread from everything else.
        if (performance.now() - begun > TURN_MS) return turn("time");
        continue;
      }
      const entries = parsePageMeta(frame.meta, frame.bodyLength);
      if (typeof entries === "string") throw senseless(frame, entries);
      const foreign = entries.find((entry) => !ownsAll(entry, part));
      if (foreign !== undefined) return turn("other", foreign.iova);
      storeEntries(this.#memory, entries, frame.body!);
      bytes += entries.reduce((sum, { length }) => sum + length, 0);
    }
  }

  /**
   * Whether a frame of the device's memory comes next, not compressed, that there is room for; null
   * if nothing comes yet. Where less than that can be said, somebody else has to read on.
   */
  #isNext(socket: UnixSocket, device: number): boolean | null {
    const count = socket.peek(this.#head);
    if (count === null) return null;
    if (count < this.#head.length) return false;
    const view = new DataView(this.#head.buffer);
    return view.getUint32(0, true) === FRAME_PAGE && view.getUint16(4, true) === FRAME_OPTIONAL &&
      view.getUint16(6, true) === device &&
      view.getUint32(16, true) <= PAGE_SLOT_BYTES - PAGE_BODY_AT;
  }

  #stream({ index }: StreamPart, id: number): Receiving {
    const known = this.#streams[index];
    if (known?.id === id) return known;
    const slot = known?.slot ?? newSlot();
    const allocate = ({ bodyLength }: FrameHeader): Uint8Array<ArrayBuffer> =>
      new Uint8Array(slot.buffer, slot.at, bodyLength);
    return this.#streams[index] = { id, slot, frames: new FrameReader({ allocate }) };
  }
}
