/**
 * Sends memory and device data as the frames of one checkpoint.
 */

import { InOrder } from "../base/in_order.ts";
import { CheckpointEncoder } from "../checkpoint/format/checkpoint_encoder.ts";
import {
  FRAME_HASH,
  FRAME_OPTIONAL,
  FRAME_PAGE,
  FRAME_ZSTD,
} from "../checkpoint/frames/constants.ts";
import { describeFrame, type FramePosition } from "../checkpoint/frames/frame_writer.ts";
import { giveBack } from "../checkpoint/frames/zstd.ts";
import { MAX_HASHED, packHashHead } from "../checkpoint/frames/hash_frame.ts";
import type { CheckpointHeader } from "../checkpoint/metadata/header.ts";
import { recycle, takeBuffer } from "../checkpoint/batches/buffer_pool.ts";
import type { Phase } from "../checkpoint/batches/transaction.ts";
import { PAGE_BODY_AT, PAGE_SLOT_BYTES, type PageTurn } from "../migration/memory/page_scan.ts";
import type { SendTurn } from "../migration/memory/page_socket.ts";
import type { PrecopyLimits } from "../migration/protocol/engine.ts";
import type { PulledBatch } from "../migration/thread/session.ts";
import { ask } from "../migration/thread/session_client.ts";
import type { Member } from "../transfer/lockstep.ts";
import { socketWaitMs } from "./streams/socket_wait.ts";
import { squeeze } from "./streams/squeeze.ts";
import { ZstdThread } from "./streams/zstd_thread.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes by kind. */
export interface SentBytes {
  /** Pages that were sent. */
  memory: number;
  /** Pages that were sent as zeros. */
  zero: number;
  /** Pages that were not sent, as the other side has them. */
  same: number;
  /** Device data. */
  device: number;
}

/** How much memory was looked at, and in how many seconds. */
interface Looked {
  readonly bytes: number;
  readonly seconds: number;
}

/** Where frames go. */
export interface FrameSink {
  /** Whether other threads may send in place of this one. Default false. */
  readonly shared?: boolean | undefined;
  /** Takes bytes after all that it took before; resolves once they may be overwritten. */
  send(parts: readonly Bytes[]): Promise<void>;
  /** Lets another thread send, after all that it took before; see {@linkcode Peer.sendBy}. */
  sendBy?(send: (fd: number) => Promise<boolean>): Promise<void>;
  /** Waits until what it took has left this side. */
  drained?(): Promise<void>;
}

/** A stream: a checkpoint of its own. */
class Stream {
  readonly #sink: FrameSink;
  readonly #encoder: CheckpointEncoder;
  /** What is being sent: a frame gets its place only then, as another thread may give them out. */
  readonly #sending = new InOrder();
  /** Two for each device: a frame is made in one while the other is sent. */
  readonly #slots: ArrayBuffer[][] = [];
  #busyMs = 0;
  /** What compresses its memory, if that is not done on this thread. */
  zstd: ZstdThread | null = null;

  constructor(sink: FrameSink, encoder: CheckpointEncoder) {
    this.#sink = sink;
    this.#encoder = encoder;
  }

  /** Whether another thread may send in place of this one. */
  get shared(): boolean {
    return this.#sink.shared ?? false;
  }

  /** How long it has been sending, and compressing what it sends, in milliseconds. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Bytes so far. */
  get stored(): number {
    return this.#encoder.storedBytes;
  }

  /** The slots of a device. */
  slots(device: number): ArrayBuffer[] {
    return this.#slots[device] ??= [0, 1].map(() => new ArrayBuffer(PAGE_SLOT_BYTES));
  }

  /** Gives frames their places after all that was sent before, and sends them. */
  send(place: (encoder: CheckpointEncoder) => readonly Bytes[]): Promise<void> {
    return this.#inTurn(() => this.#sink.send(place(this.#encoder)));
  }

  /** Lets another thread do that for a turn, in which the frame that it begins last ends, too. */
  lend(turn: (fd: number, position: FramePosition) => Promise<SendTurn>): Promise<void> {
    return this.#inTurn(() =>
      this.#sink.sendBy!(async (fd) => {
        const { position, blocked, seconds } = await turn(fd, this.#encoder.position);
        this.#encoder.position = position;
        // The frames were made meanwhile, too.
        this.#busyMs -= seconds * 1000;
        return !blocked;
      })
    );
  }

  /** Waits until what was sent has left this side. */
  drained(): Promise<void> {
    return this.#inTurn(() => this.#sink.drained?.() ?? Promise.resolve());
  }

  #inTurn(send: () => Promise<void>): Promise<void> {
    return this.#sending.run(() => this.#busyWith(send));
  }

  async #busyWith<Value>(work: () => Promise<Value>): Promise<Value> {
    const begun = performance.now();
    try {
      return await work();
    } finally {
      this.#busyMs += performance.now() - begun;
    }
  }

  /** The body of a slot compressed, or null, and the slot. */
  squeeze(slot: ArrayBuffer, length: number): Promise<[ArrayBuffer, Bytes | null]> {
    const at = PAGE_BODY_AT;
    return this.#busyWith(async () => {
      if (this.zstd === null) return [slot, squeeze(new Uint8Array(slot, at, length))];
      const { slot: back, packed } = await this.zstd.compress({ slot, at, length });
      return [back, packed === null ? null : new Uint8Array(packed)];
    });
  }
}

