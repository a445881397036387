/**
 * The capabilities that both sides exchange in VFIO_USER_VERSION: JSON, each with a default.
 *
 * @module
 */

import {
  VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  VFIO_USER_DEFAULT_MAX_DMA_MAPS,
  VFIO_USER_DEFAULT_MAX_MSG_FDS,
} from "./commands.ts";
import { type Extension, parseExtension } from "./extension.ts";
import { vfioUserVersion } from "./structs.ts";
import { malformed } from "./wire_error.ts";

/** The largest VFIO_USER_VERSION that is taken, in bytes, without the header. */
export const VERSION_MAX = 16384;

/** What the sender of a VFIO_USER_VERSION can do. */
export interface Capabilities {
  /** The most fds that it receives in one message. */
  readonly maxMsgFds: number;
  /** The most data that it takes, or gives, in one message, in bytes. */
  readonly maxDataXferSize: number;
  /** A server: how many DMA mappings there can be. */
  readonly maxDmaMaps: number;
  /** The page sizes of DMA mappings, or'ed. */
  readonly pgsizes: bigint;
  /** The page size of dirty logging, in bytes, if it migrates; null if it does not say. */
  readonly migrationPgsize: number | null;
  /** Whether the server's commands may go through a separate socket. */
  readonly twinSocket: boolean;
  /** A reply: which of its fds that socket is; null if none is. */
  readonly twinSocketFdIndex: number | null;
  /** Whether VFIO_USER_REGION_WRITE_MULTI is supported. */
  readonly writeMultiple: boolean;
  /** vfiokit's extension; null if the sender has none. */
  readonly vfiokit: Extension | null;
}

/** What a side has that says nothing. */
export const DEFAULT_CAPABILITIES: Capabilities = {
  maxMsgFds: VFIO_USER_DEFAULT_MAX_MSG_FDS,
  maxDataXferSize: VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
  maxDmaMaps: VFIO_USER_DEFAULT_MAX_DMA_MAPS,
  pgsizes: 4096n,
  migrationPgsize: null,
  twinSocket: false,
  twinSocketFdIndex: null,
  writeMultiple: false,
  vfiokit: null,
};

/** A VFIO_USER_VERSION. */
export interface Version {
  /** The major version. */
  readonly major: number;
  /** The minor version. */
  readonly minor: number;
  /** The capabilities, with the defaults of those that were left out. */
  readonly capabilities: Capabilities;
}

/** The payload of a VFIO_USER_VERSION. What has its default is left out. */
export function packVersion({ major, minor, capabilities }: Version): Uint8Array<ArrayBuffer> {
  const own = capabilities;
  const json = {
    capabilities: {
      max_msg_fds: own.maxMsgFds,
      max_data_xfer_size: own.maxDataXferSize,
      ...(own.maxDmaMaps === DEFAULT_CAPABILITIES.maxDmaMaps
        ? {}
        : { max_dma_maps: own.maxDmaMaps }),
      pgsizes: Number(own.pgsizes),
      ...(own.migrationPgsize === null ? {} : { migration: { pgsize: own.migrationPgsize } }),
      ...(own.twinSocket
        ? {
          twin_socket: {
            supported: true,
            ...(own.twinSocketFdIndex === null ? {} : { fd_index: own.twinSocketFdIndex }),
          },
        }
        : {}),
      ...(own.writeMultiple ? { write_multiple: true } : {}),
      ...(own.vfiokit === null ? {} : { vfiokit: own.vfiokit }),
    },
  };
  const text = new TextEncoder().encode(`${JSON.stringify(json)}\0`);
  const bytes = new Uint8Array(new ArrayBuffer(vfioUserVersion.size + text.length));
  vfioUserVersion.pack({ major, minor }, bytes);
  bytes.set(text, vfioUserVersion.size);
  return bytes;
}

