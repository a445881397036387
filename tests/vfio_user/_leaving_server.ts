/**
 * A server on this thread's event loop, for clients in other processes: it answers until a request
 * that it leaves, or stalls, at.
 */

import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import {
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_MIGRATION_STOP_COPY,
  vfioDeviceFeature,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from "../../src/uapi/mod.ts";
import * as wire from "../../src/vfio_user/wire/commands.ts";
import { HEADER_SIZE } from "../../src/vfio_user/wire/header.ts";
import { vfioUserDeviceInfo } from "../../src/vfio_user/wire/structs.ts";
import { refusal, reply, type Scripted, version } from "./_scripted_server.ts";

const EINVAL = 22;

/** What a device that is in RUNNING answers; null to a step of the state. */
function answer(id: number, command: number, payload: Uint8Array): Scripted | null {
  if (command === wire.VFIO_USER_VERSION) return version();
  if (command === wire.VFIO_USER_DEVICE_GET_INFO) {
    return reply(id, command, vfioUserDeviceInfo.pack({ flags: VFIO_DEVICE_FLAGS_RESET }));
  }
  if (command !== wire.VFIO_USER_DEVICE_FEATURE) return refusal(id, command, EINVAL);
  const view = new DataView(payload.buffer, payload.byteOffset);
  const flags = view.getUint32(4, true);
  if ((flags & VFIO_DEVICE_FEATURE_SET) !== 0) return null;
  const data = (flags & VFIO_DEVICE_FEATURE_MASK) === VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
    ? vfioDeviceFeatureMigState.pack({ device_state: VFIO_DEVICE_STATE_RUNNING })
    : vfioDeviceFeatureMigration.pack({ flags: BigInt(VFIO_MIGRATION_STOP_COPY) });
  return reply(id, command, vfioDeviceFeature.pack({ flags, data }));
}

/**
 * Serves one client at a path until it asks for a step of the state. Then it stops listening, and
 * closes the connection, or sends a part of a reply and no more.
 */
export class LeavingServer implements Disposable {
  readonly #listening: UnixSocket;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #stalls: boolean;
  #client: UnixSocket | null = null;

  constructor(path: string, how: "leaves" | "stalls") {
    this.#stalls = how === "stalls";
    this.#listening = UnixSocket.listen(path, 1);
    this.#timer = setInterval(() => this.#look(), 1);
  }

  #look(): void {
    this.#client ??= this.#listening.accept();
    const bytes = new Uint8Array(4096);
    // A client waits for each reply, so there is one request at a time, and it is small.
    const length = this.#client?.receive(bytes) ?? null;
    if (length === null) return;
    const view = new DataView(bytes.buffer);
    const [id, command] = [view.getUint16(0, true), view.getUint16(2, true)];
    const answered = length === 0 ? null : answer(id, command, bytes.subarray(HEADER_SIZE, length));
    if (answered !== null) {
      this.#client?.send(answered.bytes);
    } else if (this.#stalls) {
      const begun = reply(id, command, bytes.subarray(HEADER_SIZE, length));
      this.#client?.send(begun.bytes.subarray(0, begun.bytes.length - 1));
      this.#stopListening();
    } else {
      this[Symbol.dispose]();
    }
  }

  #stopListening(): void {
    clearInterval(this.#timer);
    this.#listening.close();
  }

  [Symbol.dispose](): void {
    this.#stopListening();
    this.#client?.close();
  }
}
