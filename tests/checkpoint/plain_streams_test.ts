// Plain Web streams as the target of a save and the source of a restore.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeCheckpoint } from "../../src/checkpoint/format/decode.ts";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { verifyCheckpoint } from "../../src/checkpoint/verify.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { until } from "../_until.ts";
import { stateOf, withSim } from "../migration/_sim.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const SPEC = "trapped?size=256KiB&chunk=16KiB";

/** A stream that keeps what it takes. */
function collector(): { stream: WritableStream<Bytes>; chunks: Bytes[]; ended: () => unknown } {
  const chunks: Bytes[] = [];
  let ended: unknown = null;
  const stream = new WritableStream<Bytes>({
    write: (chunk) => void chunks.push(chunk.slice()),
    close: () => void (ended = "closed"),
    abort: (reason) => void (ended = reason),
  });
  return { stream, chunks, ended: () => ended };
}

async function saved(...devices: Device[]): Promise<Bytes[]> {
  const { stream, chunks, ended } = collector();
  await save(devices, stream);
  assert.equal(ended(), "closed");
  assert.equal(stream.locked, false);
  return chunks;
}

describe("a plain stream", () => {
  it("takes a checkpoint, and gives it back", async () => {
    await withSim([`${SPEC}&seed=1`, `${SPEC}&seed=2`], async ({ devices, sims }) => {
      const chunks = await saved(devices[0]!);
      await verifyCheckpoint(ReadableStream.from(chunks));
      await restore(devices[1]!, ReadableStream.from(chunks));
      assert.equal(sims[1]!.checksum(), sims[0]!.checksum());
    });
  });

  it("takes one of several devices, and gives it back", async () => {
    const specs = [1, 2, 3, 4].map((seed) => `mlx5?size=128KiB&seed=${seed}`);
    await withSim(specs, async ({ devices, sims }) => {
      const chunks = await saved(devices[0]!, devices[1]!);
      await restore([devices[2]!, devices[3]!], ReadableStream.from(chunks));
      assert.deepEqual(
        [2, 3].map((n) => sims[n]!.checksum()),
        [0, 1].map((n) => sims[n]!.checksum()),
      );
    });
  });

  it("holds the device back if it takes nothing", async () => {
    await using device = await openDevice(`sim:trapped?size=16MiB&chunk=64KiB`);
    const gate = Promise.withResolvers<void>();
    let writes = 0;
    const write = (): Promise<void> => writes++ < 3 ? Promise.resolve() : gate.promise;
    const saving = save(device, new WritableStream({ write }));
    await until(() => writes === 4, "the stream takes nothing");
    // All slots are full then: the three writes were of less than one.
    await until(() => device.progress().bytes >= 4 << 20, "the device has filled its slots");
    assert.ok(device.progress().bytes < 8 << 20);
    gate.resolve();
    assert.ok((await saving).bytes >= 16 << 20);
  });

  it("that takes nothing does not keep a save from ending", async () => {
    await using device = await openDevice(`sim:${SPEC}`);
    const abort = new AbortController();
    const saving = save(device, new WritableStream({ write: () => new Promise(() => {}) }), {
      signal: abort.signal,
    });
    abort.abort();
    await assert.rejects(saving, (error: TransferError) => error.code === "cancelled");
    assert.equal(await stateOf(device), "running");
  });

  it("that gives nothing does not keep a restore from ending", async () => {
    await using device = await openDevice(`sim:${SPEC}`);
    const abort = new AbortController();
    let cancelled: unknown;
    const source = new ReadableStream<Uint8Array>({
      pull(): Promise<void> {
        abort.abort("enough");
        return new Promise(() => {});
      },
      cancel: (reason) => void (cancelled = reason),
    }, { highWaterMark: 0 });
    const restoring = restore(device, source, { signal: abort.signal });
    await assert.rejects(restoring, (error: TransferError) => error.code === "cancelled");
    assert.equal(cancelled, "enough");
    assert.equal(await stateOf(device), "running");
  });

  it("is not begun if the signal has been aborted", async () => {
    await withSim([SPEC], async ({ devices: [device] }) => {
      const { stream, chunks, ended } = collector();
      const signal = AbortSignal.abort(new Error("before"));
      await assert.rejects(save(device!, stream, { signal }), TransferError);
      await assert.rejects(restore(device!, ReadableStream.from([]), { signal }), {
        code: "cancelled",
        cause: signal.reason,
      });
      assert.equal(ended(), signal.reason);
      assert.deepEqual(chunks.length, 0);
    });
  });

  for (const nth of [0, 1, 2]) {
    it(`that fails at write ${nth} is the cause, and the device runs again`, async () => {
      await withSim([SPEC, SPEC], async ({ devices }) => {
        const failure = new Error("no room");
        const failing = (): WritableStream<Bytes> => {
          let writes = 0;
          return new WritableStream({
            write(): void {
              if (writes++ >= nth) throw failure;
            },
          });
        };
        for (const saved of [devices[0]!, devices]) {
          await assert.rejects(save(saved, failing()), (error: TransferError) => {
            assert.ok(error instanceof TransferError);
            assert.equal(error.cause, failure);
            assert.ok(error.devices.every(({ state }) => state === "running"));
            return true;
          });
        }
        for (const device of devices) assert.equal(await stateOf(device), "running");
      });
    });
  }

  it("that fails in the midst of a restore resets the device, and is the cause", async () => {
    await withSim([SPEC], async ({ devices: [device] }) => {
      const chunks = await saved(device!);
      const failure = new Error("cut");
      const source = ReadableStream.from((async function* (): AsyncGenerator<Uint8Array> {
        yield* chunks.slice(0, 6);
        await Promise.resolve();
        throw failure;
      })());
      await assert.rejects(restore(device!, source), (error: TransferError) => {
        assert.equal(error.cause, failure);
        assert.equal(error.devices[0]!.recovery, "reset");
        return true;
      });
    });
  });

  it("with chunks that are no bytes is refused", async () => {
    const text = (): ReadableStream<Uint8Array> =>
      ReadableStream.from(["text" as unknown as Uint8Array]);
    await assert.rejects(verifyCheckpoint(text()), TypeError);
    await withSim([SPEC], async ({ devices: [device] }) => {
      await assert.rejects(restore(device!, text()), (error: Error) => {
        assert.ok(error.cause instanceof TypeError);
        return true;
      });
      assert.equal(await stateOf(device!), "running");
    });
  });

  it("is refused at once if it is locked, and so is anything else", async () => {
    await withSim([SPEC], async ({ devices: [device] }) => {
      const writable = new WritableStream();
      writable.getWriter();
      const readable = new ReadableStream();
      readable.getReader();
      const nothings = [undefined, null, "a.vfk", {}, [], new TransformStream()] as never[];
      for (const target of [writable, ...nothings]) {
        await assert.rejects(save(device!, target), TypeError);
        await assert.rejects(save([device!], target), TypeError);
      }
      for (const origin of [readable, ...nothings]) {
        await assert.rejects(restore(device!, origin), TypeError);
        await assert.rejects(restore([device!], origin), TypeError);
        await assert.rejects(verifyCheckpoint(origin), TypeError);
      }
      await assert.rejects(save({} as Device, new WritableStream()), TypeError);
    });
  });

  it("into a decoder that fails rejects both promises", async () => {
    const decoder = decodeCheckpoint();
    const writer = decoder.writable.getWriter();
    writer.closed.catch(() => {});
    await writer.abort(new Error("given up"));
    await assert.rejects(decoder.header, /given up/);
    await assert.rejects(decoder.trailer, /given up/);
  });
});
