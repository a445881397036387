/**
 * Commands of ours to a client: DMA_READ and DMA_WRITE, for memory that it sent no fd of.
 */

import { SysError } from "../kernel/sys_error.ts";
import { ERRNO } from "../kernel/errno_names.ts";
import { VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE } from "../vfio_user/wire/commands.ts";
import { errnoOf, HEADER_SIZE, isReply, type MessageHeader } from "../vfio_user/wire/header.ts";
import type { MessageSocket } from "../vfio_user/wire/message_socket.ts";
import { vfioUserDmaRegionAccess } from "../vfio_user/wire/structs.ts";
import { malformed } from "../vfio_user/wire/wire_error.ts";
import type { DmaMessages } from "./requests/client_memory.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const ACCESS = vfioUserDmaRegionAccess.size;

/** Receives the header of the reply to one of our commands. */
export type ReceiveReply = (maxSize: number) => MessageHeader;

const NONE: Bytes = new Uint8Array(0);

/** The commands, through the client's own socket or a twin. */
export class ClientCommands implements DmaMessages {
  readonly most: number;
  readonly #socket: MessageSocket;
  readonly #receive: ReceiveReply;
  #id = 0;

  /** @param receive Receives from that socket, and keeps what else comes there. */
  constructor(socket: MessageSocket, receive: ReceiveReply, most: number) {
    this.#socket = socket;
    this.#receive = receive;
    this.most = most;
  }

  read(address: bigint, into: Bytes): void {
    this.#ask(VFIO_USER_DMA_READ, address, NONE, into);
  }

  write(address: bigint, from: Bytes): void {
    this.#ask(VFIO_USER_DMA_WRITE, address, from, NONE);
  }

  /** Sends `from`, or fills `into`: one of them is empty. */
  #ask(command: number, addr: bigint, from: Bytes, into: Bytes): void {
    const count = from.length + into.length;
    this.#id = this.#id + 1 & 0xffff;
    const id = this.#id;
    const access = vfioUserDmaRegionAccess.pack({ addr, count: BigInt(count) });
    this.#socket.send(
      { id, command, flags: 0, errno: 0 },
      from.length === 0 ? [access] : [access, from],
    );
    const header = this.#receive(HEADER_SIZE + ACCESS + into.length);
    if (!isReply(header) || header.id !== id || header.command !== command) {
      throw malformed(`the client answered command ${command} with id ${id} by another message`);
    }
    const errno = errnoOf(header);
    if (errno !== 0) throw new SysError("vfio-user DMA", errno, `0x${addr.toString(16)}`);
    if (header.size !== HEADER_SIZE + ACCESS + into.length) {
      throw malformed(`the client answered a DMA of ${count} bytes with ${header.size} bytes`);
    }
    const reply = new Uint8Array(ACCESS);
    this.#socket.receive(reply);
    this.#socket.receive(into);
    if (vfioUserDmaRegionAccess.unpack(reply).count !== BigInt(count)) {
      throw new SysError("vfio-user DMA", ERRNO.EFAULT, `0x${addr.toString(16)}`);
    }
  }
}
