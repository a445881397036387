import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import {
  DEFAULT_CAPABILITIES,
  packVersion,
  unpackVersion,
  type Version,
  VERSION_MAX,
} from "../../src/vfio_user/wire/capabilities.ts";
import {
  VFIO_USER_DMA_MAP,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_MIG_DATA_READ,
} from "../../src/vfio_user/wire/commands.ts";
import { errnoOf, HEADER_SIZE, packHeader, unpackHeader } from "../../src/vfio_user/wire/header.ts";
import { MessageSocket, waitUntil } from "../../src/vfio_user/wire/message_socket.ts";
import * as structs from "../../src/vfio_user/wire/structs.ts";
import { WireError, type WireErrorCode } from "../../src/vfio_user/wire/wire_error.ts";
import { joined } from "../_joined.ts";

const kernel = libcKernel();
const LIMITS = { maxSize: 1 << 21, maxFds: 2 };
const GIVE_UP_MS = 60_000;

function isWire(code: WireErrorCode, message?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof WireError, String(error));
    assert.equal(error.code, code);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  };
}

function headerBytes(fields: Partial<Parameters<typeof packHeader>[0]>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_SIZE);
  packHeader(
    { id: 1, command: 13, size: HEADER_SIZE, flags: 0, errno: 0, ...fields },
    new DataView(bytes.buffer),
  );
  return bytes;
}

describe("the structs of vfio-user", () => {
  it("have the sizes of vfio-user.h", () => {
    const sizes = Object.fromEntries(
      Object.values(structs).map(({ name, size }) => [name, size]),
    );
    assert.deepEqual(sizes, {
      vfio_user_version: 4,
      vfio_user_device_info: 16,
      vfio_user_dma_map: 32,
      vfio_user_dma_unmap: 24,
      vfio_user_region_access: 16,
      vfio_user_dma_region_access: 16,
      vfio_user_region_io_fds_request: 16,
      vfio_user_wr_multi: 8,
      vfio_user_device_feature: 8,
      vfio_user_device_feature_dma_logging_control: 16,
      vfio_user_device_feature_dma_logging_report: 24,
      vfio_user_mig_data: 8,
    });
  });
});

describe("a header", () => {
  const unpack = (fields: Parameters<typeof headerBytes>[0]) =>
    unpackHeader(new DataView(headerBytes(fields).buffer), 4096);

  it("is little-endian, in the order of vfio-user.h", () => {
    const bytes = headerBytes({ id: 0x102, command: 3, size: 0x405, flags: 0x21, errno: 22 });
    assert.equal(bytes.toHex(), "02010300050400002100000016000000");
  });

  it("is refused if its size or type cannot be true", () => {
    assert.throws(() => unpack({ size: 15 }), isWire("malformed", /15/));
    assert.throws(() => unpack({ size: 4097 }), isWire("malformed", /4097/));
    assert.throws(() => unpack({ flags: 2 }), isWire("malformed", /type/));
  });

  it("has an errno only if it reports an error, and EINVAL for none that can be one", () => {
    const error = VFIO_USER_F_TYPE_REPLY | VFIO_USER_F_ERROR;
    assert.equal(errnoOf(unpack({ flags: VFIO_USER_F_TYPE_REPLY, errno: 5 })), 0);
    assert.equal(errnoOf(unpack({ flags: error, errno: 5 })), 5);
    assert.equal(errnoOf(unpack({ flags: error, errno: 0 })), 22);
    assert.equal(errnoOf(unpack({ flags: error, errno: 0xffff_fff0 })), 22);
  });
});

describe("the version", () => {
  const json = (text: string): Uint8Array => {
    const bytes = new Uint8Array(4 + text.length);
    bytes[2] = 1;
    bytes.set(new TextEncoder().encode(text), 4);
    return bytes;
  };

  it("comes out as it went in", () => {
    const version: Version = {
      major: 0,
      minor: 1,
      capabilities: {
        maxMsgFds: 8,
        maxDataXferSize: 65536,
        maxDmaMaps: 100,
        pgsizes: 0x20_1000n,
        migrationPgsize: 65536,
        twinSocket: true,
        twinSocketFdIndex: 0,
        writeMultiple: true,
        vfiokit: { version: 1, bus: "mdev", driver: "nvidia-vgpu-vfio", mdevType: "nvidia-63" },
      },
    };
    assert.deepEqual(unpackVersion(packVersion(version)), version);
  });

  it("has defaults, without JSON and with unknown fields", () => {
    const { capabilities } = unpackVersion(json(""));
    assert.deepEqual(capabilities, DEFAULT_CAPABILITIES);
    assert.deepEqual(
      unpackVersion(json('{"capabilities":{"later":[1,{}]},"more":1}\0')).capabilities,
      DEFAULT_CAPABILITIES,
    );
  });

  it("is refused if it is cut, too long, no JSON, or of the wrong types", () => {
    const wrong = [
      "{}", // no NUL
      "{}\0{}\0",
      "\0",
      "[]\0",
      "null\0",
      '{"capabilities":7}\0',
      '{"capabilities":{"max_msg_fds":-1}}\0',
      '{"capabilities":{"max_msg_fds":1.5}}\0',
      '{"capabilities":{"max_data_xfer_size":0}}\0',
      '{"capabilities":{"max_data_xfer_size":"1"}}\0',
      '{"capabilities":{"pgsizes":1e300}}\0',
      '{"capabilities":{"migration":{"pgsize":3}}}\0',
      '{"capabilities":{"migration":[]}}\0',
      '{"capabilities":{"twin_socket":{"supported":1}}}\0',
      '{"capabilities":{"twin_socket":{"fd_index":-1}}}\0',
      '{"capabilities":{"write_multiple":null}}\0',
      '{"capabilities":{"vfiokit":{"version":1,"driver":"a/b"}}}\0',
      '{"capabilities":{"vfiokit":{"version":1,"bus":7}}}\0',
      `{"x":"${" ".repeat(VERSION_MAX)}"}\0`,
    ];
    for (const text of wrong) {
      assert.throws(() => unpackVersion(json(text)), isWire("malformed"), text.slice(0, 60));
    }
    assert.throws(() => unpackVersion(new Uint8Array(3)), isWire("malformed"));
    assert.throws(() => unpackVersion(new Uint8Array([0, 0, 1, 0, 0xff, 0])), isWire("malformed"));
  });
});

