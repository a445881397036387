import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { Server, type ServerEvent, SocketFileError } from "../../src/server/mod.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
} from "../../src/uapi/mod.ts";
import {
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_DEVICE_GET_INFO,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_DMA_MAP,
  VFIO_USER_DMA_READ,
  VFIO_USER_DMA_WRITE,
  VFIO_USER_F_NO_REPLY,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_VERSION,
} from "../../src/vfio_user/wire/commands.ts";
import { packHeader } from "../../src/vfio_user/wire/header.ts";
import {
  vfioUserDeviceInfo,
  vfioUserDmaRegionAccess,
  vfioUserMigData,
} from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";
import { until } from "../_until.ts";
import { Client, closeFds } from "./_client.ts";
import {
  dataRead,
  dmaMap,
  GET_STATE,
  regionRead,
  regionWrite,
  setState,
  stateOf,
  versionPayload,
} from "./_requests.ts";
import { doorbell } from "../sim/_doorbell.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const EXTENSION = { vfiokit: { version: 1 } };
const NOTHING: Bytes = new Uint8Array(0);

let folder = "";
let socketPath = "";
let events: ServerEvent[] = [];

function serve(name: string): Promise<Server> {
  return Server.listen(name, socketPath, { onEvent: (event) => events.push(event) });
}

/** The state of the device, as a new client sees it. */
function seenState(): number {
  using client = Client.connect(socketPath);
  client.version(EXTENSION);
  return stateOf(client.demand(VFIO_USER_DEVICE_FEATURE, GET_STATE)).device_state;
}

