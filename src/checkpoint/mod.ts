/**
 * Checkpoints: the bytes that hold the state of one to 64 devices, and their files. This layer
 * knows no device; `save` and `restore` of `vfiokit` do.
 *
 * {@linkcode encodeCheckpoint} and {@linkcode decodeCheckpoint} are Web streams between
 * {@linkcode Transaction}s and bytes. {@linkcode createCheckpointFile} makes a file that appears
 * whole or not at all, {@linkcode openCheckpointFile} reads one, and {@linkcode verifyCheckpoint}
 * checks all that a restore relies on. docs/checkpoint-format.md has the format, byte by byte.
 *
 * A bad checkpoint is a {@linkcode CheckpointError}, with the offset; a failed file operation is a
 * {@linkcode CheckpointFileError}, with the errno's name.
 *
 * @example
 * ```ts
 * import { decodeCheckpoint, encodeCheckpoint, newHeader, verifyCheckpoint } from "vfiokit/checkpoint";
 * import { openDevice, stopAndCopy } from "vfiokit";
 * import assert from "node:assert/strict";
 *
 * await using device = await openDevice("sim:mlx5?size=1MiB");
 * const header = newHeader([device.description.identity!]);
 * const bytes = stopAndCopy(device).pipeThrough(encodeCheckpoint(header));
 * const [some, same] = bytes.tee();
 * const { trailer } = await verifyCheckpoint(some);
 * let count = 0;
 * for await (const { data } of same.pipeThrough(decodeCheckpoint())) count += data.length;
 * assert.equal(count, trailer.bytes);
 * ```
 *
 * @module
 */

export type { Phase, Transaction } from "./batches/transaction.ts";
export { CheckpointError, type CheckpointErrorCode } from "./checkpoint_error.ts";
export type { CheckpointFile } from "./file/checkpoint_file.ts";
export type { CheckpointSource, ReadableFd } from "./file/checkpoint_source.ts";
export { createCheckpointFile, type CreateFileOptions } from "./file/create_checkpoint_file.ts";
export { CheckpointFileError, type CheckpointFileErrorInfo } from "./file/file_error.ts";
export { openCheckpointFile } from "./file/open_checkpoint_file.ts";
export { type CheckpointDecoder, decodeCheckpoint, type DecodeOptions } from "./format/decode.ts";
export { encodeCheckpoint } from "./format/encode.ts";
export type { EncodeOptions } from "./format/checkpoint_encoder.ts";
export type { ChainLink, LinkMemory } from "./metadata/chain_link.ts";
export type { DeviceIdentity } from "./metadata/device_identity.ts";
export { type CheckpointHeader, type DecodedHeader, newHeader } from "./metadata/header.ts";
export type { DevicePhaseTimes } from "./format/checkpoint_reader.ts";
export type { PhaseTimes } from "./frames/time_frame.ts";
export type { CheckpointTrailer, DeviceTotals, PhaseTotals } from "./metadata/trailer.ts";
export {
  type ReadBack,
  ReadBackError,
  type ReadBackErrorInfo,
  type ReadBackProgress,
  type ReadBackReport,
} from "./read_back.ts";
export {
  type CheckpointInspection,
  type CheckpointSummary,
  inspectCheckpoint,
  verifyCheckpoint,
  type VerifyOptions,
  type VerifyProgress,
} from "./verify.ts";