describe("a connection", () => {
  const open: MessageSocket[] = [];
  afterEach(() => {
    for (const each of open.splice(0)) each.close();
  });

  function connection(giveUpMs = GIVE_UP_MS): [MessageSocket, MessageSocket, UnixSocket] {
    const [one, other] = UnixSocket.pair();
    const wait = (ms: number) => waitUntil(() => begun + ms);
    const begun = performance.now();
    const pair = [
      new MessageSocket(one, wait(GIVE_UP_MS)),
      new MessageSocket(other, wait(giveUpMs)),
    ] as const;
    open.push(...pair);
    return [...pair, one];
  }

  /** How many fds there are of the memory that the tests send. */
  function fdsOpen(): number {
    return kernel.readDir("/proc/self/fd").filter((fd) => {
      try {
        return kernel.readLink(`/proc/self/fd/${fd}`).includes("memfd:sent");
      } catch {
        return false; // that of readDir() itself
      }
    }).length;
  }

  it("carries a message, its parts and its fds", () => {
    const [client, server] = connection();
    const memfd = kernel.memfd("sent", 4096);
    const before = fdsOpen();
    const head = { id: 9, command: VFIO_USER_DMA_MAP, flags: 0, errno: 0 };
    client.send(head, [new Uint8Array([1, 2]), new Uint8Array([3])], [memfd]);
    const { header, fds } = server.receiveHeader(LIMITS)!;
    assert.deepEqual(header, { ...head, size: HEADER_SIZE + 3 });
    const payload = new Uint8Array(3);
    server.receive(payload);
    assert.deepEqual([...payload], [1, 2, 3]);
    assert.equal(fds.length, 1);
    assert.match(kernel.readLink(`/proc/self/fd/${fds[0]}`), /sent/);
    kernel.close(fds[0]!);
    assert.equal(fdsOpen(), before);
    kernel.close(memfd);
  });

  it("carries a payload that is larger than what the kernel buffers", () => {
    const [client, server] = connection();
    const data = new Uint8Array(3 << 19);
    for (let at = 0; at < data.length; at += 4096) data[at] = at >> 12;
    // Nobody reads while it is sent, so what waits has to read.
    const received = new Uint8Array(data.length + 8);
    let got = 0;
    const sender = new MessageSocket(client.socket, () => {
      got += server.socket.receive(received.subarray(got)) ?? 0;
    });
    const head = { id: 1, command: VFIO_USER_MIG_DATA_READ, flags: 0, errno: 0 };
    sender.send(head, [new Uint8Array(8).fill(7), data]);
    const rest = new Uint8Array(HEADER_SIZE + received.length - got);
    server.receive(rest);
    const all = new Uint8Array([...received.subarray(0, got), ...rest]);
    assert.equal(new DataView(all.buffer).getUint32(4, true), HEADER_SIZE + 8 + data.length);
    assert.ok(all.subarray(HEADER_SIZE, HEADER_SIZE + 8).every((byte) => byte === 7));
    assert.deepEqual(all.subarray(HEADER_SIZE + 8), data);
  });

  it("carries large parts from any address, in their order", () => {
    const bytes = new Uint8Array(70_100);
    for (let at = 0; at < bytes.length; at++) bytes[at] = at * 7;
    const large = (from: number): Uint8Array => bytes.subarray(from, from + 70_000);
    for (let from = 0; from < 64; from += 7) {
      const [client, server, raw] = connection();
      raw.enlargeBuffer();
      // The third part would fit beside the header, and must not overtake the second.
      const parts = [bytes.subarray(0, 8), large(from), bytes.subarray(9, 20), large(from + 1)];
      client.send({ id: 1, command: VFIO_USER_MIG_DATA_READ, flags: 0, errno: 0 }, parts);
      const all = joined(...parts);
      const payload = new Uint8Array(all.length);
      const { header } = server.receiveHeader({ maxSize: 1 << 20, maxFds: 0 })!;
      assert.equal(header.size, HEADER_SIZE + all.length);
      server.receive(payload);
      assert.deepEqual(payload, all);
    }
  });

  it("takes a message that comes byte by byte", () => {
    const [, server, raw] = connection();
    const bytes = [...headerBytes({ size: HEADER_SIZE + 2 }), 5, 6];
    const slow = new MessageSocket(server.socket, () => {
      raw.send(new Uint8Array([bytes.shift()!]));
    });
    assert.equal(slow.receiveHeader(LIMITS)!.header.size, HEADER_SIZE + 2);
    const payload = new Uint8Array(2);
    slow.receive(payload);
    assert.deepEqual([...payload], [5, 6]);
  });

  it("ends between two messages, or inside one", () => {
    const cases: [sent: number, header: "end" | "error" | "whole"][] = [
      [0, "end"],
      [7, "error"],
      [HEADER_SIZE, "whole"],
      [HEADER_SIZE + 3, "whole"],
    ];
    for (const [sent, expected] of cases) {
      const [client, server, raw] = connection();
      const bytes = new Uint8Array(HEADER_SIZE + 8);
      bytes.set(headerBytes({ size: bytes.length }));
      if (sent > 0) raw.send(bytes.subarray(0, sent));
      client.close();
      if (expected === "end") assert.equal(server.receiveHeader(LIMITS), null);
      else if (expected === "error") {
        assert.throws(() => server.receiveHeader(LIMITS), isWire("closed", /7 bytes/));
      } else {
        assert.equal(server.receiveHeader(LIMITS)!.header.size, bytes.length);
        assert.throws(() => server.receive(new Uint8Array(8)), isWire("closed"));
      }
    }
  });

  it("does not send to an end that is closed", () => {
    const [client, server] = connection();
    server.close();
    const head = { id: 1, command: 13, flags: 0, errno: 0 };
    assert.throws(() => client.send(head, []), isWire("closed"));
  });

  it("gives up on an end that stalls", () => {
    const [, server, raw] = connection(0);
    assert.throws(() => server.receiveHeader(LIMITS), isWire("timeout"));
    raw.send(headerBytes({}).subarray(0, 9));
    assert.throws(() => server.receiveHeader(LIMITS), isWire("timeout"));
  });

  it("closes the fds of a message that is refused, or that has more than wanted", () => {
    const [, server, raw] = connection();
    const memfd = kernel.memfd("sent", 4096);
    // The first message with fds maps the memory for them.
    raw.sendWithFds(headerBytes({}), [memfd]);
    for (const fd of server.receiveHeader(LIMITS)!.fds) kernel.close(fd);
    const before = fdsOpen();
    raw.sendWithFds(headerBytes({}), [memfd, memfd, memfd]);
    assert.throws(() => server.receiveHeader(LIMITS), isWire("malformed", /2 fds/));
    raw.sendWithFds(headerBytes({ size: 3 }), [memfd, memfd]);
    assert.throws(() => server.receiveHeader(LIMITS), isWire("malformed", /size/));
    raw.sendWithFds(headerBytes({}), [memfd, memfd]);
    assert.deepEqual(server.receiveHeader({ ...LIMITS, maxFds: 0 })!.fds, []);
    assert.equal(fdsOpen(), before);
    kernel.close(memfd);
  });

  it("drops what is skipped", () => {
    const [client, server] = connection();
    const head = { id: 1, command: 9, flags: 0, errno: 0 };
    client.send(head, [new Uint8Array(1000)]);
    client.send({ ...head, id: 2 }, []);
    server.skip(server.receiveHeader(LIMITS)!.header.size - HEADER_SIZE);
    assert.equal(server.receiveHeader(LIMITS)!.header.id, 2);
  });
});

describe("a socket with a name", () => {
  it("connects a client to a server, and each knows the other's user", async () => {
    const fs = await import("node:fs");
    const os = await import("node:os");
    const path = await import("node:path");
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-"));
    try {
      const name = path.join(folder, "socket");
      assert.throws(() => UnixSocket.connect(name), { code: "ENOENT" });
      using listening = UnixSocket.listen(name, 1);
      assert.equal(listening.accept(), null);
      assert.throws(() => UnixSocket.listen(name, 1), { code: "EADDRINUSE" });
      using client = UnixSocket.connect(name);
      using server = listening.accept()!;
      const status = kernel.readText("/proc/self/status");
      const own = {
        pid: Number(/^Pid:\s+(\d+)/m.exec(status)![1]),
        uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)![1]),
        gid: Number(/^Gid:\s+\d+\s+(\d+)/m.exec(status)![1]),
      };
      assert.deepEqual([client.peer(), server.peer()], [own, own]);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });

  it("is refused if it is empty, too long, or has a NUL", () => {
    for (const name of ["", `/${"x".repeat(107)}`, "/tmp/a\0b"]) {
      assert.throws(() => UnixSocket.connect(name), { code: /ENAMETOOLONG|EINVAL/ });
    }
  });
});
