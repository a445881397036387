/**
 * Takes the frames of one checkpoint with memory, and gives each device its own.
 */

import { Buffer } from "node:buffer";
import type { Batch } from "../checkpoint/batches/batch.ts";
import {
  CheckpointReader,
  type Hashes,
  type Pages,
} from "../checkpoint/format/checkpoint_reader.ts";
import { HASH_BYTES } from "../checkpoint/frames/hash_frame.ts";
import { PAGE_UNIT } from "../checkpoint/frames/page_frame.ts";
import { FRAME_HEADER_SIZE, FRAME_PAGE, FRAME_ZSTD } from "../checkpoint/frames/constants.ts";
import type { FrameHeader } from "../checkpoint/frames/frame_header.ts";
import { giveBack } from "../checkpoint/frames/zstd.ts";
import { CheckpointError } from "../checkpoint/checkpoint_error.ts";
import type { DecodedHeader } from "../checkpoint/metadata/header.ts";
import { PAGE_BODY_AT, PAGE_SLOT_BYTES } from "../migration/memory/page_scan.ts";
import { ownsAll, type StreamPart } from "../migration/memory/stripes.ts";
import type { ReceiveTurn } from "../migration/memory/page_socket.ts";
import { ask } from "../migration/thread/session_client.ts";
import type { Lockstep } from "../transfer/lockstep.ts";
import { LiveError } from "./live_error.ts";
import { socketWaitMs } from "./streams/socket_wait.ts";
import type { ZstdThread } from "./streams/zstd_thread.ts";
import type { Tee } from "./tee.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What was taken. */
export interface ReceivedBytes {
  /** Memory, zeros included. */
  readonly memory: number;
  /** Device data. */
  readonly device: number;
}

/** The number of the last receiver. */
let receivers = 0;

/** Most pages that an error names. */
const MOST_NAMED = 8;

/** Most slots that memory is received in; each is given to a device's thread and comes back. */
const SLOTS = 3;

/** Where frames come from. */
export interface FrameSource {
  /** Whether other threads may receive in place of this one. Default false. */
  readonly shared?: boolean | undefined;
  /** Reads the next bytes, at least one; 0 at the end. */
  read(into: Uint8Array): Promise<number>;
  /** Lets another thread receive the next bytes; see {@linkcode Peer.receiveBy}. */
  receiveBy?(receive: (fd: number) => Promise<boolean>): Promise<void>;
}

/** How the frames of a checkpoint are taken. */
export interface FrameReceiverOptions {
  /** Checks device data, and leaves it out. Default false. */
  readonly memoryOnly?: boolean | undefined;
  /** Whether memory may be compressed. Default true. */
  readonly compressed?: boolean | undefined;
  /** Decompresses memory, if this thread does not. */
  readonly zstd?: ZstdThread | null | undefined;
  /** Gets a copy of all that comes behind the header. */
  readonly tee?: Tee | null | undefined;
  /** Which one of several streams it is. Default: the only one. */
  readonly part?: StreamPart | undefined;
  /** Resolves once memory that comes by other streams has come. */
  readonly ready?: (() => Promise<unknown>) | undefined;
}

/** Takes the frames of one checkpoint. */
export class FrameReceiver {
  readonly #id: number = receivers += 1;
  readonly #source: FrameSource;
  readonly #lockstep: Lockstep;
  readonly #memoryOnly: boolean;
  readonly #compressed: boolean;
  readonly #zstd: ZstdThread | null;
  /** Buffers for memory that comes compressed, and is decompressed on another thread. */
  readonly #freePacked: ArrayBuffer[] = [];
  /** Resolves once the last memory is stored, if it is decompressed on another thread. */
  #stored: Promise<void> = Promise.resolve();
  readonly #tee: Tee | null;
  readonly #part: StreamPart;
  readonly #ready: () => Promise<unknown>;
  readonly #reader: CheckpointReader;
  /** Slots that are not in use. */
  readonly #free: ArrayBuffer[] = [];
  /** The slot that a frame of memory is read to. */
  #slot: ArrayBuffer | null = null;
  /** The device whose thread may go on receiving. */
  #next: number | null = null;
  /** Work that the devices have not finished. */
  #working: Promise<unknown>[] = [];
  #pages: Pages | null = null;
  #hashes: Hashes | null = null;
  /** Pages that are not what the other side has, the first of them by address. */
  readonly #different: { count: number; readonly first: bigint[] } = { count: 0, first: [] };
  #deviceBytes = 0;

