/**
 * A server whose replies are written before they are asked for. The client's requests have the ids
 * 0, 1, …, so a script is a list of messages, and nothing has to run beside the client.
 */

import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import {
  type Capabilities,
  DEFAULT_CAPABILITIES,
  packVersion,
} from "../../src/vfio_user/wire/capabilities.ts";
import {
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_VERSION,
} from "../../src/vfio_user/wire/commands.ts";
import { HEADER_SIZE, type MessageHeader, packHeader } from "../../src/vfio_user/wire/header.ts";
import { joined } from "../_joined.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A message as bytes, and the fds with it. */
export interface Scripted {
  readonly bytes: Bytes;
  readonly fds?: readonly number[];
}

/** Puts a message together; the size is that of the payload unless it is given. */
export function message(
  header: Omit<MessageHeader, "size"> & { readonly size?: number },
  payload: Uint8Array = new Uint8Array(0),
  fds: readonly number[] = [],
): Scripted {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  packHeader({ size: bytes.length, ...header }, new DataView(bytes.buffer));
  bytes.set(payload, HEADER_SIZE);
  return { bytes, fds };
}

/** The reply to request number `id`. */
export function reply(
  id: number,
  command: number,
  payload?: Uint8Array,
  fds?: readonly number[],
): Scripted {
  return message({ id, command, flags: VFIO_USER_F_TYPE_REPLY, errno: 0 }, payload, fds);
}

/** The reply to request number `id`, which failed. */
export function refusal(id: number, command: number, errno: number): Scripted {
  const flags = VFIO_USER_F_TYPE_REPLY | VFIO_USER_F_ERROR;
  return message({ id, command, flags, errno });
}

/** A command of the server's. */
export function command(id: number, command: number, payload: Uint8Array): Scripted {
  return message({ id, command, flags: VFIO_USER_F_TYPE_COMMAND, errno: 0 }, payload);
}

/** The reply to VFIO_USER_VERSION. */
export function version(capabilities: Partial<Capabilities> = {}): Scripted {
  const own = { ...DEFAULT_CAPABILITIES, ...capabilities };
  return reply(0, VFIO_USER_VERSION, packVersion({ major: 0, minor: 1, capabilities: own }));
}

/** A scripted server. */
export class ScriptedServer implements Disposable {
  readonly #client: UnixSocket;
  readonly #server: UnixSocket;

  /** Queues the messages. Then, unless `stays`, it sends nothing more: it is gone. */
  constructor(script: readonly Scripted[], stays: "stays" | "ends" = "ends") {
    [this.#client, this.#server] = UnixSocket.pair();
    this.#server.enlargeBuffer();
    for (const one of script) this.send(one);
    if (stays === "ends") this.#server.shutdownOutput();
  }

  /** Gives the client's end of the connection to the client. */
  get connect(): () => number {
    return () => this.#client.fd;
  }

  /** Sends another message. */
  send({ bytes, fds = [] }: Scripted): void {
    const sent = fds.length > 0 ? this.#server.sendWithFds(bytes, fds) : this.#server.send(bytes);
    if (sent !== bytes.length) throw new Error(`no room for a message of ${bytes.length} bytes`);
  }

  /** What the client sent until now, and the fds with it, which the caller closes. */
  received(): { readonly bytes: Bytes; readonly fds: readonly number[] } {
    const parts: Bytes[] = [];
    const fds: number[] = [];
    for (;;) {
      const into = new Uint8Array(65536);
      const got = this.#server.receiveWithFds(into, 16);
      if (got === null || got.length === 0) break;
      parts.push(into.slice(0, got.length));
      fds.push(...got.fds);
    }
    return { bytes: joined(...parts), fds };
  }

  /** The messages that the client sent until now, without their fds. */
  requests(): { readonly command: number; readonly payload: Bytes }[] {
    const { bytes, fds } = this.received();
    for (const fd of fds) libcKernel().close(fd);
    const view = new DataView(bytes.buffer);
    const all = [];
    for (let at = 0; at < bytes.length;) {
      const size = view.getUint32(at + 4, true);
      all.push({
        command: view.getUint16(at + 2, true),
        payload: bytes.slice(at + HEADER_SIZE, at + size),
      });
      at += size;
    }
    return all;
  }

  /** Closes the server's end. */
  [Symbol.dispose](): void {
    this.#server.close();
  }
}