/** How frames are sent. */
type SentHeader = CheckpointHeader & { readonly compress?: "zstd" | undefined };

/** Sends the frames of all devices, each in one piece. */
export class FrameSender implements Disposable {
  readonly #header: SentHeader;
  /** The first has all that is not memory. */
  readonly #streams: Stream[] = [];
  readonly #compress: boolean;
  /** Bytes that compression has saved. */
  #saved = 0;
  /** What was sent. */
  readonly bytes: SentBytes = { memory: 0, zero: 0, same: 0, device: 0 };
  /** What each device gave. */
  readonly devices: readonly { transactions: number; bytes: number }[];
  /** How long it took to look at memory so far. */
  #lookedSeconds = 0;
  /** What had been looked at when measuring began anew. */
  #before: Looked = { bytes: 0, seconds: 0 };

  /** `compress` compresses frames that this makes smaller. */
  constructor(sink: FrameSink, members: readonly Member[], header: SentHeader) {
    this.#header = header;
    this.#compress = header.compress === "zstd";
    this.devices = members.map(() => ({ transactions: 0, bytes: 0 }));
    this.addStream(sink);
  }

  /** Sends memory by one stream more; before it begins. */
  addStream(sink: FrameSink): void {
    const { compress, ...header } = this.#header;
    const encoder = new CheckpointEncoder(header, { compress });
    this.#streams.push(new Stream(sink, encoder));
  }

  /** Compresses the memory of each stream on a thread of its own, if any is compressed. */
  startThreads(): void {
    if (!this.#compress) return;
    for (const stream of this.#streams) stream.zstd = new ZstdThread();
  }

  /** Ends these threads. */
  [Symbol.dispose](): void {
    for (const { zstd } of this.#streams) zstd?.[Symbol.dispose]();
  }

  /** How many streams there are. */
  get streams(): number {
    return this.#streams.length;
  }

  /** Bytes of the streams so far. */
  get sent(): number {
    return this.#streams.reduce((sum, { stored }) => sum + stored, 0);
  }

  /** The same, as if nothing were compressed: what is left is measured like that. */
  get moved(): number {
    return this.sent + this.#saved;
  }

  get #first(): Stream {
    return this.#streams[0]!;
  }

  /** Sends the beginning. */
  async begin(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.send((encoder) => encoder.begin())));
  }

  /** Waits until all that was sent has left this side: only then it is known how long it took. */
  async drained(): Promise<void> {
    await Promise.all(this.#streams.map((stream) => stream.drained()));
  }

  /** Sends the end of all streams but the first: no more memory comes by them. */
  async endMemory(): Promise<void> {
    const [, ...further] = this.#streams;
    await Promise.all(further.map((stream) => stream.send((encoder) => encoder.end())));
  }

  /** Sends the end: the other side then has everything. */
  end(): Promise<void> {
    return this.#first.send((encoder) => encoder.end());
  }

  /** What of memory was looked at so far. */
  get looked(): Looked {
    const { memory, zero, same } = this.bytes;
    return { bytes: memory + zero + same, seconds: this.#lookedSeconds };
  }

  /** For how many seconds it has been sending, by all streams at the same time. */
  get sendingSeconds(): number {
    return this.#streams.reduce((sum, { busyMs }) => sum + busyMs, 0) / this.streams / 1000;
  }

  /** Seconds that looking at so many bytes takes. */
  secondsToLookAt(bytes: number): number {
    const looked = this.looked.bytes - this.#before.bytes;
    return looked === 0 ? 0 : bytes * (this.#lookedSeconds - this.#before.seconds) / looked;
  }

  /** Forgets how long looking at bytes took until now, beside other work. */
  measureAgain(): void {
    this.#before = this.looked;
  }

  /**
   * Sends a device's memory that is due, by all streams; resolves once each has sent its part.
   *
   * @param signal Ends it: the device's thread is needed for something else then.
   */
  async sendMemory(member: Member, signal: AbortSignal): Promise<void> {
    await Promise.all(this.#streams.map((_, index) => this.#sendPart(member, index, signal)));
  }

  async #sendPart({ device, number }: Member, part: number, signal: AbortSignal): Promise<void> {
    const stream = this.#streams[part]!;
    // Several devices make their frames at the same time, and wait for each other only to send them.
    const alone = this.devices.length === 1;
    if (stream.shared && alone && !this.#compress) {
      return await this.#lendPart(device, part, signal);
    }
    const slots = stream.slots(number);
    let turn = await this.#fill(device, slots[0]!, part);
    for (let index = 0;; index ^= 1) {
      signal.throwIfAborted();
      // The next frame is made while this one is sent.
      const next = turn.done ? null : this.#fill(device, slots[index ^ 1]!, part);
      next?.catch(() => {});
      // It has been on other threads.
      slots[index] = await this.#sendPages(number, turn, stream);
      if (next === null) return;
      turn = await next;
    }
  }

  /** Lets the device's thread send its frames. */
  async #lendPart(device: Member["device"], part: number, signal: AbortSignal): Promise<void> {
    const waitMs = socketWaitMs(device, this.streams);
    for (let done = false; !done;) {
      signal.throwIfAborted();
      // What has begun ends, whatever happens: half a frame would end the stream.
      let more = true;
      await this.#streams[part]!.lend(async (fd, position) => {
        const request = { fd, stream: part, position, more, waitMs };
        const turn = await ask(device, "sendPages", request);
        this.#count(turn);
        more = false;
        done = turn.done;
        return turn;
      });
    }
  }

