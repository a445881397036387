/**
 * What the two sides say to each other besides the stream: JSON, each behind its length. See
 * docs/live-migration.md.
 */

import { printable } from "../../base/printable.ts";
import { readRanges } from "../../checkpoint/metadata/chain_link.ts";
import { type Fields, parseFields } from "../../checkpoint/metadata/json_fields.ts";
import { MAX_DEVICES } from "../../checkpoint/frames/constants.ts";
import type { IovaMapping } from "../../vfio/dma/iova.ts";
import { LiveError } from "../live_error.ts";

/** The version of the protocol without what the next one has more. */
const PLAIN_VERSION = 1;
/** The version with compressed frames. A source names it only if it sends some. */
const ZSTD_VERSION = 2;
/** The version with several streams. A source names it only if it offers more than one. */
const STREAMS_VERSION = 3;
const VERSIONS: readonly number[] = [PLAIN_VERSION, ZSTD_VERSION, STREAMS_VERSION];
/** Most streams of a migration, the first connection's included. */
export const MAX_STREAMS = 16;
/** First bytes of each message: "VFKM". */
const MAGIC = 0x4d4b4656;
const HEAD_SIZE = 8;
const MAX_MESSAGE = 64 * 1024;
/** Most ranges of a device's memory: what a message has room for. */
const MAX_RANGES = 512;
const MAX_REASON = 2000;
/** 128 bits in hex. */
const HEX_128 = /^[0-9a-f]{32}$/;

/** What the source begins with. */
export interface Hello {
  readonly type: "hello";
  /** The migration's id: 32 hex digits. */
  readonly id: string;
  /** The memory of each device, by ascending iova. */
  readonly memory: readonly (readonly IovaMapping[])[];
  /** How frames of memory may be compressed; null for not at all. */
  readonly compress: "zstd" | null;
  /** How many streams the source can send memory by. */
  readonly streams: number;
}

/** How the destination lets it begin. */
export interface Ready {
  readonly type: "ready";
  /** How many streams it takes memory by: as many as were offered, or fewer. */
  readonly streams: number;
  /** What connects the further ones with this migration; null if there are none. */
  readonly token: string | null;
}

/** What the source begins a further connection with. */
export interface StreamHello {
  readonly type: "stream";
  /** That of {@linkcode Ready}. */
  readonly token: string;
  /** Which of the streams it is, from 1 on. */
  readonly index: number;
}

/** A message. */
export type Message =
  | Hello
  | Ready
  | StreamHello
  | { readonly type: "joined" | "loaded" | "commit" | "running" }
  | { readonly type: "abort" | "refused"; readonly reason: string };

/** A message as it is sent. */
export function packMessage(message: Message): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(toJson(message)));
  if (json.length > MAX_MESSAGE) {
    throw new RangeError(`Cannot send a message of ${json.length} bytes: ${MAX_MESSAGE} at most`);
  }
  const bytes = new Uint8Array(new ArrayBuffer(HEAD_SIZE + json.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, json.length, true);
  bytes.set(json, HEAD_SIZE);
  return bytes;
}

function toJson(message: Message): unknown {
  if (message.type === "hello") {
    const hex = (value: bigint): string => `0x${value.toString(16)}`;
    const memory = message.memory.map((ranges) => ({
      ranges: ranges.map(({ iova, size }) => ({ iova: hex(iova), size: hex(size) })),
    }));
    const { type, id, compress, streams } = message;
    if (streams > 1) return { type, version: STREAMS_VERSION, id, memory, compress, streams };
    return compress === null
      ? { type, version: PLAIN_VERSION, id, memory }
      : { type, version: ZSTD_VERSION, id, memory, compress };
  }
  if (message.type === "ready" && message.token === null) return { type: message.type };
  if ("reason" in message) {
    return { ...message, reason: printable(message.reason).slice(0, MAX_REASON) };
  }
  return message;
}

/** Takes so many bytes from the connection. */
export type TakeBytes = (length: number) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Reads the next message.
 *
 * @throws {LiveError} `peer-protocol` if it is none.
 */
export async function readMessage(take: TakeBytes): Promise<Message> {
  const head = new DataView((await take(HEAD_SIZE)).buffer);
  if (head.getUint32(0, true) !== MAGIC) throw wrong("its first bytes are not those of a message");
  const length = head.getUint32(4, true);
  if (length > MAX_MESSAGE) throw wrong(`a message of ${length} bytes, ${MAX_MESSAGE} at most`);
  const json = await take(length);
  try {
    return parseMessage(parseFields(json));
  } catch (error) {
    throw error instanceof LiveError ? error : wrong((error as Error).message);
  }
}

function parseMessage(fields: Fields): Message {
  const type = fields.word(
    "type",
    ["hello", "ready", "stream", "joined", "loaded", "commit", "running", "abort", "refused"],
  );
  switch (type) {
    case "hello":
      return parseHello(fields);
    case "ready":
      return fields.value("streams") === undefined
        ? { type, streams: 1, token: null }
        : { type, streams: parseStreams(fields), token: parseHex(fields, "token") };
    case "stream": {
      const token = parseHex(fields, "token");
      return { type, token, index: fields.count("index", MAX_STREAMS - 1) };
    }
    case "abort":
    case "refused":
      // Whatever is in it, the decision counts.
      return { type, reason: reasonOf(fields.value("reason")) };
    default:
      return { type };
  }
}

function reasonOf(value: unknown): string {
  return typeof value === "string" ? printable(value).slice(0, MAX_REASON) : "it does not say why";
}

function parseHex(fields: Fields, key: string): string {
  const hex = fields.text(key);
  if (!HEX_128.test(hex)) throw wrong(`its ${key} is not 32 hex digits`);
  return hex;
}

/** A number of streams; that there is only one is not said. */
function parseStreams(fields: Fields): number {
  const streams = fields.count("streams", MAX_STREAMS);
  if (streams < 2) throw wrong("streams is not a whole number from 2 on");
  return streams;
}

function parseHello(fields: Fields): Hello {
  const version = fields.count("version");
  if (!VERSIONS.includes(version)) {
    throw wrong(`it speaks version ${version}, and ${VERSIONS.join(", ")} are spoken here`);
  }
  const id = parseHex(fields, "id");
  const devices = fields.list("memory", MAX_DEVICES);
  if (devices.length === 0) throw wrong("it has no device");
  const memory = devices.map((device) => readRanges(device, MAX_RANGES));
  const word = (key: string): "zstd" => fields.word(key, ["zstd"]);
  if (version === STREAMS_VERSION) {
    const compress = fields.nullable("compress", word);
    return { type: "hello", id, memory, compress, streams: parseStreams(fields) };
  }
  const compress = version === ZSTD_VERSION ? word("compress") : null;
  return { type: "hello", id, memory, compress, streams: 1 };
}

/** The error for a message that ends the migration. */
export function unexpected(message: Message): LiveError {
  if (message.type === "refused" || message.type === "abort") {
    return new LiveError("peer-refused", `The other side gives up: ${message.reason}`);
  }
  return new LiveError("peer-protocol", `The other side says "${message.type}" out of turn`);
}

function wrong(what: string): LiveError {
  return new LiveError("peer-protocol", `The other side does not speak this protocol: ${what}`);
}