/**
 * Reads the payload of a VFIO_USER_VERSION. Unknown capabilities are left alone.
 *
 * @throws {WireError} If it is too short or too long, its JSON is none or does not end in a NUL, or
 * a capability is of the wrong type or out of range.
 *
 * @example
 * ```ts
 * import { DEFAULT_CAPABILITIES, packVersion, unpackVersion } from "./capabilities.ts";
 * import assert from "node:assert/strict";
 *
 * const version = { major: 0, minor: 1, capabilities: { ...DEFAULT_CAPABILITIES, maxMsgFds: 8 } };
 * assert.deepEqual(unpackVersion(packVersion(version)), version);
 * assert.throws(() => unpackVersion(new Uint8Array(2)), /2 bytes/);
 * ```
 */
export function unpackVersion(payload: Uint8Array): Version {
  const { size } = vfioUserVersion;
  if (payload.length < size || payload.length > VERSION_MAX) {
    throw malformed(
      `VFIO_USER_VERSION has ${payload.length} bytes, which is not from ${size} to ${VERSION_MAX}`,
    );
  }
  const { major, minor } = vfioUserVersion.unpack(payload);
  const text = payload.subarray(size);
  return {
    major,
    minor,
    capabilities: text.length === 0 ? DEFAULT_CAPABILITIES : parse(text),
  };
}

function parse(text: Uint8Array): Capabilities {
  if (text.indexOf(0) !== text.length - 1) {
    throw malformed("the JSON of VFIO_USER_VERSION does not end in its only NUL");
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text.subarray(0, -1)));
  } catch (error) {
    throw malformed(
      `the text of VFIO_USER_VERSION is no JSON: ${error instanceof Error ? error.message : error}`,
    );
  }
  const found = fieldsOf(fieldsOf(json, "the JSON")["capabilities"] ?? {}, "capabilities");
  const migration = fieldsOf(found["migration"] ?? {}, "migration");
  const twin = fieldsOf(found["twin_socket"] ?? {}, "twin_socket");
  const { maxMsgFds, maxDataXferSize, maxDmaMaps, pgsizes } = DEFAULT_CAPABILITIES;
  const twinSocket = flag(twin["supported"], "twin_socket.supported");
  return {
    maxMsgFds: count(found["max_msg_fds"], "max_msg_fds", 0) ?? maxMsgFds,
    maxDataXferSize: count(found["max_data_xfer_size"], "max_data_xfer_size", 1) ?? maxDataXferSize,
    maxDmaMaps: count(found["max_dma_maps"], "max_dma_maps", 1) ?? maxDmaMaps,
    pgsizes: BigInt(count(found["pgsizes"], "pgsizes", 1) ?? pgsizes),
    migrationPgsize: powerOfTwo(migration["pgsize"], "migration.pgsize"),
    twinSocket,
    twinSocketFdIndex: count(twin["fd_index"], "twin_socket.fd_index", 0),
    writeMultiple: flag(found["write_multiple"], "write_multiple"),
    vfiokit: found["vfiokit"] === undefined
      ? null
      : parseExtension(fieldsOf(found["vfiokit"], "vfiokit")),
  };
}

function fieldsOf(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed(`${name} of VFIO_USER_VERSION is no object`);
  }
  return value as Readonly<Record<string, unknown>>;
}

function count(value: unknown, name: string, least: number): number | null {
  if (value === undefined) return null;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  throw malformed(`${name} of VFIO_USER_VERSION is no whole number from ${least} on`);
}

function powerOfTwo(value: unknown, name: string): number | null {
  const size = count(value, name, 1);
  if (size === null || Number.isInteger(Math.log2(size))) return size;
  throw malformed(`${name} of VFIO_USER_VERSION is ${size}, which is no power of two`);
}

function flag(value: unknown, name: string): boolean {
  if (value === undefined) return false;
  if (typeof value === "boolean") return value;
  throw malformed(`${name} of VFIO_USER_VERSION is neither true nor false`);
}
