/**
 * Messages that carry fds (SCM_RIGHTS) on Unix sockets: sendmsg(2) and recvmsg(2), whose struct
 * msghdr holds addresses.
 */

import { cleanly } from "../../base/cleanup.ts";
import { checkMaxFds, SCM_MAX_FD } from "../scm_rights.ts";
import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import type { Libc } from "./calls_with_errno.ts";
import { ERRNO } from "../errno_names.ts";
import { SysError } from "../sys_error.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
  type ReceivedMessage,
} from "../kernel.ts";

type Buffer = Uint8Array<ArrayBuffer>;

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** struct iovec. */
const iovec: StructCodec<{ iov_base: bigint; iov_len: bigint }> = struct("iovec", {
  iov_base: "u64",
  iov_len: "u64",
});

/** struct msghdr, as in glibc and the kernel on a system with 64-bit pointers. */
const msghdr: StructCodec<{
  msg_name: bigint;
  msg_namelen: number;
  msg_iov: bigint;
  msg_iovlen: bigint;
  msg_control: bigint;
  msg_controllen: bigint;
  msg_flags: number;
}> = struct("msghdr", {
  msg_name: "u64",
  msg_namelen: "u32",
  msg_iov: "u64",
  msg_iovlen: "u64",
  msg_control: "u64",
  msg_controllen: "u64",
  msg_flags: "u32",
});

/** struct cmsghdr. Its data follows; the next header begins at a multiple of 8. */
const cmsghdr: StructCodec<{ cmsg_len: bigint; cmsg_level: number; cmsg_type: number }> = struct(
  "cmsghdr",
  { cmsg_len: "u64", cmsg_level: "s32", cmsg_type: "s32" },
);

/** Two connected sockets: a message sent to one is received from the other. */
export function socketPair(libc: Libc, type: number = SOCK_SEQPACKET): [number, number] {
  const fds = new Int32Array(new ArrayBuffer(8));
  const result = libc.socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, new Uint8Array(fds.buffer));
  if (result < 0) throw new SysError("socketpair", -result);
  return [fds[0]!, fds[1]!];
}

/** Size of control data for so many fds. With more room the kernel would add another fd. */
function controlSize(fds: number): number {
  return cmsghdr.size + fds * 4;
}

const CONTROL_AT = iovec.size;
const MESSAGE_AT = CONTROL_AT + controlSize(SCM_MAX_FD);
const CONTROLLEN_AT = msghdr.offsetOf("msg_controllen");
const FLAGS_AT = msghdr.offsetOf("msg_flags");

/** Mapped memory for messages of up to `length` bytes: struct iovec, control data, message. */
export class MsghdrMemory implements Disposable {
  readonly #libc: Libc;
  readonly #memory: Mapping;
  /** struct msghdr. */
  readonly #header: Buffer;
  readonly #view: DataView;
  /** What struct iovec has as the message's length, in bytes. */
  #length = -1;

