/**
 * The preamble and the headers of frames: nothing in them is believed before
 * their CRC is right, and what they say is bounded.
 */

import { crc32 } from "node:zlib";
import { packerOf } from "../../base/packed_file.ts";
import type { Hint } from "../../base/vfiokit_error.ts";
import { CheckpointError } from "../checkpoint_error.ts";
import {
  FORMAT_VERSION,
  FRAME_DATA,
  FRAME_HASH,
  FRAME_HEAD,
  FRAME_OPTIONAL,
  FRAME_PAGE,
  FRAME_TAIL,
  FRAME_TIME,
  FRAME_ZSTD,
  frameTypeName,
  MAGIC,
  MAX_BODY,
  MAX_META,
} from "./constants.ts";

/** Bytes of a checkpoint. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A frame's header, checked. */
export interface FrameHeader {
  /** The type: one of `FRAME_…`, or of an optional frame that this version does not know. */
  readonly type: number;
  /** `FRAME_OPTIONAL`, `FRAME_ZSTD`, or'ed. */
  readonly flags: number;
  /** The number of the device it is about. */
  readonly device: number;
  /** Its number in the checkpoint, from 0. */
  readonly sequence: number;
  /** Length of its meta part, in bytes. */
  readonly metaLength: number;
  /** Length of its body as stored, in bytes. */
  readonly bodyLength: number;
  /** Where it starts in the checkpoint, in bytes. */
  readonly offset: number;
}

const KNOWN_FLAGS: ReadonlyMap<number, number> = new Map([
  [FRAME_HEAD, 0],
  [FRAME_DATA, FRAME_ZSTD],
  [FRAME_PAGE, FRAME_OPTIONAL | FRAME_ZSTD],
  [FRAME_HASH, FRAME_OPTIONAL],
  [FRAME_TIME, FRAME_OPTIONAL],
  [FRAME_TAIL, 0],
]);

/** Whether this version knows frames of this type. */
export function isKnown(type: number): boolean {
  return KNOWN_FLAGS.has(type);
}

/** How a migration stream of QEMU's begins. */
const QEMU_MAGIC = [0x51, 0x45, 0x56, 0x4d];

/** Refuses first bytes, all or some of them, that are not a checkpoint's. */
export function checkMagic(bytes: Uint8Array): void {
  const wrong = MAGIC.some((byte, index) => index < bytes.length && byte !== bytes[index]);
  if (!wrong) return;
  const packer = packerOf(bytes);
  if (packer !== null) {
    const { name, hint } = packer;
    const what = `its first bytes are those of a ${name} file`;
    throw new CheckpointError("not-a-checkpoint", 0, what, { hint });
  }
  if (QEMU_MAGIC.every((byte, index) => byte === bytes[index])) {
    const what = "its first bytes are those of a migration stream of QEMU's";
    const hint: Hint = { text: "Make a checkpoint of it first", remedy: "import-qemu" };
    throw new CheckpointError("not-a-checkpoint", 0, what, { hint });
  }
  const what = "its first bytes are not those of a checkpoint";
  throw new CheckpointError("not-a-checkpoint", 0, what);
}

/** Checks the preamble; returns the chain that it begins. */
export function checkPreamble(bytes: Bytes): number {
  checkMagic(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const chain = crc32(bytes.subarray(0, 12));
  if (view.getUint32(12, true) !== chain) {
    throw new CheckpointError("crc", 0, "its preamble has a wrong CRC");
  }
  const version = view.getUint16(8, true);
  const flags = view.getUint16(10, true);
  if (version !== FORMAT_VERSION || flags !== 0) {
    const and = flags === 0 ? "" : ` with flags 0x${flags.toString(16)}`;
    const what = `it is of version ${version}${and}, ` +
      `and version ${FORMAT_VERSION} is what can be read here`;
    throw new CheckpointError("version", 8, what);
  }
  return chain;
}

/** The chain behind a frame: neither the chain itself nor the header's CRC takes part in it. */
export function nextChain(bytes: Bytes, chain: number): number {
  return crc32(bytes.subarray(0, 24), chain);
}

/** Reads the header of the frame that must be number `sequence` at `offset`, behind `chain`. */
export function readFrameHeader(
  bytes: Bytes,
  sequence: number,
  chain: number,
  offset: number,
): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (view.getUint32(28, true) !== crc32(bytes.subarray(0, 28))) {
    throw new CheckpointError("crc", offset, `the header of frame ${sequence} has a wrong CRC`);
  }
  const header: FrameHeader = {
    type: view.getUint32(0, true),
    flags: view.getUint16(4, true),
    device: view.getUint16(6, true),
    sequence: view.getUint32(8, true),
    metaLength: view.getUint32(12, true),
    bodyLength: view.getUint32(16, true),
    offset,
  };
  if (header.sequence !== sequence) {
    const what = `frame ${header.sequence} stands where frame ${sequence} should be`;
    throw new CheckpointError("order", offset, what);
  }
  if (view.getUint32(24, true) !== chain) {
    throw new CheckpointError("order", offset, `frame ${sequence} belongs to another checkpoint`);
  }
  if (header.metaLength > MAX_META || header.bodyLength > MAX_BODY) {
    const what = `frame ${sequence} claims ${header.metaLength} and ${header.bodyLength} bytes` +
      ` where ${MAX_META} and ${MAX_BODY} are the most`;
    throw new CheckpointError("length", offset, what);
  }
  checkType(header);
  return header;
}

function checkType({ type, flags, device, sequence, bodyLength, offset }: FrameHeader): void {
  const known = KNOWN_FLAGS.get(type);
  const name = frameTypeName(type);
  if (known === undefined ? (flags & FRAME_OPTIONAL) === 0 : (flags & ~known) !== 0) {
    const what = `frame ${sequence} is of type ${name} with flags 0x${flags.toString(16)}, ` +
      "which needs a newer version of this program";
    throw new CheckpointError("unknown-frame", offset, what);
  }
  if ((sequence === 0) !== (type === FRAME_HEAD)) {
    throw new CheckpointError("order", offset, `frame ${sequence} is of type ${name}`);
  }
  if ((type === FRAME_HEAD || type === FRAME_TAIL) && (bodyLength > 0 || device > 0)) {
    const what = `frame ${sequence} of type ${name} has a body or a device`;
    throw new CheckpointError("frame", offset, what);
  }
}
