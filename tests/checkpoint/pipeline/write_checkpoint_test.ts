import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { CheckpointReader } from "../../../src/checkpoint/format/checkpoint_reader.ts";
import { SysError } from "../../../src/kernel/sys_error.ts";
import { libcKernel } from "../../../src/kernel/libc/libc_kernel.ts";
import { fdKind } from "../../../src/checkpoint/pipeline/fd_kind.ts";
import { startWriting, startWritingStream } from "../../../src/checkpoint/pipeline/io_thread.ts";
import { cancelRings } from "../../../src/checkpoint/pipeline/rings.ts";
import type { RingMemory } from "../../../src/checkpoint/pipeline/ring.ts";
import { writeCheckpoint } from "../../../src/checkpoint/pipeline/write_checkpoint.ts";
import { header } from "../_tools.ts";
import { type Content, Giving, savingRings } from "./_io.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-write-"));
after(() => fs.rmSync(folder, { recursive: true }));

function frame(fill: number, ...sizes: number[]): Content {
  return { phase: "stop-and-copy", sizes, more: false, fill };
}

/** What a checkpoint holds, frame by frame. */
function framesOf(file: string): { device: number; content: Content }[] {
  const reader = new CheckpointReader({ requireComplete: true });
  const frames = [];
  for (const { device, phase, sizes, more, bytes } of reader.push(fs.readFileSync(file))) {
    const fill = bytes[0] ?? 0;
    assert.ok(bytes.every((byte) => byte === fill));
    frames.push({ device, content: { phase, sizes: [...Array.from(sizes)], more, fill } });
  }
  reader.end();
  return frames;
}

/** Writes on this thread what lies in the rings already. */
function write(
  file: string,
  rings: readonly RingMemory[],
  digest: "sha256" | null = null,
): number | undefined {
  const fd = fs.openSync(file, "wx");
  try {
    const task = { fd, kind: fdKind(fd), header: header(rings.length), digest, rings };
    return writeCheckpoint(libcKernel(), task, () => {})?.storedBytes;
  } finally {
    fs.closeSync(fd);
  }
}

