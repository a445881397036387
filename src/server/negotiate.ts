/**
 * What a client and this server agree on: VFIO_USER_VERSION.
 */

import {
  type Capabilities,
  DEFAULT_CAPABILITIES,
  packVersion,
  unpackVersion,
} from "../vfio_user/wire/capabilities.ts";
import { VFIO_USER_MAJOR, VFIO_USER_MINOR } from "../vfio_user/wire/commands.ts";
import { type Extension, EXTENSION_VERSION } from "../vfio_user/wire/extension.ts";
import { MOST_MAPPINGS } from "./requests/dma.ts";
import { malformed } from "../vfio_user/wire/wire_error.ts";
import type { OpenDevice } from "./requests/open_device.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The most fds that are taken with one message. */
export const MOST_FDS = 16;
/** The most data that one message moves, in bytes. */
export const MOST_DATA: number = 1 << 20;

/** What was agreed. */
export interface Agreed {
  /** The most data that a message moves: what both sides can. */
  readonly mostData: number;
  /** Whether our commands go through a separate socket, whose fd goes with the reply. */
  readonly twinSocket: boolean;
  /** Whether vfiokit's extension is in force. */
  readonly extended: boolean;
  /** The reply's payload. */
  readonly reply: Bytes;
}

/**
 * Answers a client's VFIO_USER_VERSION.
 *
 * @throws {WireError} If it makes no sense, or is of another major version.
 */
export function negotiate(payload: Bytes, device: OpenDevice): Agreed {
  const { major, minor, capabilities } = unpackVersion(payload);
  if (major !== VFIO_USER_MAJOR) {
    throw malformed(`the client speaks version ${major}.${minor}, and this is version 0.1`);
  }
  const extended = capabilities.vfiokit?.version === EXTENSION_VERSION;
  const own: Capabilities = {
    ...DEFAULT_CAPABILITIES,
    maxMsgFds: MOST_FDS,
    maxDataXferSize: MOST_DATA,
    maxDmaMaps: MOST_MAPPINGS,
    migrationPgsize: 4096,
    twinSocket: capabilities.twinSocket,
    twinSocketFdIndex: capabilities.twinSocket ? 0 : null,
    writeMultiple: true,
    vfiokit: extended ? describe(device) : null,
  };
  return {
    mostData: Math.min(MOST_DATA, capabilities.maxDataXferSize),
    twinSocket: capabilities.twinSocket,
    extended,
    reply: packVersion({
      major: VFIO_USER_MAJOR,
      minor: Math.min(minor, VFIO_USER_MINOR),
      capabilities: own,
    }),
  };
}

/** What the extension says of a device. */
function describe({ vfio }: OpenDevice): Extension {
  const { bus, driver, mdevType } = vfio.identity();
  return {
    version: EXTENSION_VERSION,
    bus,
    ...(driver === null ? {} : { driver }),
    ...(mdevType === null ? {} : { mdevType }),
  };
}
