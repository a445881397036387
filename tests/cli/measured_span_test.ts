import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { Fd, libcKernel } from "../../src/kernel/mod.ts";
import { Context } from "../../cli/context.ts";
import { beforeEnd, type Lending, pause, readAfterSpan } from "../../cli/dirty/measured_span.ts";
import { explain } from "../../cli/output/error_message.ts";
import { Interrupted } from "../../cli/signals.ts";
import { until } from "../_until.ts";
import { Folder } from "./_folder.ts";

let folder: Folder;
let fds: number[] = [];

before(() => {
  folder = new Folder();
  fds = ["device", "group", "container", "memory"].map((name) => {
    writeFileSync(folder.file(name), `the ${name}`);
    return openSync(folder.file(name), "r");
  });
});

after(() => {
  for (const fd of fds) closeSync(fd);
  folder[Symbol.dispose]();
});

function borrowed(fd: number): Fd {
  return Fd.borrow(libcKernel(), fd, "a file");
}

/** What a session has of a device that is really some files. */
function lending(): Lending {
  const [device = 0, group = 0, container = 0, memory = 0] = fds;
  const mapped = [{ iova: 0x100000n, size: 0x2000n, offset: 0 }, {
    iova: 1n << 32n,
    size: 0x1000n,
    offset: 0x2000,
  }];
  return {
    device: {
      label: "0000:3b:00.1",
      kernel: libcKernel(),
      fd: borrowed(device),
      group: { fd: borrowed(group) },
      container: { fd: borrowed(container) },
      ioas: null,
    } as Lending["device"],
    fds: { device, group, container, iommufd: null, memory },
    mapped,
    mappings: [...mapped, { iova: 1n << 40n, size: 0x4000n }],
  };
}

function context(signal = new AbortController().signal): Context {
  return new Context({
    called: "test",
    schema: "test",
    json: false,
    quiet: true,
    signals: { signal, divert: () => () => {} },
  });
}

/** Runs a shell script while it is looked; `$1` is a file, whose text is returned. */
async function script(
  text: string,
  options: { readonly after?: number; readonly look?: () => void } = {},
): Promise<[code: number, text: string]> {
  const out = folder.file("out");
  writeFileSync(out, "");
  const args = { after: options.after, command: ["sh", "-c", text, "sh", out] };
  const code = await readAfterSpan(lending(), args, context(), options.look ?? (() => {}));
  return [code, readFileSync(out, "utf8")];
}

describe("a program that runs while dirty pages are tracked", () => {
  it("finds the memory behind device, group and container", async () => {
    const [code, text] = await script(
      '{ cat <&3; echo; cat <&6; echo; echo "$VFIOKIT_DEVICE_FD $VFIOKIT_GROUP_FD ' +
        '$VFIOKIT_CONTAINER_FD $VFIOKIT_MEMORY_FD"; } > "$1"',
    );
    assert.equal(code, 0);
    assert.equal(text, "the device\nthe memory\n3 4 5 6\n");
  });

  it("finds in its environment which part is mapped at which IOVA; what others mapped is in no part", async () => {
    const [, text] = await script('printf %s "$VFIOKIT_MAPPINGS" > "$1"');
    assert.deepEqual(JSON.parse(text), [
      { iova: "0x100000", size: 0x2000, offset: 0 },
      { iova: "0x100000000", size: 0x1000, offset: 0x2000 },
      { iova: "0x10000000000", size: 0x4000, offset: null },
    ]);
  });

  it("is looked at when it has ended, and passes on its exit code", async () => {
    let seen = "";
    const look = (): void => {
      seen = readFileSync(folder.file("out"), "utf8");
    };
    assert.equal((await script('echo done > "$1"; exit 7', { look }))[0], 7);
    assert.equal(seen, "done\n");
  });

  it("is looked at while it runs, after the time that was asked for", async () => {
    const look = (): void => writeFileSync(folder.file("go"), "");
    const wait = `until [ -e '${folder.file("go")}' ]; do sleep 0.01; done; echo went > "$1"`;
    assert.deepEqual(await script(wait, { after: 1, look }), [0, "went\n"]);
  });

  it("ends before our own failure is reported", async () => {
    const look = (): void => {
      throw new Error("no luck");
    };
    await assert.rejects(script('sleep 0.1; echo done > "$1"', { after: 1, look }), /no luck/);
    assert.equal(readFileSync(folder.file("out"), "utf8"), "done\n");
  });

  it("does not hide a failure of ours when it cannot be waited for", async () => {
    const failed = beforeEnd(
      () => Promise.reject(new Error("no program")),
      () => Promise.reject(new Error("no luck")),
    );
    const why = explain(await failed.catch((error) => error), undefined);
    assert.equal(why.message, "no luck");
    assert.deepEqual(why.cleanup, ["no program"]);
  });

  it("is 127 if there is none, and 128+n if a signal ended it", async () => {
    const run = (...command: string[]): Promise<number> =>
      readAfterSpan(lending(), { command }, context(), () => {});
    assert.equal(await run("/nonexistent/program"), 127);
    assert.equal(await run("sh", "-c", "kill -TERM $$"), 143);
  });
});

describe("without a program", () => {
  it("a look comes after its time", async () => {
    const started = performance.now();
    assert.equal(await readAfterSpan(lending(), { after: 30 }, context(), () => {}), 0);
    assert.ok(performance.now() - started >= 25);
  });

  it("a signal has the look come at once, and is the exit code", async () => {
    const interrupt = new AbortController();
    let looks = 0;
    const look = (): number => looks++;
    const code = readAfterSpan(lending(), { after: 60_000 }, context(interrupt.signal), look);
    interrupt.abort(new Interrupted("SIGINT"));
    assert.equal(await code, 130);
    assert.equal(looks, 1);
  });

  it("a pause that was ended before is none", async () => {
    let over = false;
    const pausing = pause(2 ** 31 - 1, AbortSignal.abort()).then(() => over = true);
    await until(() => over, "the pause is over");
    await pausing;
  });
});
