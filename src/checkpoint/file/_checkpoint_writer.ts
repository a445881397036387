/**
 * Writes a checkpoint's chunks to a target in order.
 */

import { writeAllSync } from "../../kernel/process/write_all.ts";
import { writeAll } from "./_fd_io.ts";
import { FileReadBack } from "./_file_read_back.ts";
import type { AbortResult, FileTarget } from "./_file_target.ts";
import type { CheckpointFile } from "./checkpoint_file.ts";
import { fileError } from "./file_error.ts";
import type { ReadBack } from "../read_back.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Chunks smaller than this are collected, so that a frame's header needs no extra call. */
const SMALL = 32 * 1024;
/** Size of the buffer that collects them, in bytes. */
const COLLECTED = 128 * 1024;

/** A write of a chunk that takes longer than this, in milliseconds, has waited for the disk. */
const SLOW_MS = 5;

/** {@linkcode CheckpointFile} over a target. */
export class CheckpointWriter implements CheckpointFile {
  readonly path: string;
  readonly writable: WritableStream<Bytes>;
  readonly readBack: ReadBack | undefined;
  readonly #target: FileTarget;
  readonly #small: Bytes = new Uint8Array(new ArrayBuffer(COLLECTED));
  #smallLength = 0;
  /** Whether writes may wait: for a reader, or, as one has shown, for the disk. */
  #slow: boolean;
  #bytes = 0;
  #state: "open" | "committed" | "aborted" = "open";
  /**
   * The call under way: its fd must not be closed meanwhile, since another file might get the
   * number.
   */
  #busy: Promise<void> = Promise.resolve();
  #working = false;
  #aborted: Promise<AbortResult> = Promise.resolve({ words: "", left: null });

  constructor(path: string, target: FileTarget) {
    this.path = path;
    this.#target = target;
    this.#slow = target.direct;
    const { reopen } = target;
    this.readBack = reopen && new FileReadBack({
      path,
      sync: () =>
        this.#abortOnFailure(async () => {
          await this.#flush();
          await target.sync();
        }),
      reopen: () => reopen.call(target),
      giveUp: async () => {
        await this.abort();
        return await this.#aborted;
      },
    });
    this.writable = new WritableStream<Bytes>({
      write: (chunk): Promise<void> => this.write(chunk),
      close: (): Promise<void> => this.#abortOnFailure(() => this.#flush()),
      abort: (): Promise<void> => this.abort(),
    });
  }

  get fd(): number {
    return this.#target.fd;
  }

  get direct(): boolean {
    return this.#target.direct;
  }

  get bytes(): number {
    return this.#bytes;
  }

  write(chunk: Bytes): Promise<void> {
    return this.#abortOnFailure(async () => {
      this.#bytes += chunk.byteLength;
      if (chunk.byteLength < SMALL) {
        if (this.#smallLength + chunk.byteLength > COLLECTED) await this.#flush();
        this.#small.set(chunk, this.#smallLength);
        this.#smallLength += chunk.byteLength;
      } else {
        await this.#flush();
        await this.#write(chunk);
      }
    });
  }

  commit(): Promise<void> {
    return this.#abortOnFailure(async () => {
      await this.#flush();
      await this.#target.commit();
      this.#state = "committed";
    });
  }

  async abort(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "aborted";
      this.#aborted = this.#busy.catch(() => {}).then(() => this.#target.abort());
    }
    // A write to a pipe without an active reader may never end; a write to a file does.
    if (!this.direct || !this.#working) await this.#aborted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async #flush(): Promise<void> {
    if (this.#smallLength === 0) return;
    const length = this.#smallLength;
    this.#smallLength = 0;
    await this.#write(this.#small.subarray(0, length));
  }

  /**
   * What goes to the kernel's memory is written on this thread: to wake another one and to wait for
   * it takes as long as the copy.
   */
  async #write(bytes: Bytes): Promise<void> {
    if (this.#slow) return await writeAll(this.#target.fd, bytes);
    const begun = performance.now();
    writeAllSync(this.#target.fd, bytes);
    this.#slow = performance.now() - begun > SLOW_MS;
  }

  async #abortOnFailure(work: () => Promise<void>): Promise<void> {
    if (this.#state !== "open") {
      throw new TypeError(`Cannot write "${this.path}": it was ${this.#state} before`);
    }
    try {
      this.#working = true;
      this.#busy = work();
      await this.#busy;
    } catch (error) {
      this.#working = false;
      await this.abort();
      throw fileError("write", this.path, error, (await this.#aborted).words);
    } finally {
      this.#working = false;
    }
  }
}
