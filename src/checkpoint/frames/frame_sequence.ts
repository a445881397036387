/**
 * The frames of one checkpoint in their order: the header before them, what
 * they hold, counted, and the trailer behind them.
 */

import { stringifyFields } from "../metadata/json_fields.ts";
import { describeFrame, type FramePosition, FrameWriter } from "./frame_writer.ts";
import { checkHeader } from "../metadata/header_json.ts";
import { type CountedBatch, TotalsCounter } from "../metadata/totals.ts";
import { FRAME_HEAD, FRAME_HEADER_SIZE, FRAME_TAIL } from "./constants.ts";
import type { CheckpointHeader } from "../metadata/header.ts";
import type { CheckpointTrailer } from "../metadata/trailer.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Numbers and counts the frames of one checkpoint; their data passes it by. */
export class FrameSequence {
  readonly #frames = new FrameWriter();
  readonly #head: Bytes;
  readonly #counter: TotalsCounter;
  readonly #complete: boolean;

  /**
   * Checks the header.
   *
   * @throws {TypeError} If a field of the header is not what the format allows.
   */
  constructor(
    header: CheckpointHeader,
    { complete = true, digest = null }: {
      readonly complete?: boolean | undefined;
      readonly digest?: "sha256" | null | undefined;
    },
  ) {
    this.#complete = complete;
    try {
      const checked = checkHeader({ ...header, complete, digest });
      this.#head = stringifyFields(checked, FRAME_HEADER_SIZE);
    } catch (error) {
      throw new TypeError(`Cannot write a checkpoint header: ${(error as Error).message}`);
    }
    this.#counter = new TotalsCounter(header.devices.length);
  }

  /** Bytes of the checkpoint so far. */
  get storedBytes(): number {
    return this.#frames.offset;
  }

  /** Where the next frame stands; set where another thread has written some that are not DATA. */
  get position(): FramePosition {
    return this.#frames.position;
  }

  set position(position: FramePosition) {
    this.#frames.position = position;
  }

  /** The first bytes. Called once, first. */
  begin(): readonly Bytes[] {
    const preamble = this.#frames.preamble();
    describeFrame(this.#head, { type: FRAME_HEAD, flags: 0, device: 0 }, null);
    this.#frames.place(this.#head, 0);
    return [preamble, this.#head];
  }

  /**
   * Counts what a DATA frame will hold; called once for each, before it gets its place.
   *
   * @throws {TypeError} If its device is not in the header, or it goes on with a transaction of another phase.
   */
  count(counted: CountedBatch): void {
    const wrong = this.#counter.add(counted);
    if (wrong !== null) throw new TypeError(`Cannot write a batch: ${wrong}`);
  }

  /** Gives a DATA frame the next place; its head is filled in but for that. */
  place(head: Uint8Array, bodyLength: number): void {
    this.#frames.place(head, bodyLength);
  }

  /**
   * The last bytes. Called once, last.
   *
   * @param sha256 The digest of all content, in hex; null without one.
   * @throws {TypeError} If a transaction was begun and not finished.
   */
  end(sha256: string | null): Bytes {
    if (this.#counter.unfinished !== null) {
      throw new TypeError(
        `Cannot end the checkpoint: a transaction of device ${this.#counter.unfinished} goes on`,
      );
    }
    const trailer: CheckpointTrailer = {
      complete: this.#complete,
      frames: this.#frames.frames,
      storedBytes: this.#frames.offset,
      transactions: this.#counter.transactions,
      bytes: this.#counter.bytes,
      sha256,
      devices: this.#counter.devices,
    };
    const head = stringifyFields(trailer, FRAME_HEADER_SIZE);
    describeFrame(head, { type: FRAME_TAIL, flags: 0, device: 0 }, null);
    this.#frames.place(head, 0);
    return head;
  }
}
