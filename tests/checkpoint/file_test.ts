import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { afterEach, beforeEach, describe, it } from "node:test";
import { createCheckpointFile } from "../../src/checkpoint/file/create_checkpoint_file.ts";
import type { CheckpointFileError } from "../../src/checkpoint/file/file_error.ts";
import { bytesOf } from "./_tools.ts";

let folder = "";

beforeEach(() => {
  folder = fs.mkdtempSync("/tmp/vfiokit-file-");
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

const names = (): string[] => fs.readdirSync(folder).sort();
const text = (name: string): string => fs.readFileSync(`${folder}/${name}`, "utf8");

/** That an error is a CheckpointFileError of this code, and says these words. */
function isError(code: string, ...words: string[]): (error: CheckpointFileError) => boolean {
  return (error) => {
    assert.equal(error.name, "CheckpointFileError");
    assert.equal(error.code, code);
    for (const word of words) assert.ok(error.message.includes(word), error.message);
    return true;
  };
}

async function write(name: string, content: string, force = false): Promise<void> {
  await using file = await createCheckpointFile(`${folder}/${name}`, { force });
  await file.write(bytesOf(content));
  await file.commit();
}

describe("a regular file", () => {
  it("appears at the commit, whole, for its owner alone", async () => {
    await using file = await createCheckpointFile(`${folder}/a.vfk`);
    assert.equal(file.direct, false);
    for (let count = 0; count < 300; count++) await file.write(bytesOf("1234567890".repeat(count)));
    await file.write(bytesOf(100_000));
    assert.match(names().join(), /^\.a\.vfk\.vfiokit-[0-9a-f]{8}\.partial$/);
    await file.commit();
    assert.deepEqual(names(), ["a.vfk"]);
    assert.equal(file.bytes, 10 * 300 * 299 / 2 + 100_000);
    const stats = fs.statSync(`${folder}/a.vfk`);
    assert.equal(stats.size, file.bytes);
    assert.equal(stats.mode & 0o777, 0o600);
    assert.ok(text("a.vfk").startsWith("1234567890".repeat(50)));
  });

  it("takes a stream, whose end commits nothing", async () => {
    await using file = await createCheckpointFile(`${folder}/a`);
    await ReadableStream.from([bytesOf("one "), bytesOf("two")]).pipeTo(file.writable);
    assert.equal(fs.existsSync(`${folder}/a`), false);
    await file.commit();
    assert.equal(text("a"), "one two");
  });

  it("leaves nothing behind when it is given up", async () => {
    const file = await createCheckpointFile(`${folder}/a`);
    await file.write(bytesOf(500_000));
    await file.abort();
    await file.abort();
    assert.deepEqual(names(), []);
    await assert.rejects(file.write(bytesOf("x")), /it was aborted before/);
    await assert.rejects(file.commit(), /it was aborted before/);
    {
      await using dropped = await createCheckpointFile(`${folder}/b`);
      await dropped.write(bytesOf("x"));
    }
    const stream = await createCheckpointFile(`${folder}/c`);
    await stream.writable.abort("enough");
    assert.deepEqual(names(), []);
  });

  it("is given up only after a write that is under way", async () => {
    const file = await createCheckpointFile(`${folder}/a`);
    const written = file.write(bytesOf(8 << 20));
    await file.abort();
    await written;
    assert.deepEqual(names(), []);
  });

  it("stays when it is given up after the commit", async () => {
    const file = await createCheckpointFile(`${folder}/a`);
    await file.write(bytesOf("kept"));
    await file.commit();
    await file.abort();
    assert.equal(text("a"), "kept");
    await assert.rejects(file.commit(), /it was committed before/);
  });

  it("is replaced only by force", async () => {
    await write("a", "old");
    await assert.rejects(
      createCheckpointFile(`${folder}/a`),
      (error: CheckpointFileError) => {
        assert.match(error.hint!.text, /another name/);
        assert.equal(error.hint!.remedy, "force");
        return isError("EEXIST", "Cannot create", `${folder}/a`)(error);
      },
    );
    assert.equal(text("a"), "old");
    await write("a", "new", true);
    assert.equal(text("a"), "new");
    assert.deepEqual(names(), ["a"]);
  });

  it("does not replace a file that has appeared in between", async () => {
    const file = await createCheckpointFile(`${folder}/a`);
    await file.write(bytesOf("ours"));
    fs.writeFileSync(`${folder}/a`, "theirs");
    await assert.rejects(file.commit(), isError("EEXIST", "the temporary file was removed"));
    assert.equal(text("a"), "theirs");
    assert.deepEqual(names(), ["a"]);
  });

  it("does not replace what has become something else, even by force", async () => {
    const file = await createCheckpointFile(`${folder}/a`, { force: true });
    execFileSync("mkfifo", [`${folder}/a`]);
    await assert.rejects(file.commit(), isError("EEXIST", "the temporary file was removed"));
    assert.ok(fs.statSync(`${folder}/a`).isFIFO());
    assert.deepEqual(names(), ["a"]);
  });

  it("gets its name if there are no hard links, too", async () => {
    const { link } = fs.promises;
    fs.promises.link = () => Promise.reject(Object.assign(new Error("no"), { code: "EPERM" }));
    try {
      await write("a", "first");
      assert.equal(text("a"), "first");
      const file = await createCheckpointFile(`${folder}/b`);
      fs.writeFileSync(`${folder}/b`, "theirs");
      await assert.rejects(file.commit(), isError("EEXIST"));
      assert.equal(text("b"), "theirs");
      assert.deepEqual(names(), ["a", "b"]);
    } finally {
      fs.promises.link = link;
    }
  });

  it("is found through links, which stay", async () => {
    fs.mkdirSync(`${folder}/real`);
    fs.symlinkSync("real/../real/target", `${folder}/one`);
    fs.symlinkSync(`${folder}/one`, `${folder}/two`);
    await write("two", "through a link to nothing");
    assert.equal(text("real/target"), "through a link to nothing");
    await assert.rejects(createCheckpointFile(`${folder}/two`), isError("EEXIST"));
    await write("two", "again", true);
    assert.equal(text("real/target"), "again");
    assert.ok(fs.lstatSync(`${folder}/one`).isSymbolicLink());
    assert.ok(fs.lstatSync(`${folder}/two`).isSymbolicLink());
    assert.deepEqual(fs.readdirSync(`${folder}/real`), ["target"]);
  });

  it("may have the longest name there is", async () => {
    const long = "ä".repeat(127);
    await write(long, "x");
    assert.deepEqual(names(), [long]);
  });

  it("is refused if it cannot be, before anything is written", async () => {
    fs.symlinkSync("loop", `${folder}/loop`);
    fs.writeFileSync(`${folder}/file`, "");
    for (
      const [name, code] of [
        ["missing/a", "ENOENT"],
        ["", "EISDIR"],
        ["a/", "EISDIR"],
        [".", "EISDIR"],
        ["loop", "ELOOP"],
        ["file/a", "ENOTDIR"],
        ["x".repeat(256), "ENAMETOOLONG"],
      ] as const
    ) {
      const path = `${folder}/${name}`;
      await assert.rejects(createCheckpointFile(path), isError(code, `"${path}"`), name);
    }
    await assert.rejects(createCheckpointFile(""), isError("ENOENT"));
    assert.deepEqual(names(), ["file", "loop"]);
  });
});

describe("what is no regular file", () => {
  it("is written to as it stands: a fifo", async () => {
    execFileSync("mkfifo", [`${folder}/fifo`]);
    fs.symlinkSync("fifo", `${folder}/link`);
    for (const name of ["fifo", "link"]) {
      const read = fs.promises.readFile(`${folder}/fifo`);
      await using file = await createCheckpointFile(`${folder}/${name}`, { force: true });
      assert.equal(file.direct, true);
      await file.write(bytesOf("into the "));
      await file.write(bytesOf(200_000));
      await file.commit();
      assert.equal((await read).length, 200_009);
    }
    assert.deepEqual(names(), ["fifo", "link"]);
  });

  it("is written to as it stands: /dev/null, which stays a device", async () => {
    for (const path of ["/dev/null", "/dev/../dev/null"]) {
      await using file = await createCheckpointFile(path, { force: true });
      assert.equal(file.direct, true);
      await file.write(bytesOf(1 << 20));
      await file.commit();
      assert.ok(fs.lstatSync("/dev/null").isCharacterDevice());
    }
  });

  it("is written to as it stands: a disk that is full", async () => {
    const file = await createCheckpointFile("/dev/full");
    await assert.rejects(
      file.write(bytesOf(100_000)),
      isError("ENOSPC", 'Cannot write "/dev/full": ENOSPC (no space left)'),
    );
    await assert.rejects(file.write(bytesOf(1)), /it was aborted before/);
    const later = await createCheckpointFile("/dev/full");
    await later.write(bytesOf("small chunks are collected first"));
    await assert.rejects(later.commit(), isError("ENOSPC"));
    const streamed = await createCheckpointFile("/dev/full");
    await assert.rejects(
      ReadableStream.from([bytesOf("and at the end of a stream")]).pipeTo(streamed.writable),
      isError("ENOSPC"),
    );
  });
});
