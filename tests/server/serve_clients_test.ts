/** The server's loop, on this thread: what its clients send is there before it begins. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import type { Acceptor, Arrival, ServerEvent } from "../../src/server/acceptor.ts";
import { DeviceSource } from "../../src/server/requests/open_device.ts";
import { serveClients } from "../../src/server/serve_clients.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_INTX_IRQ_INDEX,
} from "../../src/uapi/mod.ts";
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_SET_IRQS,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_VERSION,
} from "../../src/vfio_user/wire/commands.ts";
import { packHeader } from "../../src/vfio_user/wire/header.ts";
import { vfioUserDeviceInfo } from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";
import { doorbell } from "../sim/_doorbell.ts";
import { Client, closeFds } from "./_client.ts";
import { openEventfd, readEventfd } from "./_eventfd.ts";
import { dataRead, dmaMap, regionWrite, setIrqs, setState, versionPayload } from "./_requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A message as bytes. */
function message(command: number, payload: Bytes): Bytes {
  const header = new Uint8Array(16);
  const size = 16 + payload.length;
  packHeader({ id: 1, command, size, flags: 0, errno: 0 }, new DataView(header.buffer));
  return joined(header, payload);
}

const MIB = 1 << 20;
const VERSION = message(VFIO_USER_VERSION, versionPayload());
const INFO = message(VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({}));

/** Clients that are connected before the server begins, and send nothing more. */
class Queued implements Acceptor, Disposable {
  /** Always readable. */
  readonly socket: UnixSocket;
  readonly #other: UnixSocket;
  readonly #arrivals: Arrival[] = [];

  constructor() {
    [this.socket, this.#other] = UnixSocket.pair();
    this.#other.send(Uint8Array.of(1));
  }

  /** One more client, which has sent this; its end of the connection. */
  add(...sent: readonly Bytes[]): UnixSocket {
    const [ours, theirs] = UnixSocket.pair();
    const bytes = joined(...sent);
    assert.equal(ours.send(bytes), bytes.length);
    this.#arrivals.push({ socket: theirs, pid: this.#arrivals.length + 1 });
    return ours;
  }

  accept(): Arrival | "ended" {
    return this.#arrivals.shift() ?? "ended";
  }

  [Symbol.dispose](): void {
    this.socket.close();
    this.#other.close();
  }
}

/** Serves them, and waits for none of them in a message; what happened. */
function serve(acceptor: Queued): ServerEvent[] {
  const events: ServerEvent[] = [];
  using source = new DeviceSource("sim:mlx5?size=8MiB&doorbell=1", false);
  const [stop, other] = UnixSocket.pair();
  using _stop = stop;
  using _other = other;
  serveClients({
    source,
    acceptor,
    most: 1,
    stop,
    patienceMs: 0,
    report: (event) => events.push(event),
  });
  return events;
}

describe("a client that stalls", () => {
  const stalls: readonly (readonly [where: string, sent: readonly Bytes[]])[] = [
    ["in a header", [VERSION, INFO.subarray(0, 7)]],
    ["in a payload", [VERSION, INFO.subarray(0, 20)]],
    ["in its first message", [VERSION.subarray(0, 20)]],
    ["with the reply to a DMA", [
      VERSION,
      message(VFIO_USER_DMA_MAP, dmaMap(0n, 0x1000n)),
      message(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0n, 1, 1))),
    ]],
  ];
  for (const [where, sent] of stalls) {
    it(`is dropped, and the next one is served: ${where}`, () => {
      using acceptor = new Queued();
      using stalled = acceptor.add(...sent);
      using next = acceptor.add(VERSION, INFO);
      next.shutdownOutput();
      assert.deepEqual(serve(acceptor), [
        { type: "client", pid: 1 },
        { type: "gone", why: "the client stalled in a message" },
        { type: "client", pid: 2 },
        { type: "gone", why: null },
      ]);
      const client = Client.over(stalled);
      let last = null;
      for (let each = client.next(); each !== null; each = client.next()) last = each;
      // It got what it had asked for before that, and the connection was closed.
      const waited = where === "with the reply to a DMA" ? VFIO_USER_DMA_WRITE : VFIO_USER_VERSION;
      assert.equal(last?.header.command, where === "in its first message" ? undefined : waited);
      const commands = [0, 1].map(() => Client.over(next).next()?.header);
      assert.deepEqual(
        commands.map((header) => [header?.command, header?.flags]),
        [VFIO_USER_VERSION, VFIO_USER_DEVICE_GET_INFO].map((command) => [
          command,
          VFIO_USER_F_TYPE_REPLY,
        ]),
      );
    });
  }

  it("is dropped, and the next one is served: with what it is sent", () => {
    using acceptor = new Queued();
    const reads = Array.from({ length: 9 }, () => message(VFIO_USER_MIG_DATA_READ, dataRead(MIB)));
    const precopy = message(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY));
    // More than a socket's buffers take.
    using _stalled = acceptor.add(VERSION, precopy, ...reads);
    using next = acceptor.add(VERSION);
    next.shutdownOutput();
    assert.deepEqual(serve(acceptor).map((event) => "why" in event ? event.why : event.pid), [
      ...[1, "the client stalled in a message"],
      ...[2, null],
    ]);
  });
});

describe("a client's eventfd", () => {
  it("unmasks INTx once it is signalled", () => {
    using acceptor = new Queued();
    const [interrupt, unmask] = [openEventfd(), openEventfd()];
    using socket = acceptor.add(VERSION);
    const client = Client.over(socket);
    const setEventfd = (action: number, fd: number): void => {
      const payload = setIrqs(VFIO_IRQ_SET_DATA_EVENTFD | action, VFIO_PCI_INTX_IRQ_INDEX, 1);
      client.send(VFIO_USER_DEVICE_SET_IRQS, payload, [fd]);
    };
    setEventfd(VFIO_IRQ_SET_ACTION_TRIGGER, interrupt);
    // INTx is masked as it is signalled, and pending until it is acknowledged.
    client.send(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0n, 0, 0)));
    setEventfd(VFIO_IRQ_SET_ACTION_UNMASK, unmask);
    socket.shutdownOutput();
    // It counts as signalled by then already: the server sees it once it waits for it.
    libcKernel().write(unmask, Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0));
    assert.deepEqual(serve(acceptor).at(-1), { type: "gone", why: null });
    const replies = [client.next(), client.next(), client.next(), client.next()];
    assert.ok(replies.every((reply) => reply?.header.errno === 0));
    assert.throws(() => readEventfd(unmask), { code: "EAGAIN" });
    assert.equal(readEventfd(interrupt), 2);
    closeFds([interrupt, unmask]);
  });
});