describe("a checkpoint written out of rings", () => {
  it("has the frames of all devices, in turns if several are ready", () => {
    const rings = savingRings(3, 2);
    const frames = [[frame(1, 10), frame(2, 20)], [frame(3, 30)], [frame(4, 40), frame(5, 1, 2)]];
    rings.forEach((memory, device) => {
      const giving = new Giving(memory, device, frames[device]!);
      while (!giving.over) assert.ok(giving.give());
    });
    const file = `${folder}/turns`;
    assert.equal(write(file, rings), fs.statSync(file).size);
    assert.deepEqual(framesOf(file), [
      { device: 0, content: frame(1, 10) },
      { device: 1, content: frame(3, 30) },
      { device: 2, content: frame(4, 40) },
      { device: 0, content: frame(2, 20) },
      { device: 2, content: frame(5, 1, 2) },
    ]);
  });

  it("is compressed if that makes it smaller, and has the digest of its content", () => {
    const rings = savingRings(2, 2, true);
    rings.forEach((memory, device) => {
      const giving = new Giving(memory, device, [frame(device, 70_000), frame(9, 1)], true);
      while (!giving.over) assert.ok(giving.give());
    });
    const file = `${folder}/compressed`;
    const stored = write(file, rings, "sha256");
    assert.ok(stored! < 70_000);
    assert.deepEqual(framesOf(file), [
      { device: 0, content: frame(0, 70_000) },
      { device: 1, content: frame(1, 70_000) },
      { device: 0, content: frame(9, 1) },
      { device: 1, content: frame(9, 1) },
    ]);
  });

  it("goes to a stream in copies, and closes it", async () => {
    const rings = savingRings(2, 1);
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let closed = false;
    const stream = new WritableStream<Uint8Array<ArrayBuffer>>({
      write: (chunk) => void chunks.push(chunk),
      close: () => void (closed = true),
    });
    const content = { header: header(2), digest: null, rings };
    const io = startWritingStream(stream.getWriter(), content);
    assert.equal(await io.begun, true);
    const giving = rings.map((memory, device) =>
      new Giving(memory, device, [frame(1 + device, 10), frame(3 + device, 1 << 20)])
    );
    while (giving.some(({ over }) => !over)) {
      for (const device of giving) if (!device.over) device.give(0);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const { storedBytes } = (await io.ended)!;
    assert.ok(closed);
    const file = `${folder}/streamed`;
    fs.writeFileSync(file, Buffer.concat(chunks));
    assert.equal(fs.statSync(file).size, storedBytes);
    assert.equal(framesOf(file).length, 4);
  });

  it("says why its stream takes no more, and stops the devices", async () => {
    const rings = savingRings(1, 1);
    const failure = new Error("full");
    const stream = new WritableStream<Uint8Array<ArrayBuffer>>({
      write(): void {
        throw failure;
      },
    });
    const content = { header: header(), digest: null, rings };
    const io = startWritingStream(stream.getWriter(), content);
    await assert.rejects(io.ended, (error) => error === failure);
    await assert.rejects(io.begun, (error) => error === failure);
    assert.ok(new Giving(rings[0]!, 0, [frame(1, 1)]).cancelled);
  });

  it("is none if a device was cancelled", () => {
    const rings = savingRings(2, 2);
    assert.ok(new Giving(rings[0]!, 0, [frame(1, 10)]).give());
    cancelRings(rings.slice(1));
    assert.equal(write(`${folder}/cancelled`, rings), undefined);
  });

  it("has whatever the devices give, written by a thread", async () => {
    const contents = fc.array(
      fc.record({
        sizes: fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 40 }),
        more: fc.boolean(),
        fill: fc.nat({ max: 255 }),
      }).map((content): Content => ({ phase: "pre-copy", ...content })),
      { minLength: 1, maxLength: 12 },
    ).map((frames) => [...frames, frame(7, 1 << 20)]);
    let number = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(contents, { minLength: 1, maxLength: 3 }),
        fc.constantFrom(1, 2, 4),
        async (devices, slots) => {
          // A phase does not end inside a transaction.
          const whole = devices.map((frames) =>
            frames.map((content, index) => ({
              ...content,
              more: content.more && index < frames.length - 2,
            }))
          );
          const file = `${folder}/any-${number++}`;
          const fd = fs.openSync(file, "wx");
          const rings = savingRings(whole.length, slots);
          const task = { fd, kind: fdKind(fd), header: header(whole.length), digest: null, rings };
          const { begun, ended } = startWriting(task);
          assert.equal(await begun, true);
          const giving = rings.map((memory, device) => new Giving(memory, device, whole[device]!));
          while (giving.some(({ over }) => !over)) {
            for (const device of giving) if (!device.over) assert.ok(device.give());
          }
          const { storedBytes } = (await ended)!;
          fs.closeSync(fd);
          assert.equal(storedBytes, fs.statSync(file).size);
          const written = framesOf(file);
          whole.forEach((frames, device) => {
            const own = written.filter((one) => one.device === device);
            assert.deepEqual(own.map(({ content }) => content), frames);
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  it("says why its target takes no more, and stops the devices", async () => {
    const fd = fs.openSync("/dev/full", "w");
    const rings = savingRings(2, 1);
    const { begun, ended } = startWriting({
      fd,
      kind: fdKind(fd),
      header: header(2),
      digest: null,
      rings,
    });
    const isFull = (error: unknown): boolean =>
      error instanceof SysError && error.code === "ENOSPC";
    await assert.rejects(ended, isFull);
    await assert.rejects(begun, isFull);
    fs.closeSync(fd);
    rings.forEach((memory, device) => {
      const giving = new Giving(memory, device, [frame(1, 1)]);
      assert.ok(giving.cancelled);
      assert.equal(giving.give(), false);
    });
  });
});

describe("a checkpoint written to a fifo", () => {
  /** A fifo with a reader that takes nothing yet. */
  function fifo(name: string): { readonly reader: number; readonly writer: number } {
    const at = `${folder}/${name}`;
    execFileSync("mkfifo", [at]);
    const both = fs.openSync(at, "r+");
    const writer = fs.openSync(at, "w");
    const reader = fs.openSync(at, "r");
    fs.closeSync(both);
    return { reader, writer };
  }

  it("waits while nobody reads, and ends at once when it is cancelled", async () => {
    const { reader, writer } = fifo("full");
    const rings = savingRings(1, 2);
    const io = startWriting({
      fd: writer,
      kind: fdKind(writer),
      header: header(),
      digest: null,
      rings,
    });
    assert.equal(await io.begun, true);
    const giving = new Giving(rings[0]!, 0, [1, 2, 3, 4].map((fill) => frame(fill, 1 << 20)));
    assert.ok(giving.give());
    assert.ok(giving.give());
    // The fifo holds a MiB at most, and the ring two frames.
    assert.equal(giving.give(50), false);
    assert.equal(giving.cancelled, false);
    cancelRings(rings);
    assert.equal(await io.ended, null);
    fs.closeSync(reader);
    fs.closeSync(writer);
  });

  it("fails when its reader has gone", async () => {
    const { reader, writer } = fifo("broken");
    const rings = savingRings(1, 1);
    const io = startWriting({
      fd: writer,
      kind: fdKind(writer),
      header: header(),
      digest: null,
      rings,
    });
    assert.equal(await io.begun, true);
    fs.closeSync(reader);
    new Giving(rings[0]!, 0, [frame(1, 1), frame(2, 2)]).give();
    await assert.rejects(io.ended, (error) => error instanceof SysError && error.code === "EPIPE");
    fs.closeSync(writer);
  });
});
