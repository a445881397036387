import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { UnixSocket } from "../../src/kernel/libc/unix_socket.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { AttachedOwner, connectUnix, UnixListener } from "../../src/live/mod.ts";
import { asUser, cannotBe } from "../server/_as_user.ts";
import { withFolder } from "./_pair.ts";

const NOBODY = 65534;
const OTHER = 65533;
const skip = cannotBe(NOBODY, OTHER);
const PURPOSE = { purpose: "migrate" } as const;

/** A folder that lets every user in: what keeps others out is the socket alone. */
async function withOpenFolder(use: (folder: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    fs.chmodSync(folder, 0o777);
    await use(folder);
  });
}

/** Makes a socket of a user's, to which every user can connect. */
function listenAs(uid: number, path: string): UnixSocket {
  const listening = asUser(uid, () => UnixSocket.listen(path, 4));
  fs.chmodSync(path, 0o666);
  return listening;
}

/** Whether an owner is refused that is another user's. */
function refused(uid: number): (error: Error & { readonly code?: string }) => boolean {
  return ({ code, message }) => code === "owner-lost" && message.endsWith(`: it is of user ${uid}`);
}

describe("a peer of another user", () => {
  it("is no owner of a device, but for root, and hears nothing", { skip }, async () => {
    await withOpenFolder(async (folder) => {
      const path = join(folder, "owner");
      {
        using listening = listenAs(OTHER, path);
        for (const uid of [0, NOBODY]) {
          await assert.rejects(
            asUser(uid, () => AttachedOwner.connect(path, PURPOSE)),
            refused(OTHER),
          );
          using owner = listening.accept()!;
          assert.equal(owner.receive(new Uint8Array(1)), 0);
        }
      }
      const [ours, theirs] = asUser(OTHER, () => UnixSocket.pair());
      using _ = theirs;
      await assert.rejects(AttachedOwner.over(ours.fd, PURPOSE), refused(OTHER));
      fs.unlinkSync(path);
      using listening = listenAs(0, path);
      const attaching = asUser(NOBODY, () => AttachedOwner.connect(path, PURPOSE));
      {
        using owner = listening.accept()!;
        assert.match(hello(owner), /^\{"type":"hello"/);
      }
      await assert.rejects(attaching, /has ended the connection/);
    });
  });

  it("cannot connect to receive, and hears nothing", { skip }, async () => {
    await withOpenFolder(async (folder) => {
      {
        const refusals: string[] = [];
        using listener = await UnixListener.listen(join(folder, "receive"), {
          onRefused: (why) => refusals.push(why),
        });
        assert.throws(
          () => asUser(NOBODY, () => UnixSocket.connect(listener.path)),
          (error) => isErrno(error, "EACCES"),
        );
        // As if somebody had given it away: the kernel still says who connects.
        fs.chmodSync(listener.path, 0o666);
        using other = asUser(NOBODY, () => UnixSocket.connect(listener.path));
        const own = await connectUnix(listener.path);
        (await listener.next()).close();
        own.close();
        assert.equal(other.receive(new Uint8Array(1)), 0);
        assert.match(refusals[0]!, /^process \d+ runs as user 65534, and this one as user 0$/);
      }
      const path = join(folder, "others");
      using listening = listenAs(OTHER, path);
      for (const uid of [0, NOBODY]) {
        await assert.rejects(
          asUser(uid, () => connectUnix(path)),
          /Cannot connect to .*others: user 65533 listens there$/,
        );
        using peer = listening.accept()!;
        assert.equal(peer.receive(new Uint8Array(1)), 0);
      }
    });
  });
});

function hello(owner: UnixSocket): string {
  const into = new Uint8Array(256);
  const length = owner.receive(into);
  assert.notEqual(length, null);
  return new TextDecoder().decode(into.subarray(0, length!));
}