  /** Takes them from there, and gives each of the devices its own. */
  constructor(
    source: FrameSource,
    lockstep: Lockstep,
    {
      memoryOnly = false,
      compressed = true,
      zstd = null,
      tee = null,
      part = { index: 0, count: 1 },
      ready = () => Promise.resolve(),
    }: FrameReceiverOptions = {},
  ) {
    this.#source = source;
    this.#lockstep = lockstep;
    this.#memoryOnly = memoryOnly;
    this.#compressed = compressed;
    this.#zstd = zstd;
    this.#tee = tee;
    this.#part = part;
    this.#ready = ready;
    this.#reader = new CheckpointReader({
      requireComplete: true,
      discard: memoryOnly,
      packed: zstd !== null,
      allocate: (header) => this.#allocate(header),
      pages: (pages) => void (this.#pages = pages),
      hashes: (hashes) => void (this.#hashes = hashes),
    });
  }

  /** What was taken so far. */
  get bytes(): ReceivedBytes {
    return { memory: this.#reader.pageBytes, device: this.#deviceBytes };
  }

  /** Bytes of the stream so far. */
  get received(): number {
    return this.#reader.storedBytes;
  }

  /** Takes frames up to the header. */
  async header(): Promise<DecodedHeader> {
    return await this.#lockstep.until(this.#takeUntil(() => this.#reader.header));
  }

  /**
   * Takes all frames of a stream that has nothing but memory; the devices have it then.
   *
   * @throws {CheckpointError} If a frame is wrong.
   */
  async memory(): Promise<void> {
    const { devices } = await this.header();
    const { length } = this.#lockstep.members;
    if (devices.length !== length) {
      const what = `its header has ${devices.length} devices, that of the first stream ${length}`;
      throw new CheckpointError("header", this.#reader.storedBytes, what);
    }
    await this.rest();
  }

  /**
   * Takes all frames; the devices have them then.
   *
   * @throws {CheckpointError} If a frame is wrong.
   * @throws {LiveError} `memory-differs` if the source sent hashes that do not fit.
   */
  async rest(): Promise<void> {
    // Most often, memory of the first device comes next.
    if (this.#lends) this.#next = 0;
    await this.#lockstep.until(this.#takeUntil(() => this.#reader.trailer));
    await this.#finished(0);
    this.#reader.end();
    const { count, first } = this.#different;
    if (count === 0) return;
    const named = first.map((iova) => `0x${iova.toString(16)}`).join(", ");
    throw new LiveError(
      "memory-differs",
      `Memory differs from the source's in ${count} pages: ${named}${
        count > first.length ? ", …" : ""
      }`,
      "The tracker has lost pages, the device wrote after its stop, or something else did",
    );
  }

  #allocate(header: FrameHeader): Bytes | null {
    if (header.type !== FRAME_PAGE) return null;
    if (header.bodyLength > PAGE_SLOT_BYTES - PAGE_BODY_AT) {
      const what = `frame ${header.sequence} has ${header.bodyLength} bytes of memory, ` +
        `${PAGE_SLOT_BYTES - PAGE_BODY_AT} at most`;
      throw new CheckpointError("length", header.offset, what);
    }
    if ((header.flags & FRAME_ZSTD) !== 0) {
      const packed = this.#freePacked.pop() ?? new ArrayBuffer(PAGE_SLOT_BYTES);
      return new Uint8Array(packed, 0, header.bodyLength);
    }
    this.#slot = this.#freeSlot();
    return new Uint8Array(this.#slot, PAGE_BODY_AT, header.bodyLength);
  }

  /** Takes frames until one of them has given something. */
  async #takeUntil<Value>(given: () => Value | null): Promise<Value> {
    for (;;) {
      const value = given();
      if (value !== null) return value;
      await this.#take();
    }
  }

  async #take(): Promise<void> {
    // There is always a slot for the next frame.
    await this.#finished(SLOTS - 1);
    if (this.#next !== null) await this.#receiveBy(this.#next);
    const count = await this.#source.read(this.#reader.room());
    this.#lockstep.signal.throwIfAborted();
    if (count === 0) return void this.#reader.end();
    const batch = this.#reader.filled(count);
    if (this.#pages !== null) this.#demandOwn(this.#pages);
    if (this.#part.index > 0 && (batch !== null || this.#hashes !== null)) {
      const what = `Stream ${this.#part.index} has something else than memory`;
      throw new LiveError("peer-protocol", what);
    }
    if (this.#tee !== null) this.#copy(this.#tee, batch);
    if (batch !== null && !this.#memoryOnly) this.#push(batch);
    if (this.#pages !== null) this.#store(this.#pages);
    if (this.#hashes === null) return;
    await Promise.all([this.#ready(), this.#stored]);
    this.#compare(this.#hashes);
  }

  /**
   * Whether devices' threads receive. Not if memory may be compressed: what is still being
   * decompressed must not be stored after a newer version.
   */
  get #lends(): boolean {
    return (this.#source.shared ?? false) && this.#tee === null && !this.#compressed;
  }

  /** Lets a device's thread receive the frames of its memory, until another one comes. */
  async #receiveBy(number: number): Promise<void> {
    this.#next = null;
    const member = this.#lockstep.members[number]!;
    const { device } = member;
    const part = this.#part;
    const waitMs = socketWaitMs(device, part.count);
    await this.#source.receiveBy!(async (fd) => {
      for (;;) {
        const { position } = this.#reader;
        const request = { fd, device: number, part, id: this.#id, position, waitMs };
        const turn = await ask(device, "receivePages", request).catch((error) => {
          // Memory that is not there is this device's fault; a stream that is wrong is nobody's.
          if (!(error instanceof RangeError)) throw error;
          return this.#lockstep.attempt(member, Promise.reject<ReceiveTurn>(error));
        });
        this.#lockstep.signal.throwIfAborted();
        if (turn.foreign !== null) throw this.#notOwn(turn.foreign);
        this.#reader.goOn(turn.position, turn.bytes);
        if (turn.ended !== "time") return turn.ended === "other";
      }
    });
  }

  /** Demands that a page comes by its own stream: by another one, it could overtake a newer version. */
  #demandOwn({ entries }: Pages): void {
    const foreign = entries.find((entry) => !ownsAll(entry, this.#part));
    if (foreign !== undefined) throw this.#notOwn(foreign.iova);
  }

  #notOwn(iova: bigint): LiveError {
    const { index, count } = this.#part;
    return new LiveError(
      "peer-protocol",
      `Memory at 0x${iova.toString(16)} comes by stream ${index} of ${count}, not its own`,
    );
  }

  #copy(tee: Tee, batch: Batch | null): void {
    if (batch !== null) this.#work(tee.batch(batch));
    if (this.#pages !== null && this.#zstd === null) this.#work(tee.pages(this.#pages));
  }

  #push(batch: Batch): void {
    this.#deviceBytes += batch.bytes.length;
    const member = this.#lockstep.members[batch.device]!;
    const { sizes, more, bytes } = batch;
    const work = ask(member.device, "push", { sizes, more, bytes });
    this.#work(this.#lockstep.attempt(member, work));
  }

  #store(pages: Pages): void {
    this.#pages = null;
    if (this.#lends) this.#next = pages.device;
    const read = this.#slot;
    this.#slot = null;
    if (this.#zstd === null) {
      this.#work(this.#storeSlot(pages, read ?? this.#copied(pages.body)));
      if (read === null) giveBack(pages.body);
      return;
    }
    // Their order is that of the frames, whichever of them have to be decompressed first.
    const own = { ...pages, meta: pages.meta.slice() };
    const slot = own.packedFrom === null
      ? Promise.resolve(read!)
      : this.#unpacked(this.#zstd, own, own.packedFrom);
    const before = this.#stored;
    this.#stored = (async (): Promise<void> => {
      const [filled] = await Promise.all([slot, before]);
      const length = own.packedFrom ?? own.body.length;
      const body = new Uint8Array(filled, PAGE_BODY_AT, length);
      const copied = this.#tee?.pages({ ...own, body });
      await Promise.all([this.#storeSlot({ ...own, body }, filled), copied]);
    })();
    this.#work(this.#stored);
  }

  /** Gives the device what a slot has of memory. */
  async #storeSlot({ device, meta, body }: Pages, slot: ArrayBuffer): Promise<void> {
    const member = this.#lockstep.members[device]!;
    new Uint8Array(slot, FRAME_HEADER_SIZE).set(meta);
    // One thread takes a device's memory, in the order in which it was asked.
    const work = ask(member.device, "storePages", slot, meta.length, body.length);
    this.#free.push(await this.#lockstep.attempt(member, work));
  }

  /** A slot with memory that came compressed, and was decompressed on this thread. */
  #copied(body: Bytes): ArrayBuffer {
    const slot = this.#slotFor(body.length);
    new Uint8Array(slot, PAGE_BODY_AT).set(body);
    return slot;
  }

  /** The same, decompressed on another thread. */
  async #unpacked(zstd: ZstdThread, { body }: Pages, length: number): Promise<ArrayBuffer> {
    const at = this.#reader.storedBytes;
    const { slot, packed, done } = await zstd.decompress(body, {
      slot: this.#slotFor(length),
      at: PAGE_BODY_AT,
      length,
    });
    this.#freePacked.push(packed);
    if (done) return slot;
    const what = `a frame does not decompress to the ${length} bytes of memory that it declares`;
    throw new CheckpointError("compression", at, what);
  }

  /** A slot for so many bytes that came compressed. */
  #slotFor(length: number): ArrayBuffer {
    if (!this.#compressed) {
      throw new LiveError(
        "peer-protocol",
        "The other side sends compressed memory without having said so",
      );
    }
    if (length > PAGE_SLOT_BYTES - PAGE_BODY_AT) {
      const what = `a frame has ${length} bytes of memory, ${
        PAGE_SLOT_BYTES - PAGE_BODY_AT
      } at most`;
      throw new CheckpointError("length", this.#reader.storedBytes, what);
    }
    return this.#freeSlot();
  }

  #freeSlot(): ArrayBuffer {
    return this.#free.pop() ?? new ArrayBuffer(PAGE_SLOT_BYTES);
  }

  #compare({ device, iova, length, hashes }: Hashes): void {
    this.#hashes = null;
    const member = this.#lockstep.members[device]!;
    // Behind all pages that came before.
    const work = ask(member.device, "hashPages", iova, BigInt(length)).then((own) => {
      for (let at = 0; at < hashes.length; at += HASH_BYTES) {
        const same = Buffer.compare(
          own.subarray(at, at + HASH_BYTES),
          hashes.subarray(at, at + HASH_BYTES),
        ) === 0;
        if (same) continue;
        const { first } = this.#different;
        this.#different.count += 1;
        const page = iova + BigInt(at / HASH_BYTES * PAGE_UNIT);
        if (first.length < MOST_NAMED) first.push(page);
      }
    });
    this.#work(this.#lockstep.attempt(member, work));
  }

  #work(work: Promise<unknown>): void {
    work.catch(() => {});
    this.#working.push(work);
  }

  /** Waits until the devices have at most this many things left to do. */
  async #finished(left: number): Promise<void> {
    while (this.#working.length > left) await this.#working.shift();
  }
}