describe("a server", () => {
  beforeEach(() => {
    folder = fs.mkdtempSync("/tmp/vfiokit-server-");
    socketPath = path.join(folder, "device.sock");
    events = [];
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  it("makes its socket for its user alone, and removes it at the end", async () => {
    const server = await serve("sim:mlx5?size=1MiB");
    assert.equal(fs.statSync(socketPath).mode & 0o777, 0o600);
    await server.stop();
    await server.ended;
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  it("replaces the socket of a server that was killed, and nothing else", async () => {
    UnixSocket.listen(socketPath, 1).close();
    assert.ok(fs.lstatSync(socketPath).isSocket());
    {
      await using _server = await serve("sim:mlx5?size=1MiB");
      const isCode = (code: string) => (error: unknown) =>
        error instanceof SocketFileError && error.code === code;
      await assert.rejects(serve("sim:mlx5?size=1MiB"), isCode("in-use"));
      assert.equal(seenState(), VFIO_DEVICE_STATE_RUNNING);
      fs.writeFileSync(path.join(folder, "file"), "text");
      await assert.rejects(
        Server.listen("sim:mlx5", path.join(folder, "file")),
        isCode("no-socket"),
      );
      await assert.rejects(
        Server.listen("sim:mlx5", path.join(folder, "a", "b")),
        isCode("failed"),
      );
    }
    assert.deepEqual(fs.readdirSync(folder), ["file"]);
  });

  it("leaves nothing behind if the device cannot be opened", async () => {
    await assert.rejects(serve("sim:mlx5?size=1"), { name: "SimSpecError" });
    await assert.rejects(serve("sim:mlx5?fault=device-info:EIO"), { name: "OpenError" });
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  it("serves clients one after the other, each a device that was just opened", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB");
    const first = Client.connect(socketPath);
    first.version(EXTENSION);
    first.demand(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP));
    // The next one is connected, and waits.
    using second = Client.connect(socketPath);
    const waiting = second.send(VFIO_USER_VERSION, versionPayload());
    assert.equal(
      stateOf(first.demand(VFIO_USER_DEVICE_FEATURE, GET_STATE)).device_state,
      VFIO_DEVICE_STATE_STOP,
    );
    first[Symbol.dispose]();
    assert.equal(second.next()?.header.id, waiting);
    assert.equal(
      stateOf(second.demand(VFIO_USER_DEVICE_FEATURE, GET_STATE)).device_state,
      VFIO_DEVICE_STATE_RUNNING,
    );
  });

  it("takes commands that want no reply", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB");
    using client = Client.connect(socketPath);
    client.version();
    const header = { id: 9, command: VFIO_USER_REGION_WRITE, errno: 0 };
    const payload = regionWrite(7, 4, Uint8Array.of(6));
    client.messages.send({ ...header, flags: VFIO_USER_F_NO_REPLY }, [payload]);
    const reply = client.demand(VFIO_USER_REGION_READ, regionRead(7, 4, 1));
    assert.equal(reply[16], 6);
  });

  it("reaches memory without an fd by the twin socket", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB&doorbell=1");
    using client = Client.connect(socketPath);
    const { twinSocketFdIndex, fds } = client.version({ twinSocket: true });
    assert.equal(twinSocketFdIndex, 0);
    assert.equal(fds.length, 1);
    using twin = Client.over(UnixSocket.adopt(fds[0]!));
    client.demand(VFIO_USER_DMA_MAP, dmaMap(0n, 0x1000n));
    const id = client.send(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0x10n, 3, 5)));
    const write = twin.next()!;
    assert.equal(write.header.command, VFIO_USER_DMA_WRITE);
    assert.deepEqual(vfioUserDmaRegionAccess.unpack(write.payload), { addr: 0x10n, count: 3n });
    assert.deepEqual([...write.payload.subarray(16)], [5, 6, 7]);
    twin.messages.send({ ...write.header, flags: VFIO_USER_F_TYPE_REPLY }, [
      write.payload.subarray(0, 16),
    ]);
    assert.equal(client.next()?.header.id, id);
  });

  it("reaches memory without an fd by the client's socket, among its requests", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB&doorbell=1");
    using client = Client.connect(socketPath);
    client.version();
    client.demand(VFIO_USER_DMA_MAP, dmaMap(0n, 0x1000n));
    const ring = client.send(VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0x10n, 1, 5)));
    const read = client.send(VFIO_USER_REGION_READ, regionRead(2, 20, 4));
    const write = client.next()!;
    assert.equal(write.header.command, VFIO_USER_DMA_WRITE);
    client.messages.send({ ...write.header, flags: VFIO_USER_F_TYPE_REPLY }, [
      write.payload.subarray(0, 16),
    ]);
    assert.equal(client.next()?.header.id, ring);
    const answer = client.next()!;
    assert.equal(answer.header.id, read);
    assert.equal(answer.payload[16], 1);
  });

  it("serves the next client, wherever in its messages one is killed", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB&doorbell=1");
    const messages = recorded();
    for (const [count, cut] of messages.flatMap((_, n) => [[n, 0], [n, 7], [n, 20]] as const)) {
      const client = Client.connect(socketPath);
      for (const [command, payload, fd] of messages.slice(0, count)) {
        const fds = fd === undefined ? [] : [libcKernel().memfd("guest", 1 << 16)];
        closeFds(client.ask(command, payload, fds).fds);
        closeFds(fds);
      }
      const [command, payload] = messages[count]!;
      const header = new Uint8Array(16);
      const size = 16 + payload.length;
      packHeader({ id: 1, command, size, flags: 0, errno: 0 }, new DataView(header.buffer));
      client.messages.socket.send(joined(header, payload).subarray(0, cut));
      client[Symbol.dispose]();
    }
    assert.equal(seenState(), VFIO_DEVICE_STATE_RUNNING);
  });

  it("drops a client that breaks the protocol, and serves the next one", async () => {
    const server = await serve("sim:mlx5?size=1MiB");
    const header = (fields: Partial<Parameters<typeof packHeader>[0]>): Bytes => {
      const bytes = new Uint8Array(16);
      const whole = { id: 1, command: VFIO_USER_DEVICE_RESET, size: 16, flags: 0, errno: 0 };
      packHeader({ ...whole, ...fields }, new DataView(bytes.buffer));
      return bytes;
    };
    const broken: readonly [after: boolean, bytes: Bytes, why: RegExp][] = [
      [false, header({}), /before VFIO_USER_VERSION/],
      [true, header({ size: 15 }), /15/],
      [true, header({ size: 2 ** 31 }), /2147483648/],
      [true, header({ flags: 2 }), /type/],
      [true, header({ flags: VFIO_USER_F_TYPE_REPLY }), /reply/],
      [true, joined(header({ command: 1, size: 16 + 4 }), new Uint8Array(4)), /again/],
      [false, joined(header({ command: 1, size: 20 }), Uint8Array.of(1, 0, 0, 0)), /version 1/],
      [false, joined(header({ command: 1, size: 21 }), Uint8Array.of(0, 0, 1, 0, 65)), /NUL/],
    ];
    for (const [after, bytes, why] of broken) {
      using client = Client.connect(socketPath);
      if (after) client.version();
      client.messages.socket.send(bytes);
      assert.ok(client.dropped(), String(why));
    }
    assert.equal(seenState(), VFIO_DEVICE_STATE_RUNNING);
    await server.stop();
    const reasons = events.flatMap((event) => event.type === "gone" && event.why ? event.why : []);
    assert.deepEqual(reasons.length, broken.length);
    broken.forEach(([, , why], index) => assert.match(reasons[index]!, why));
  });

  it("closes fds that no message takes", async () => {
    await using _server = await serve("sim:mlx5?size=1MiB");
    const [read, write] = UnixSocket.pair();
    {
      using client = Client.connect(socketPath);
      client.version();
      client.demand(VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({}), [write.fd]);
      write.close();
      // The server's copy was the last one.
      assert.ok(Client.over(read).dropped());
    }
    read.close();
  });

  it("ends while a client is connected, and in the middle of a message", async () => {
    const server = await serve("sim:mlx5?size=1MiB");
    using client = Client.connect(socketPath);
    client.version();
    client.messages.socket.send(new Uint8Array(5));
    await server.stop();
    assert.ok(client.dropped());
  });

  it("replays the trace of a server to each client that does the same", async () => {
    const { Trace } = await import("../../src/trace/mod.ts");
    const trace = path.join(folder, "trace");
    const answers = (): Bytes[] => {
      using client = Client.connect(socketPath);
      client.version(EXTENSION);
      return [
        client.demand(VFIO_USER_DEVICE_FEATURE, GET_STATE),
        client.demand(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY)),
        client.demand(VFIO_USER_MIG_DATA_READ, dataRead(5000)),
        client.demand(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_RUNNING)),
      ];
    };
    let recorded: Bytes[];
    {
      using recording = Trace.create(trace, { data: true });
      await using _server = await Server.listen("sim:mlx5?size=64KiB", socketPath, {
        trace: recording,
      });
      recorded = answers();
    }
    const server = await serve(`replay:${trace}`);
    for (let time = 0; time < 2; time += 1) assert.deepEqual(answers(), recorded);
    await until(() => events.length === 4, "two clients, gone");
    await server.stop();
    assert.deepEqual(events.flatMap((event) => event.type === "gone" ? event.why : []), [
      null,
      null,
    ]);
  });

  it("ends without a client, whatever the trace holds", async () => {
    const { Trace } = await import("../../src/trace/mod.ts");
    const { openDevice } = await import("../../mod.ts");
    const trace = path.join(folder, "trace");
    {
      using recording = Trace.create(trace);
      await using device = await openDevice("sim:mlx5?size=64KiB", { trace: recording });
      await device.state();
    }
    const server = await serve(`replay:${trace}`);
    await server.stop();
    assert.deepEqual(events, []);
  });

  it("drops a client at the call that leaves the trace", async () => {
    const { Trace } = await import("../../src/trace/mod.ts");
    const { openDevice } = await import("../../mod.ts");
    const trace = path.join(folder, "trace");
    {
      using recording = Trace.create(trace);
      await using device = await openDevice("sim:mlx5?size=1MiB", { trace: recording });
      await device.state();
    }
    const server = await serve(`replay:${trace}`);
    for (let time = 0; time < 2; time += 1) {
      using client = Client.connect(socketPath);
      client.version(EXTENSION);
      // Not what was recorded next: the connection ends, not the server.
      client.send(VFIO_USER_DEVICE_RESET, NOTHING);
      assert.ok(client.dropped());
    }
    await server.stop();
    const reasons = events.flatMap((event) => event.type === "gone" ? event.why : []);
    assert.equal(reasons.length, 2);
    for (const why of reasons) assert.match(why ?? "", /leaves the trace at call/);
  });
});

