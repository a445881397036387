import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  addCleanup,
  cleanly,
  cleanlyThen,
  cleanupErrors,
  firstError,
} from "../../src/base/cleanup.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import { packError, unpackError } from "../../src/base/error_transfer.ts";
import { DirtySession } from "../../src/dirty/session.ts";

function fail(name: string): never {
  throw new Error(name);
}

describe("cleaning up after an error", () => {
  it("throws the first of several errors, and attaches the others in order", () => {
    const work = (): void => {
      using stack = new DisposableStack();
      for (const name of ["third", "second"]) stack.defer(() => fail(name));
      fail("first");
    };
    assert.throws(() => cleanly(work), (error: Error) => {
      assert.equal(error.message, "first");
      assert.deepEqual(cleanupErrors(error).map(({ message }) => message), ["second", "third"]);
      return true;
    });
  });

  it("throws the error of the cleanup if there was none before it", () => {
    assert.throws(() => cleanlyThen(() => 1, () => fail("close")), /close/);
    assert.equal(cleanlyThen(() => 1, () => {}), 1);
  });

  it("leaves other errors alone, and follows each cause once", () => {
    const inner = new Error("inner");
    addCleanup(inner, new Error("met"));
    const outer = new Error("outer", { cause: inner });
    inner.cause = outer;
    assert.equal(firstError(outer), outer);
    assert.deepEqual(cleanupErrors(outer).map(({ message }) => message), ["met"]);
    assert.deepEqual(cleanupErrors("text"), []);
  });

  it("is reported across threads", () => {
    const error = new SysError("read", 5);
    addCleanup(error, new SysError("close", 4));
    const [met] = cleanupErrors(unpackError(structuredClone(packError(error))));
    assert.ok(met instanceof SysError);
    assert.equal(met.syscall, "close");
  });

  it("is attached to the error that a session failed with", () => {
    const name = "sim:trapped?fault=dirty-start:1:EIO&fault=unmap:1:EIO";
    const work = (): void => {
      using session = DirtySession.open(name, { maps: [{ iova: 0x100000n, size: 1n << 20n }] });
      session.tracker.start();
    };
    assert.throws(() => cleanly(work), (error: SysError) => {
      assert.ok(error instanceof SysError);
      assert.equal(error.code, "EIO");
      assert.match(cleanupErrors(error)[0]!.message, /Cannot unmap/);
      return true;
    });
  });
});