  async #fill(device: Member["device"], slot: ArrayBuffer, part: number): Promise<PageTurn> {
    const turn = await ask(device, "fillPages", slot, part);
    this.#count(turn);
    return turn;
  }

  #count(turn: Pick<PageTurn, "body" | "zero" | "same" | "seconds">): void {
    this.bytes.memory += turn.body;
    this.bytes.zero += turn.zero;
    this.bytes.same += turn.same;
    this.#lookedSeconds += turn.seconds;
  }

  /** Sends a turn's frame, if there is one; returns its slot. */
  async #sendPages(number: number, turn: PageTurn, stream: Stream): Promise<ArrayBuffer> {
    const { head, body } = turn;
    if (head === 0) return turn.slot;
    const at = PAGE_BODY_AT - head;
    const [slot, squeezed] = this.#compress && body > 0
      ? await stream.squeeze(turn.slot, body)
      : [turn.slot, null];
    const start = new Uint8Array(slot, at, head);
    if (squeezed === null) {
      const frame = new Uint8Array(slot, at, head + body);
      await stream.send((encoder) => [...encoder.place(start, body), frame]);
      return slot;
    }
    const flags = FRAME_OPTIONAL | FRAME_ZSTD;
    describeFrame(start, { type: FRAME_PAGE, flags, device: number }, squeezed);
    this.#saved += body - squeezed.length;
    const { length } = squeezed;
    await stream.send((encoder) => [...encoder.place(start, length), start, squeezed]);
    giveBack(squeezed);
    return slot;
  }

  /** Sends the hashes of a device's memory as it is now. */
  async sendHashes({ device, number }: Member): Promise<void> {
    for (const { iova, size } of device.description.mappings) {
      for (let at = 0n; at < size; at += BigInt(MAX_HASHED)) {
        const length = Number(size - at < BigInt(MAX_HASHED) ? size - at : BigInt(MAX_HASHED));
        const range = { iova: iova + at, length };
        const hashes = await ask(device, "hashPages", range.iova, BigInt(length));
        const head = packHashHead(range);
        const kind = { type: FRAME_HASH, flags: FRAME_OPTIONAL, device: number };
        describeFrame(head, kind, hashes);
        await this.#first.send((encoder) => [
          ...encoder.place(head, hashes.length),
          head,
          hashes,
        ]);
      }
    }
  }

  /** Sends a phase of a device to its end. */
  async sendDevice({ device, number }: Member, phase: Phase, limits: PrecopyLimits): Promise<void> {
    await ask(device, "beginSave", phase, limits);
    await this.drain(device, number, phase);
  }

  /** Sends the phase that a device has entered to its end. */
  async drain(device: Member["device"], number: number, phase: Phase): Promise<void> {
    const pull = (): Promise<PulledBatch> => ask(device, "pull", takeBuffer());
    for (let pulled: PulledBatch | null = await pull(); pulled !== null;) {
      const { batch, ended }: PulledBatch = pulled;
      // The next one is read while this one is sent.
      const next: Promise<PulledBatch> | null = ended ? null : pull();
      next?.catch(() => {});
      if (batch.sizes.length > 0) {
        const { sizes, more, bytes } = batch;
        this.bytes.device += bytes.length;
        const given = this.devices[number]!;
        given.bytes += bytes.length;
        given.transactions += sizes.length - (more ? 1 : 0);
        await this.#first.send((encoder) => {
          const chunks = encoder.batch({ device: number, phase, sizes, more, bytes });
          const [, stored] = chunks;
          this.#saved += bytes.length - (stored?.length ?? 0);
          return chunks;
        });
      }
      recycle(batch.bytes.buffer);
      pulled = await next;
    }
  }
}
