/**
 * Messages that carry fds (SCM_RIGHTS) on a pair of Unix sockets: sendmsg(2)
 * and recvmsg(2), whose struct msghdr holds addresses.
 */

import { cleanly } from "../../base/cleanup.ts";
import { checkMaxFds } from "../scm_rights.ts";
import { struct } from "../../uapi/codec.ts";
import type { StructCodec } from "../../uapi/struct_types.ts";
import type { Libc } from "./calls_with_errno.ts";
import { ERRNO } from "../errno_names.ts";
import { SysError } from "../sys_error.ts";
import {
  type Kernel,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
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
export function socketPair(libc: Libc): [number, number] {
  const fds = new Int32Array(new ArrayBuffer(8));
  const type = SOCK_SEQPACKET | SOCK_CLOEXEC;
  const result = libc.socketpair(AF_UNIX, type, 0, new Uint8Array(fds.buffer));
  if (result < 0) throw new SysError("socketpair", -result);
  return [fds[0]!, fds[1]!];
}

/** Maps memory for one message: struct iovec, control data, message. */
function withMessage<T>(
  kernel: Kernel,
  length: number,
  control: number,
  use: (memory: ReturnType<Kernel["mmap"]>, header: Buffer, controlAt: number) => T,
): T {
  const controlAt = iovec.size;
  const messageAt = controlAt + control;
  return cleanly(() => {
    using memory = kernel.mmap(messageAt + length, {
      prot: PROT_READ | PROT_WRITE,
      flags: MAP_PRIVATE | MAP_ANONYMOUS,
    });
    const { address } = memory;
    memory.write(
      0,
      iovec.pack({ iov_base: address + BigInt(messageAt), iov_len: BigInt(length) }),
    );
    const header = msghdr.pack({
      msg_iov: address,
      msg_iovlen: 1n,
      msg_control: address + BigInt(controlAt),
      msg_controllen: BigInt(control),
    });
    return use(memory, header, controlAt);
  });
}

/** Size of control data for so many fds. With more room the kernel would add another fd. */
function controlSize(fds: number): number {
  return cmsghdr.size + fds * 4;
}

/** Sends one message; never waits. */
export function sendMessage(
  kernel: Kernel,
  libc: Libc,
  socket: number,
  message: Buffer,
  fds: readonly number[],
): void {
  const control = controlSize(fds.length);
  withMessage(kernel, message.length, control, (memory, header, controlAt) => {
    const rights = new Uint8Array(new ArrayBuffer(control));
    cmsghdr.pack({
      cmsg_len: BigInt(control),
      cmsg_level: SOL_SOCKET,
      cmsg_type: SCM_RIGHTS,
    }, rights);
    rights.set(new Uint8Array(Int32Array.from(fds).buffer), cmsghdr.size);
    memory.write(controlAt, rights);
    memory.write(controlAt + control, message);
    for (;;) {
      const result = libc.sendmsg(socket, header, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (result >= 0) return;
      if (result !== -ERRNO.EINTR) throw new SysError("sendmsg", -result, `fd ${socket}`);
    }
  });
}

/** Receives one message; never waits. Its fds are close-on-exec. */
export function receiveMessage(
  kernel: Kernel,
  libc: Libc,
  socket: number,
  into: Buffer,
  maxFds: number,
): ReceivedMessage {
  checkMaxFds(maxFds);
  const control = controlSize(maxFds);
  return withMessage(kernel, into.length, control, (memory, header, controlAt) => {
    let length: number;
    for (;;) {
      length = libc.recvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (length >= 0) break;
      if (length !== -ERRNO.EINTR) throw new SysError("recvmsg", -length, `fd ${socket}`);
    }
    const { msg_controllen, msg_flags } = msghdr.unpack(header);
    const rights = new Uint8Array(new ArrayBuffer(Math.min(Number(msg_controllen), control)));
    memory.read(controlAt, rights);
    memory.read(controlAt + control, into.subarray(0, length));
    return {
      length,
      fds: fdsOf(rights),
      truncated: (msg_flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0,
    };
  });
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
