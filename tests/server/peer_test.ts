import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { listeningAcceptor } from "../../src/server/acceptor.ts";
import { Server, type ServerEvent } from "../../src/server/mod.ts";
import { until } from "../_until.ts";
import { asUser, cannotBe } from "./_as_user.ts";
import { Client } from "./_client.ts";

const NOBODY = 65534;
const OTHER = 65533;
const skip = cannotBe(NOBODY, OTHER);

describe("a peer of another user", () => {
  let folder = "";
  let socketPath = "";

  beforeEach(() => {
    folder = fs.mkdtempSync("/tmp/vfiokit-peer-");
    socketPath = path.join(folder, "device.sock");
    // What keeps others out is the socket alone.
    fs.chmodSync(folder, 0o777);
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  it("cannot connect to a server; one whose socket lets it is dropped, and the next is served", {
    skip,
  }, async () => {
    const events: ServerEvent[] = [];
    await using _server = await Server.listen("sim:mlx5?size=64KiB", socketPath, {
      onEvent: (event) => events.push(event),
    });
    const connect = (): Client => asUser(NOBODY, () => Client.connect(socketPath));
    assert.throws(connect, (error) => isErrno(error, "EACCES"));
    fs.chmodSync(socketPath, 0o666);
    {
      using other = connect();
      assert.ok(other.dropped());
    }
    {
      using own = Client.connect(socketPath);
      own.version();
    }
    await until(() => events.length === 3, "three events");
    assert.match(
      (events[0] as { why: string }).why,
      /runs as user 65534, and the server as user 0$/,
    );
    assert.deepEqual(events.map(({ type }) => type), ["refused", "client", "gone"]);
  });

  it("is served by a server of its user; so is root, and no third user", { skip }, () => {
    const refused: string[] = [];
    const [listening, acceptor] = asUser(NOBODY, () => {
      const socket = UnixSocket.listen(socketPath, 4);
      const report = (event: ServerEvent): void => {
        assert.equal(event.type, "refused");
        refused.push((event as { why: string }).why);
      };
      return [socket, listeningAcceptor(socket, report)] as const;
    });
    using _listening = listening;
    fs.chmodSync(socketPath, 0o666);
    for (const [uid, served] of [[NOBODY, true], [0, true], [OTHER, false]] as const) {
      using client = asUser(uid, () => UnixSocket.connect(socketPath));
      const came = acceptor.accept();
      assert.equal(came !== null && came !== "ended", served, `user ${uid}`);
      if (came === null || came === "ended") assert.equal(client.receive(new Uint8Array(1)), 0);
      else came.socket.close();
    }
    assert.equal(refused.length, 1);
    assert.match(refused[0]!, /runs as user 65533, and the server as user 65534$/);
  });
});
