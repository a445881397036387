/**
 * A client of our vfio-user server that sends what it likes. The server may refuse a request or drop
 * the client; it must end with a documented error or with none, and leave nothing of it open.
 */

import { VfiokitError } from "../../src/base/vfiokit_error.ts";
import { POLLIN } from "../../src/kernel/kernel.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { ClientConnection } from "../../src/server/connection.ts";
import { DeviceSource } from "../../src/server/requests/open_device.ts";
import { DEFAULT_CAPABILITIES, packVersion } from "../../src/vfio_user/wire/capabilities.ts";
import { VFIO_USER_DEVICE_SET_IRQS } from "../../src/vfio_user/wire/commands.ts";
import { HEADER_SIZE, packHeader } from "../../src/vfio_user/wire/header.ts";
import { WireError } from "../../src/vfio_user/wire/wire_error.ts";
import {
  dataRead,
  dataWrite,
  dmaMap,
  GET_STATE,
  regionInfo,
  regionRead,
  regionWrite,
  setIrqs,
  setState,
} from "../server/_requests.ts";
import { closeFds } from "../server/_client.ts";
import { openEventfd } from "../server/_eventfd.ts";
import { doorbell } from "../sim/_doorbell.ts";
import { Find, type Kind, without } from "./_kind.ts";
import { nowOpen } from "./_left_open.ts";
import type { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A message; with `cut`, only its first bytes are sent, and the connection ends. */
interface PlannedMessage {
  readonly command: number;
  readonly payload: readonly number[];
  readonly flags: number;
  readonly fds: number;
  readonly size: number | null;
  readonly cut: number | null;
}

/** What a client sends to which device. */
export interface ClientPlan {
  readonly device: string;
  readonly messages: readonly PlannedMessage[];
}

const DEVICES = ["mlx5", "mapped", "trapped", "ice", "qat", "pds", "none"] as const;
const STATES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
const NOTHING: Bytes = new Uint8Array(0);

/** A request that could be right. */
function likely(random: Random): readonly [command: number, payload: () => Bytes] {
  const region = random.pick([0, 2, 7, 8, 9, 10]);
  const length = random.few(0, 4096);
  return random.pick<readonly [number, () => Bytes]>([
    [2, () => dmaMap(BigInt(random.below(8)) << 12n, BigInt(random.below(4)) << 12n)],
    [3, () => dmaMap(0n, BigInt(random.below(8)) << 12n).slice(0, 24)],
    [4, () => dmaMap(0n, 0n).slice(0, 16)],
    [5, () => regionInfo(region, random.pick([32, 80, 4096]))],
    [7, () => regionInfo(random.below(6)).slice(0, 16)],
    [
      8,
      () =>
        setIrqs(
          random.pick([0x24, 0x21, 0x22, 0xc, 0x9, 0x11, 0x12]),
          random.below(5),
          random.below(3),
        ),
    ],
    [9, () => regionRead(region, random.below(64), length)],
    [10, () => regionWrite(region, random.below(64), random.bytes(length))],
    [10, () => regionWrite(2, 0, doorbell(BigInt(random.below(1 << 15)), length, 1))],
    [13, () => NOTHING],
    [15, () => random.bytes(8 + 24 * random.below(3))],
    [16, () => GET_STATE],
    [16, () => setState(random.pick(STATES))],
    [16, () => random.bytes(random.few(8, 64))],
    [17, () => dataRead(random.few(0, 100_000))],
    [18, () => dataWrite(random.bytes(length))],
    [0x8001, () => random.bytes(24)],
    [random.u32() & 0xffff, () => random.bytes(random.few(0, 100))],
  ]);
}

function makeMessage(random: Random): PlannedMessage {
  const [command, make] = likely(random);
  const payload = make().slice();
  if (payload.length >= 4 && random.chance(0.3)) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    view.setUint32(random.below(payload.length >> 2) * 4, random.edge() >>> 0, true);
  }
  const bytes = random.chance(0.05)
    ? payload.subarray(0, random.below(payload.length + 1))
    : payload;
  return {
    command,
    payload: [...bytes],
    flags: random.chance(0.95) ? random.pick([0, 0, 0, 0x10]) : random.u32(),
    fds: random.chance(command === VFIO_USER_DEVICE_SET_IRQS ? 0.8 : 0.3) ? random.below(3) : 0,
    size: random.chance(0.02) ? random.edge() : null,
    cut: random.chance(0.02) ? random.below(40) : null,
  };
}

