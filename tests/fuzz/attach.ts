/**
 * The owner of a device that says what it likes to vfiokit over the attach socket, and hands over
 * fds of any kind. What it sends may be refused; whatever it is, nothing of it stays open.
 */

import * as fs from "node:fs";
import { O_RDONLY, O_RDWR } from "../../src/kernel/kernel.ts";
import { MFD_ALLOW_SEALING, sealSize } from "../../src/kernel/libc/seals.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { MappedDevice, type ProtectedMemory, WriteProtectionError } from "../../src/dirty/mod.ts";
import { demandWriteProtection } from "../../src/dirty/protection/written_pages.ts";
import {
  AttachedOwner,
  type Attachment,
  LiveError,
  type OwnersDevice,
} from "../../src/live/mod.ts";
import { Server } from "../../src/server/mod.ts";
import { IOVA_END } from "../../src/vfio/dma/iova.ts";
import { UnsupportedError } from "../../src/vfio/mod.ts";
import { closeFds } from "../server/_client.ts";
import { type Change, change, makeChange } from "./_byte_changes.ts";
import { checkError } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";
import { checkNoneLeft, nowOpen } from "./_left_open.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Kinds of fds. */
const KINDS_OF_FDS = [
  ...["device", "memory", "short", "read-only", "sealed", "socket"] as const,
  ...["folder", "zero", "null", "file", "pagemap"] as const,
] as const;
type FdKind = (typeof KINDS_OF_FDS)[number];

/** Puts a value in the place of a field of a message; without one, the field is not there. */
interface Edit {
  readonly path: readonly (string | number)[];
  readonly value?: unknown;
}

/** A message of the owner's: a good one, with changes. */
interface Said {
  readonly edits: readonly Edit[];
  readonly changes: readonly Change[];
  /** How often it is said. */
  readonly times: number;
}

/** What an owner does. */
interface AttachPlan {
  /** The fds that come with its first bytes, and with the next ones. */
  readonly fds: readonly FdKind[];
  readonly later: readonly FdKind[];
  /** How many bytes come first. */
  readonly first: number;
  readonly attach: Said;
  /** What it answers when it is asked to be quiet, what it has written, and to throttle. */
  readonly answers: readonly Said[];
}

const MEMORY = 0x10000;
/** How long an owner may take to answer, in milliseconds: all is there before it is waited for. */
const TIMEOUT_MS = 60_000;

const ATTACH = {
  type: "attach",
  version: 1,
  device: 0,
  group: null,
  container: null,
  iommufd: null,
  ioas: null,
  memory: [
    { iova: "0x100000", size: "0x8000", fd: 1, offset: 0 },
    { iova: "0x200000", size: "0x8000", fd: 1, offset: 32768 },
  ],
  dirty: true,
  pagemap: null,
  mapped: [
    { iova: "0x100000", size: "0x8000", address: "0x100000" },
    { iova: "0x200000", size: "0x8000", address: "0x200000" },
  ],
  throttle: true,
};

const ANSWERS = [
  { type: "quiesced" },
  { type: "dirty", ranges: [{ iova: "0x100000", size: "0x10" }] },
  { type: "throttled", slower: true },
] as const;

const PLACES: readonly (readonly (string | number)[])[] = [
  ...Object.keys(ATTACH).map((key) => [key]),
  ...["iova", "size", "fd", "offset"].map((key) => ["memory", 0, key]),
  ...["iova", "size", "fd", "offset"].map((key) => ["memory", 1, key]),
  ...["iova", "size", "address"].map((key) => ["mapped", 0, key]),
];
const ANSWER_PLACES = [["type"], ["ranges"], ["ranges", 0, "iova"], ["ranges", 0, "size"], [
  "slower",
]] as const;

const ADDRESSES = [
  ...["0x0", "0x1", "0x800", "0x1000", "0x8000", "0x7000", "0x108000", "0x100000", "0x1ff000"],
  ...["0x7fffffffffffffff", "0x8000000000000000", "0xfffffffffffff000", "0xffffffffffffffff"],
  ...["0x10000000000000000", "0x20000000000000", "0x", "1048576", "-0x1", "0X10"],
];
const NUMBERS = [0, 1, 2, 3, 63, 64, 4096, 65536, 2 ** 31, 2 ** 53 - 4096, 2 ** 53, 1e300, -1, 0.5];
const OTHERS = [null, true, false, "", "attach", "\u001b[2J", "\u202e", [], {}, [[]], [null]];

