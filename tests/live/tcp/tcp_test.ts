// Connections over TCP: only peers that prove to be accepted ones get one.

import assert from "node:assert/strict";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Duplex } from "node:stream";
import * as tls from "node:tls";
import { before, describe, it } from "node:test";
import { formatTcpAddress, isLoopback, parseTcpAddress } from "../../../src/live/tcp/address.ts";
import { connectTcp } from "../../../src/live/tcp/connect.ts";
import { fingerprint, generateKeys, readIdentity } from "../../../src/live/tcp/keys.ts";
import { TcpListener } from "../../../src/live/tcp/listen.ts";
import { TcpError } from "../../../src/live/tcp/tcp_error.ts";
import { streamConnection } from "../../../src/live/connection/connection.ts";
import { assertHeldBack } from "../_behind.ts";

const MIB = 1 << 20;
const HERE = { host: "127.0.0.1", port: 0 };

const codeOf = (code: string) => (error: unknown): boolean =>
  error instanceof TcpError && error.code === code;

async function textOf(socket: Duplex): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}

/** What a socket that is not accepted comes to: the bytes it got, once it is closed. */
async function rejected(socket: Duplex): Promise<string> {
  let text = "";
  socket.on("data", (chunk) => text += chunk);
  socket.on("error", () => {});
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
    if (socket.closed) resolve();
  });
  return text;
}

describe("a TCP address", () => {
  it("is read and written in one form", () => {
    for (const text of ["tcp://host:1", "tcp://[fe80::1]:65535", "tcp://127.0.0.1:0"]) {
      assert.equal(formatTcpAddress(parseTcpAddress(text)), text);
    }
    const bad = [
      "",
      "host:1",
      "tcp://",
      "tcp://h",
      "tcp://h:",
      "tcp://h:65536",
      "tcp://::1:7",
      "tcp://[x]:7",
      "tcp://a b:x",
      "tcp://h:1/path",
      "tcp://u@h:1:2",
    ];
    for (const text of bad) assert.throws(() => parseTcpAddress(text), codeOf("bad-address"), text);
  });

  it("is loopback only if no name service has a say", () => {
    assert.ok(isLoopback("127.0.0.1") && isLoopback("127.1.2.3") && isLoopback("::1"));
    for (const host of ["localhost", "127.evil.example", "10.0.0.1", "::", "0.0.0.0"]) {
      assert.ok(!isLoopback(host), host);
    }
  });
});