function makeVersion(random: Random): PlannedMessage {
  const vfiokit = random.chance(0.7) ? { version: 1 } : null;
  const twinSocket = random.chance(0.3);
  const capabilities = { ...DEFAULT_CAPABILITIES, vfiokit, twinSocket };
  const payload = packVersion({ major: 0, minor: 1, capabilities });
  if (random.chance(0.1)) payload[random.below(payload.length)] = random.u32();
  return { command: 1, payload: [...payload], flags: 0, fds: 0, size: null, cut: null };
}

/** INTx by an eventfd, unmasked by another one: of random requests hardly any two fit so. */
const INTX: readonly PlannedMessage[] = [0x24, 0x14].map((flags) => ({
  command: VFIO_USER_DEVICE_SET_IRQS,
  payload: [...setIrqs(flags, 0, 1)],
  ...{ flags: 0, fds: 1, size: null, cut: null },
}));

/** Sends a message as it was planned; returns whether all of it went. */
function send(client: UnixSocket, message: PlannedMessage, id: number): boolean {
  const { command, payload, flags, size, cut } = message;
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const header = { id, command, size: size ?? bytes.length, flags, errno: 0 };
  packHeader(header, new DataView(bytes.buffer));
  bytes.set(payload, HEADER_SIZE);
  const part = cut === null ? bytes : bytes.subarray(0, cut);
  const fds = Array.from({ length: message.fds }, () => newFd(command, id));
  try {
    if (part.length > 0) client.sendWithFds(part, fds);
  } finally {
    closeFds(fds);
  }
  return cut === null;
}

/** What goes with a message: an eventfd where that is mostly expected, which may be signalled. */
function newFd(command: number, id: number): number {
  const kernel = libcKernel();
  if (command !== VFIO_USER_DEVICE_SET_IRQS || id % 5 === 0) return kernel.memfd("fuzz", 1 << 14);
  const eventfd = openEventfd();
  if (id % 2 === 0) kernel.write(eventfd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  return eventfd;
}

/** Takes what the server sent, so that it has room for more. */
function drain(client: UnixSocket): void {
  const into = new Uint8Array(1 << 16);
  for (let count = client.receive(into); count !== null && count > 0;) count = client.receive(into);
}

/** Talks to the server until it drops the client, or all is said. */
function talk(
  client: UnixSocket,
  connection: ClientConnection,
  messages: readonly PlannedMessage[],
): void {
  for (const [id, message] of messages.entries()) {
    const whole = send(client, message, id);
    if (!whole) client.close();
    if (!connection.turn() || !whole) return;
    for (const eventfd of connection.eventfds) connection.signalled(eventfd);
    drain(client);
  }
}

function run({ device, messages }: ClientPlan): void {
  const before = nowOpen();
  const source = new DeviceSource(device, false);
  const open = source.take();
  const [client, server] = UnixSocket.pair();
  // Nothing more comes while this thread waits.
  const connection = new ClientConnection(server, open, ({ socket, events }) => {
    const [ready] = UnixSocket.wait([{ socket, events }], 0);
    if (ready === 0) throw new WireError("timeout", `no more comes (${events === POLLIN})`);
  });
  try {
    try {
      talk(client, connection, messages);
    } finally {
      connection[Symbol.dispose]();
      source.release();
      client.close();
    }
  } catch (error) {
    if (!(error instanceof VfiokitError)) {
      throw new Find("documented-error", `the server fails with ${error}`, { cause: error });
    }
  }
  const left = open.sim?.openObjects ?? [];
  if (left.length > 0) throw new Find("leak", `the device's kernel has ${left.join(", ")}`);
  // Files of other tries, on other threads, may have been closed meanwhile.
  const leaked = [...nowOpen()].filter((each) => !before.has(each));
  if (leaked.length > 0) throw new Find("leak", `left open: ${leaked.slice(0, 4).join(", ")}`);
}

/** The attack on the server. */
export const client: Kind<ClientPlan> = {
  name: "client",
  make(random: Random): ClientPlan {
    const device = `sim:${random.pick(DEVICES)}?size=16KiB&doorbell=1`;
    const count = random.few(1, 40);
    const first = random.chance(0.95) ? [makeVersion(random)] : [];
    return {
      device,
      messages: [
        ...first,
        ...random.chance(0.2) ? INTX : [],
        ...Array.from({ length: count }, () => makeMessage(random)),
      ],
    };
  },
  async run(plan: ClientPlan): Promise<void> {
    await Promise.resolve();
    run(plan);
  },
  *smaller(plan: ClientPlan): Generator<ClientPlan> {
    for (const messages of without(plan.messages)) yield { ...plan, messages };
  },
};