function makeEdit(random: Random, places: readonly (readonly (string | number)[])[]): Edit {
  const path = random.pick(places);
  if (random.chance(0.1)) return { path };
  if (path[0] === "memory" && path.length === 1 && random.chance(0.5)) {
    const count = random.pick([0, 1, 3, 64, 1024, 1025]);
    return { path, value: Array.from({ length: count }, () => ({ ...ATTACH.memory[0] })) };
  }
  return {
    path,
    value: random.pick([ADDRESSES, NUMBERS, OTHERS].map((list) => random.pick(list))),
  };
}

function makeSaid(random: Random, places: readonly (readonly (string | number)[])[]): Said {
  const many = (most: number): number => random.chance(0.4) ? 0 : random.few(1, most);
  return {
    edits: Array.from({ length: many(4) }, () => makeEdit(random, places)),
    changes: random.chance(0.8) ? [] : Array.from({ length: many(3) }, () => makeChange(random)),
    times: random.chance(0.9) ? 1 : random.pick([0, 2, 500]),
  };
}

/** The bytes of a message, with its line's end. */
function bytesOf(good: object, { edits, changes, times }: Said): Bytes {
  const message = structuredClone(good) as Record<string, unknown>;
  for (const { path, value } of edits) {
    let at: unknown = message;
    for (const key of path.slice(0, -1)) at = (at as Record<string | number, unknown>)?.[key];
    if (typeof at === "object" && at !== null) {
      (at as Record<string | number, unknown>)[path.at(-1)!] = value;
    }
  }
  let bytes = new TextEncoder().encode(`${JSON.stringify(message)}\n`.repeat(times));
  for (const one of changes) bytes = change(bytes, one);
  return bytes;
}

/** The device that owners have, which outlives the tries. */
let lent: Promise<{ readonly server: Server; readonly channel: number }> | null = null;

/** Opens an fd of a kind; what else it needs is pushed to `opened`. */
function openFd(kind: FdKind, channel: number, opened: number[]): number {
  const kernel = libcKernel();
  const open = (fd: number): number => {
    opened.push(fd);
    return fd;
  };
  switch (kind) {
    case "device":
      return channel;
    case "memory":
      return open(kernel.memfd("fuzz", MEMORY));
    case "short":
      return open(kernel.memfd("fuzz", 4096));
    case "read-only":
      return open(kernel.open(`/proc/self/fd/${open(kernel.memfd("fuzz", MEMORY))}`, O_RDONLY));
    case "sealed": {
      const fd = open(kernel.memfd("fuzz", MEMORY, MFD_ALLOW_SEALING));
      sealSize(fd);
      return fd;
    }
    case "socket": {
      const [one, other] = UnixSocket.pair();
      opened.push(one.fd, other.fd);
      return one.fd;
    }
    case "folder":
      return open(kernel.open("/proc/self", O_RDONLY));
    case "zero":
      return open(kernel.open("/dev/zero", O_RDWR));
    case "null":
      return open(kernel.open("/dev/null", O_RDWR));
    case "file":
      return open(kernel.open("/proc/self/comm", O_RDWR));
    case "pagemap":
      return open(kernel.open("/proc/self/pagemap", O_RDONLY));
  }
}

/** Says something; what there is no room for is not said. */
function say(socket: UnixSocket, bytes: Bytes, fds: readonly number[] = []): void {
  const parts = bytes.length === 0 ? [] : [bytes.subarray(0, 65536), bytes.subarray(65536)];
  for (const [index, part] of parts.entries()) {
    if (part.length === 0) continue;
    if (index > 0 || fds.length === 0) socket.send(part);
    else socket.sendWithFds(part.slice(), fds);
  }
}

function checkAttachment({ device, protectedMemory }: Attachment, sent: number): OwnersDevice {
  const found = device!;
  if (protectedMemory !== null) checkProtection(protectedMemory, found);
  const { mappings, group, container, iommufd } = found;
  if (mappings.length > 1024) throw new Find("bound", `${mappings.length} ranges`);
  const fds = new Set([found.device, group, container, iommufd, ...mappings.map(({ fd }) => fd!)]);
  fds.delete(null);
  if (fds.size > sent) throw new Find("fds", `${fds.size} fds of ${sent} that were sent`);
  for (const fd of fds) fs.readlinkSync(`/proc/self/fd/${fd}`);
  for (const { iova, size, offset } of mappings) {
    const good = size > 0n && iova >= 0n && iova + size <= IOVA_END && Number.isSafeInteger(offset);
    if (!good) throw new Find("bound", `a range of ${size} bytes at ${iova}, from ${offset}`);
  }
  return found;
}

/** Asks what was written to memory that is said to be protected, and nowhere is. */
function checkProtection(memory: ProtectedMemory, { mappings }: OwnersDevice): void {
  if (memory.ranges.length > 1024) throw new Find("bound", `${memory.ranges.length} ranges`);
  for (const { iova, size, address } of memory.ranges) {
    const good = size > 0n && iova + size <= IOVA_END && address + size <= IOVA_END;
    if (!good) throw new Find("bound", `a range of ${size} bytes at ${iova}, from ${address}`);
  }
  try {
    demandWriteProtection(libcKernel(), memory, mappings);
    throw new Find("accepted", "memory that is not protected");
  } catch (error) {
    checkError(error, [WriteProtectionError, UnsupportedError], "looking for writes");
  }
}