describe("a lent device", () => {
  it("keeps its state from one client to the next, and takes several at a time", async () => {
    const { server, channel } = await Server.lend("sim:mlx5?size=1MiB");
    const come = (): Client => {
      const [ours, theirs] = UnixSocket.pair();
      libcKernel().sendFds(channel, new Uint8Array(1), [theirs.fd]);
      theirs.close();
      return Client.over(ours);
    };
    const first = come();
    first.version(EXTENSION);
    first.demand(VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY));
    first.demand(VFIO_USER_MIG_DATA_READ, dataRead(1000));
    using second = come();
    second.version(EXTENSION);
    first[Symbol.dispose]();
    const state = stateOf(second.demand(VFIO_USER_DEVICE_FEATURE, GET_STATE));
    assert.equal(state.device_state, VFIO_DEVICE_STATE_PRE_COPY);
    const data = second.demand(VFIO_USER_MIG_DATA_READ, dataRead(1000));
    assert.equal(vfioUserMigData.unpack(data).size, 1000);
    libcKernel().close(channel);
    await server.stop();
    assert.ok(second.dropped());
  });

  it("goes on with the data that was read ahead for a client that is gone", async () => {
    const { server, channel } = await Server.lend("sim:mlx5?size=1MiB");
    const read = (size: number, ...states: readonly number[]): Bytes => {
      const [ours, theirs] = UnixSocket.pair();
      libcKernel().sendFds(channel, new Uint8Array(1), [theirs.fd]);
      theirs.close();
      using client = Client.over(ours);
      client.version(EXTENSION);
      for (const state of states) client.demand(VFIO_USER_DEVICE_FEATURE, setState(state));
      return client.demand(VFIO_USER_MIG_DATA_READ, dataRead(size)).slice(8);
    };
    const parts = [read(1000, VFIO_DEVICE_STATE_STOP_COPY), read(600), read(400)];
    const again = read(2000, VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_STOP_COPY);
    assert.deepEqual(joined(...parts), again);
    libcKernel().close(channel);
    await server.stop();
  });

  it("lets go of the memory of a client that is gone, which the device writes to", async () => {
    const { server, channel } = await Server.lend("sim:mlx5?size=4KiB&dma=random:1000000/s");
    for (let turn = 0; turn < 2; turn++) {
      const [ours, theirs] = UnixSocket.pair();
      libcKernel().sendFds(channel, new Uint8Array(1), [theirs.fd]);
      theirs.close();
      using client = Client.over(ours);
      client.version();
      client.demand(VFIO_USER_DMA_MAP, dmaMap(0n, 0x1000n));
    }
    libcKernel().close(channel);
    await server.stop();
  });
});

/** A session of each kind of message. */
function recorded(): readonly (readonly [command: number, payload: Bytes, fd?: "fd"])[] {
  return [
    [VFIO_USER_VERSION, versionPayload()],
    [VFIO_USER_DEVICE_GET_INFO, vfioUserDeviceInfo.pack({})],
    [VFIO_USER_REGION_READ, regionRead(7, 0, 64)],
    [VFIO_USER_DMA_MAP, dmaMap(0n, 0x10000n), "fd"],
    [VFIO_USER_REGION_WRITE, regionWrite(2, 0, doorbell(0x10n, 3, 5))],
    [VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_PRE_COPY)],
    [VFIO_USER_MIG_DATA_READ, dataRead(4096)],
    [VFIO_USER_DEVICE_FEATURE, setState(VFIO_DEVICE_STATE_STOP)],
    [VFIO_USER_DMA_READ, vfioUserDmaRegionAccess.pack({ addr: 0n, count: 4n })],
    [VFIO_USER_DEVICE_RESET, NOTHING],
  ];
}
