/**
 * {@linkcode ReadBack} of a regular file that has a temporary name.
 */

import { cleanlyAsync } from "../../base/cleanup.ts";
import type { AbortResult } from "./_file_target.ts";
import type { OpenSource } from "./_open_source.ts";
import { CheckpointError } from "../checkpoint_error.ts";
import { CheckpointFileError } from "./file_error.ts";
import {
  type ReadBack,
  ReadBackError,
  type ReadBackProgress,
  type ReadBackReport,
} from "../read_back.ts";
import type { DeviceTotals } from "../metadata/trailer.ts";
import { type CheckpointSummary, verifyCheckpoint } from "../verify.ts";

/** The file that is read back. */
export interface WrittenFile {
  /** The file as it was named. */
  readonly path: string;
  /** Syncs it. */
  sync(): Promise<void>;
  /** Opens it to be read. */
  reopen(): Promise<OpenSource>;
  /** Gives it up. */
  giveUp(): Promise<AbortResult>;
}

const HINT = "save again; where this comes back, the memory or the disk changes what is written: " +
  "look into the kernel's log";

/** Reads a file back. */
export class FileReadBack implements ReadBack {
  readonly #file: WrittenFile;
  #progress: ReadBackProgress | null = null;
  #report: ReadBackReport = { done: false, seconds: null, reason: "not-reached" };

  constructor(file: WrittenFile) {
    this.#file = file;
  }

  get progress(): ReadBackProgress | null {
    return this.#progress;
  }

  get report(): ReadBackReport {
    return this.#report;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  async run(moved: readonly DeviceTotals[], signal?: AbortSignal): Promise<CheckpointSummary> {
    const begun = performance.now();
    const report = (reason: ReadBackReport["reason"]): void => {
      const seconds = (performance.now() - begun) / 1000;
      this.#report = { done: reason === null, seconds, reason };
    };
    this.#progress = { bytes: 0, total: 0 };
    try {
      signal?.throwIfAborted();
      const summary = await this.#read(signal);
      compare(summary.trailer.devices, moved);
      report(null);
      return summary;
    } catch (error) {
      const interrupted = signal?.aborted === true && error === signal.reason;
      report(interrupted ? "interrupted" : "bad");
      throw this.#failed(error, interrupted, await this.#file.giveUp());
    }
  }

  #read(signal: AbortSignal | undefined): Promise<CheckpointSummary> {
    return cleanlyAsync(async () => {
      await using source = await this.#file.reopen();
      const stream = (): ReadableStream<Uint8Array> =>
        ReadableStream.from(this.#counted(source, signal));
      return await verifyCheckpoint({ stream });
    });
  }

  async *#counted(
    source: OpenSource,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    const total = source.size ?? 0;
    let bytes = 0;
    for await (const chunk of source.stream()) {
      yield chunk;
      this.#progress = { bytes: bytes += chunk.byteLength, total };
      signal?.throwIfAborted();
    }
  }

  #failed(error: unknown, interrupted: boolean, { words, left }: AbortResult): ReadBackError {
    const { path } = this.#file;
    const what = error instanceof CheckpointFileError
      ? error.message
      : `Cannot read back "${path}": ${interrupted ? "interrupted" : describeError(error)}`;
    return new ReadBackError(`${what}; ${words}${left === null ? "" : `, ${left}`}`, {
      code: interrupted ? "cancelled" : "read-back",
      path,
      errno: error instanceof CheckpointFileError ? error.code ?? undefined : undefined,
      hint: interrupted ? undefined : HINT,
    }, { cause: error });
  }
}

/** What was found, for a message that says already what could not be done. */
function describeError(error: unknown): string {
  return error instanceof CheckpointError ? error.problem : (error as Error).message;
}

/** Whether all that the devices gave is there; the reader has compared it with the trailer only. */
function compare(there: readonly DeviceTotals[], moved: readonly DeviceTotals[]): void {
  const wrong = moved.findIndex(({ bytes, transactions }, device) =>
    bytes !== there[device]?.bytes || transactions !== there[device].transactions
  );
  if (wrong < 0 && there.length === moved.length) return;
  const device = Math.max(wrong, 0);
  throw new Error(
    `it has ${describeTotals(there[device])} of device ${device}, which gave ${
      describeTotals(moved[device])
    }`,
  );
}

function describeTotals(totals: DeviceTotals | undefined): string {
  const { bytes, transactions } = totals ?? { bytes: 0, transactions: 0 };
  return `${bytes} bytes in ${transactions} transactions`;
}