/** Opens the device that was handed over, and reads its memory. */
function open({ device, group, container, iommufd, ioas, mappings }: OwnersDevice): void {
  try {
    using opened = MappedDevice.open(`fd:${device}`, {
      groupFd: group ?? undefined,
      containerFd: container ?? undefined,
      iommufdFd: iommufd ?? undefined,
      ioasId: ioas ?? undefined,
      mappings,
    });
    // Memory behind a file's end would end the process.
    const byte = new Uint8Array(1);
    for (const { iova, size } of mappings) {
      opened.contents.read(iova, byte);
      opened.contents.read(iova + size - 1n, byte);
    }
  } catch (error) {
    checkError(error, [], "opening it");
  }
}

/** Asks an owner what it answers. */
async function ask(owner: AttachedOwner): Promise<void> {
  await owner.quiesce();
  const ranges = await owner.dirty();
  if (
    ranges.length > 1024 || ranges.some(({ iova, size }) => size <= 0n || iova + size > IOVA_END)
  ) {
    throw new Find("bound", `${ranges.length} ranges`);
  }
  if (typeof await owner.throttle() !== "boolean") throw new Find("bound", "no answer");
  await owner.resume();
}

/** The attack by an owner. */
export const attach: Kind<AttachPlan> = {
  name: "attach",
  make(random): AttachPlan {
    const some = (most: number): FdKind[] =>
      Array.from({ length: random.few(0, most) }, () => random.pick(KINDS_OF_FDS));
    return {
      fds: random.chance(0.7)
        ? ["device", "memory", ...some(3)]
        : random.chance(0.8)
        ? some(4)
        : Array.from({ length: random.pick([64, 65, 200, 253]) }, () => "null" as const),
      later: random.chance(0.8) ? [] : some(70),
      first: random.chance(0.7) ? 2 ** 20 : random.few(1, 300),
      attach: makeSaid(random, PLACES),
      answers: ANSWERS.map(() => makeSaid(random, ANSWER_PLACES)),
    };
  },
  *smaller(plan): Generator<AttachPlan> {
    for (const fds of without(plan.fds)) yield { ...plan, fds };
    for (const later of without(plan.later)) yield { ...plan, later };
    for (const edits of without(plan.attach.edits)) {
      yield { ...plan, attach: { ...plan.attach, edits } };
    }
    for (const changes of without(plan.attach.changes)) {
      yield { ...plan, attach: { ...plan.attach, changes } };
    }
    for (const [index, answer] of plan.answers.entries()) {
      if (answer.edits.length + answer.changes.length === 0 && answer.times === 1) continue;
      yield { ...plan, answers: plan.answers.with(index, { edits: [], changes: [], times: 1 }) };
    }
    if (plan.attach.times > 1) yield { ...plan, attach: { ...plan.attach, times: 1 } };
    if (plan.first < 2 ** 20) yield { ...plan, first: 2 ** 20 };
  },
  async run(plan): Promise<void> {
    lent ??= Server.lend("sim:mlx5?size=4KiB");
    const { channel } = await lent;
    const before = nowOpen();
    const opened: number[] = [];
    const [ours, theirs] = UnixSocket.pair();
    try {
      using _ = theirs;
      const fdsOf = (kinds: readonly FdKind[]): number[] =>
        kinds.map((kind) => openFd(kind, channel, opened));
      const bytes = bytesOf(ATTACH, plan.attach);
      say(theirs, bytes.slice(0, plan.first), fdsOf(plan.fds));
      say(theirs, bytes.slice(plan.first), fdsOf(plan.later));
      const sent = plan.fds.length + plan.later.length;
      for (const [index, one] of plan.answers.entries()) say(theirs, bytesOf(ANSWERS[index]!, one));
      // What is not there by now never comes.
      theirs.shutdownOutput();
      using owner = await AttachedOwner.over(ours.fd, {
        purpose: "migrate",
        timeoutMs: TIMEOUT_MS,
      });
      open(checkAttachment(await owner.attached(), sent));
      await ask(owner);
    } catch (error) {
      checkError(error, [LiveError], "attaching");
    } finally {
      closeFds(opened);
    }
    await checkNoneLeft(before);
  },
  async end(): Promise<void> {
    const ending = lent;
    lent = null;
    if (ending === null) return;
    const { server, channel } = await ending;
    await server.stop();
    libcKernel().close(channel);
  },
};