  constructor(kernel: Kernel, libc: Libc, length: number) {
    this.#libc = libc;
    this.#memory = kernel.mmap(MESSAGE_AT + length, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    const { address } = this.#memory;
    this.#header = msghdr.pack({
      msg_iov: address,
      msg_iovlen: 1n,
      msg_control: address + BigInt(CONTROL_AT),
    });
    this.#view = new DataView(this.#header.buffer);
  }

  /** Only what differs from the call before is written: every request of a client's comes here. */
  #prepare(length: number, control: number): void {
    if (length !== this.#length) {
      const iov_base = this.#memory.address + BigInt(MESSAGE_AT);
      this.#memory.write(0, iovec.pack({ iov_base, iov_len: BigInt(length) }));
      this.#length = length;
    }
    // The kernel changes only this and msg_flags, which it does not read.
    this.#view.setBigUint64(CONTROLLEN_AT, BigInt(control), true);
  }

  /**
   * Sends one message; never waits.
   *
   * @returns The bytes sent, or -errno.
   */
  send(socket: number, message: Buffer, fds: readonly number[]): number {
    const control = controlSize(fds.length);
    const rights = new Uint8Array(new ArrayBuffer(control));
    cmsghdr.pack({
      cmsg_len: BigInt(control),
      cmsg_level: SOL_SOCKET,
      cmsg_type: SCM_RIGHTS,
    }, rights);
    rights.set(new Uint8Array(Int32Array.from(fds).buffer), cmsghdr.size);
    this.#prepare(message.length, control);
    this.#memory.write(CONTROL_AT, rights);
    this.#memory.write(MESSAGE_AT, message);
    for (;;) {
      const result = this.#libc.sendmsg(socket, this.#header, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (result !== -ERRNO.EINTR) return result;
    }
  }

  /**
   * Receives one message; never waits. Its fds are close-on-exec.
   *
   * @returns The message, or -errno.
   */
  receive(socket: number, into: Buffer, maxFds: number): ReceivedMessage | number {
    const control = controlSize(maxFds);
    this.#prepare(into.length, control);
    let length: number;
    do {
      length = this.#libc.recvmsg(socket, this.#header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (length === -ERRNO.EINTR);
    if (length < 0) return length;
    const came = Number(this.#view.getBigUint64(CONTROLLEN_AT, true));
    const flags = this.#view.getUint32(FLAGS_AT, true);
    this.#memory.read(MESSAGE_AT, length === into.length ? into : into.subarray(0, length));
    return {
      length,
      fds: came === 0 ? [] : this.#fdsOf(Math.min(came, control)),
      truncated: (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
    };
  }

  #fdsOf(controlLength: number): number[] {
    const rights = new Uint8Array(new ArrayBuffer(controlLength));
    this.#memory.read(CONTROL_AT, rights);
    return fdsOf(rights);
  }

  /** Unmaps the memory. */
  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

/** Sends and receives fds over Unix sockets, by sendmsg and recvmsg. */
export class FdMessages {
  readonly #kernel: Kernel;
  readonly #libc: Libc;

  constructor(kernel: Kernel, libc: Libc) {
    this.#kernel = kernel;
    this.#libc = libc;
  }

  /** Sends one message; never waits. */
  send(socket: number, message: Buffer, fds: readonly number[]): void {
    // The kernel refuses them, before it reads the control data.
    if (fds.length > SCM_MAX_FD) throw new SysError("sendmsg", ERRNO.EINVAL, `fd ${socket}`);
    const result = cleanly(() => {
      using memory = new MsghdrMemory(this.#kernel, this.#libc, message.length);
      return memory.send(socket, message, fds);
    });
    if (result < 0) throw new SysError("sendmsg", -result, `fd ${socket}`);
  }

  /** Receives one message; never waits. Its fds are close-on-exec. */
  receive(socket: number, into: Buffer, maxFds: number): ReceivedMessage {
    checkMaxFds(maxFds);
    const result = cleanly(() => {
      using memory = new MsghdrMemory(this.#kernel, this.#libc, into.length);
      return memory.receive(socket, into, maxFds);
    });
    if (typeof result === "number") throw new SysError("recvmsg", -result, `fd ${socket}`);
    return result;
  }
}

/** All fds that the kernel installed. The caller must close each of them, so none is skipped. */
function fdsOf(control: Buffer): number[] {
  const view = new DataView(control.buffer);
  const fds: number[] = [];
  for (let at = 0; at + cmsghdr.size <= control.length;) {
    const { cmsg_len, cmsg_level, cmsg_type } = cmsghdr.unpack(control, at);
    const end = Math.min(at + Number(cmsg_len), control.length);
    if (cmsg_level === SOL_SOCKET && cmsg_type === SCM_RIGHTS) {
      for (let fd = at + cmsghdr.size; fd + 4 <= end; fd += 4) fds.push(view.getInt32(fd, true));
    }
    at = Math.max(at + cmsghdr.size, Math.ceil(end / 8) * 8);
  }
  return fds;
}