describe("TLS between two sides", () => {
  type Keys = Awaited<ReturnType<typeof generateKeys>>;
  let server: Keys;
  let client: Keys;
  let stranger: Keys;
  before(async () => {
    [server, client, stranger] = await Promise.all([
      generateKeys(),
      generateKeys(),
      generateKeys(),
    ]);
  });

  it("connects accepted peers, with TLS 1.3, and carries bytes both ways", async () => {
    using listener = await TcpListener.listen(HERE, { ...server, peers: [client.certificate] });
    const [there, here] = await Promise.all([
      connectTcp(listener.address, { ...client, peers: [server.certificate] }),
      listener.accept(),
    ]);
    assert.equal((there as tls.TLSSocket).getProtocol(), "TLSv1.3");
    there.write("ping");
    assert.equal(`${(await once(here, "data"))[0]}`, "ping");
    here.end("pong");
    assert.equal(await textOf(there), "pong");
    there.destroy();
  });

  it("holds the connecting side back if nobody reads", async () => {
    using listener = await TcpListener.listen(HERE, { ...server, peers: [client.certificate] });
    const [there, here] = await Promise.all([
      connectTcp(listener.address, { ...client, peers: [server.certificate] }),
      listener.accept(),
    ]);
    const ends = [there, here].map((socket) => streamConnection("the other side", socket, socket));
    await assertHeldBack(ends[0]!, ends[1]!);
    for (const end of ends) end.close();
  });

  it("leaves nothing behind of what was read, in Deno", {
    skip: "Deno" in globalThis ? false : "Bun gives it back by itself",
  }, async () => {
    using listener = await TcpListener.listen(HERE, { ...server, peers: [client.certificate] });
    const [there, here] = await Promise.all([
      connectTcp(listener.address, { ...client, peers: [server.certificate] }),
      listener.accept(),
    ]);
    const ends = [there, here].map((socket) => streamConnection("the other side", socket, socket));
    const part = new Uint8Array(MIB);
    const parts = 64;
    const sending = (async (): Promise<void> => {
      for (let sent = 0; sent < parts; sent++) await ends[0]!.write(part);
    })();
    const before = process.memoryUsage().external;
    const into = new Uint8Array(MIB);
    let most = 0;
    for (let at = 0; at < parts * MIB;) {
      at += await ends[1]!.read(into);
      most = Math.max(most, process.memoryUsage().external - before);
    }
    await sending;
    for (const end of ends) end.close();
    // The collector would let 24 MiB and more wait.
    assert.ok(most < 16 * MIB, `${most} bytes were left behind`);
  });

  it("gives a stranger no connection: another key, none, an older TLS, no TLS", async () => {
    const refused: string[] = [];
    using listener = await TcpListener.listen(
      HERE,
      { ...server, peers: [client.certificate] },
      { onRefused: (_, why) => refused.push(why) },
    );
    let accepted = 0;
    const waiting = new AbortController();
    const accepting = listener.accept(waiting.signal).then(() => accepted++, () => {});
    const { port } = listener.address;
    const options = { host: HERE.host, port, servername: "vfiokit", ca: [server.certificate] };
    const strangers: readonly (() => Duplex)[] = [
      () => tls.connect({ ...options, key: stranger.key, cert: stranger.certificate }),
      () => tls.connect(options),
      () =>
        tls.connect({
          ...options,
          key: client.key,
          cert: client.certificate,
          maxVersion: "TLSv1.2",
        }),
      () =>
        net.connect(port, HERE.host, function (this: net.Socket): void {
          this.write("GET / HTTP/1.0\r\n\r\n");
        }),
    ];
    // A TLS alert, in plain, is all that a stranger may get.
    for (const connect of strangers) assert.ok((await rejected(connect())).length <= 7);
    waiting.abort();
    await accepting;
    assert.equal(accepted, 0);
    assert.ok(refused.length >= 2, refused.join("\n"));
  });

  it("does not connect to a listener that is not the named peer", async () => {
    using listener = await TcpListener.listen(HERE, { ...stranger, peers: [client.certificate] });
    await assert.rejects(
      connectTcp(listener.address, { ...client, peers: [server.certificate] }),
      codeOf("not-accepted"),
    );
  });

  it("does not connect to a certificate of another name", async () => {
    using listener = await TcpListener.listen(HERE, { ...server, peers: [client.certificate] });
    const identity = { ...client, peers: [server.certificate], peerName: "another" };
    await assert.rejects(connectTcp(listener.address, identity), codeOf("not-accepted"));
  });

  it("gives up on a listener that says nothing, at a signal or after its time", async () => {
    const mute = net.createServer(() => {});
    mute.listen(0, HERE.host);
    await once(mute, "listening");
    const { port } = mute.address() as net.AddressInfo;
    const identity = { ...client, peers: [server.certificate] };
    const at = { host: HERE.host, port };
    await assert.rejects(connectTcp(at, identity, { timeoutMs: 50 }), codeOf("timeout"));
    const abort = new AbortController();
    const connecting = connectTcp(at, identity, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await assert.rejects(connecting, /enough/);
    mute.close();
  });

  it("closes a peer that does not prove itself in time", async () => {
    using listener = await TcpListener.listen(
      HERE,
      { ...server, peers: [client.certificate] },
      { handshakeMs: 50 },
    );
    assert.equal(await rejected(net.connect(listener.address.port, HERE.host)), "");
  });
});

describe("plain TCP", () => {
  it("connects on this machine", async () => {
    using listener = await TcpListener.listen(HERE, null);
    const [there, here] = await Promise.all([
      connectTcp(listener.address, null),
      listener.accept(),
    ]);
    there.end("ping");
    assert.equal(await textOf(here), "ping");
    here.end();
  });

  it("is refused to and from other addresses, and by names", async () => {
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost"]) {
      await assert.rejects(connectTcp({ host, port: 9 }, null), codeOf("bad-address"));
      await assert.rejects(
        TcpListener.listen({ host, port: 0 }, null),
        /in plain: it is not a loopback address/,
      );
    }
  });

  it("says that nobody listens, and that an address is in use", async () => {
    const listener = await TcpListener.listen(HERE, null);
    await assert.rejects(TcpListener.listen(listener.address, null), codeOf("in-use"));
    listener[Symbol.dispose]();
    await assert.rejects(connectTcp(listener.address, null), codeOf("unreachable"));
  });
});

describe("the files of an identity", () => {
  it("are read if they are what they should be, and the key is its owner's", async () => {
    const folder = fs.mkdtempSync(join(os.tmpdir(), "vfiokit-keys-"));
    try {
      const [key, certificate] = [join(folder, "key"), join(folder, "certificate")];
      const made = await generateKeys();
      fs.writeFileSync(key, made.key, { mode: 0o600 });
      fs.writeFileSync(certificate, made.certificate);
      const files = { key, certificate, peers: [certificate] };
      const identity = readIdentity(files);
      assert.equal(identity.key, made.key);
      assert.equal(fingerprint(identity.peers[0]!), fingerprint(made.certificate));
      const bad = [
        { ...files, peers: [] },
        { ...files, key: join(folder, "none") },
        { ...files, key: certificate },
        { ...files, certificate: key },
        { ...files, peers: [key] },
        { ...files, peers: [folder] },
      ];
      for (const each of bad) assert.throws(() => readIdentity(each), codeOf("bad-key"));
      fs.chmodSync(key, 0o640);
      assert.throws(() => readIdentity(files), /mode 640/);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
});
