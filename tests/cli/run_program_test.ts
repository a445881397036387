import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type Lendable, runMeanwhile, runProgram } from "../../cli/lending/run_program.ts";
import { Context } from "../../cli/context.ts";
import { Interrupted, type SignalName } from "../../cli/signals.ts";
import { until } from "../_until.ts";

let folder = "";
let fds: number[] = [];

before(() => {
  folder = mkdtempSync(join(tmpdir(), "vfiokit-child-"));
  fds = ["a", "b", "c", "d"].map((name) => {
    writeFileSync(join(folder, name), `this is ${name}`);
    return openSync(join(folder, name), "r");
  });
});

after(() => {
  for (const fd of fds) closeSync(fd);
  rmSync(folder, { recursive: true });
});

let passOn: ((name: SignalName) => void) | null = null;

function context(signal = new AbortController().signal): Context {
  return new Context({
    called: "test",
    schema: "test",
    json: false,
    quiet: true,
    signals: {
      signal,
      divert(handler): () => void {
        passOn = handler;
        return () => {
          passOn = null;
        };
      },
    },
  });
}

/** Runs a shell script with devices lent to it; what it writes to the file $OUT is returned. */
async function lend(script: string, devices: readonly Lendable[]): Promise<[number, string]> {
  const out = join(folder, "out");
  writeFileSync(out, "");
  const code = await runProgram(["sh", "-c", script, "sh", out], { devices }, context());
  return [code, readFileSync(out, "utf8")];
}

function lendable(
  name: string,
  fds: Partial<Lendable["fds"]> & { device: number },
  ioas: number | null = null,
): Lendable {
  return {
    name,
    fds: { group: null, container: null, iommufd: null, ...fds },
    ioas,
    protocol: null,
  };
}

describe("a program that devices are lent to", () => {
  it("finds device, group and container at the fds 3, 4 and 5, and in its environment", async () => {
    const [a = 0, b = 0, c = 0] = fds;
    const [code, out] = await lend(
      'cat <&3 >>"$1"; cat <&4 >>"$1"; cat <&5 >>"$1"; ' +
        'echo " $VFIOKIT_DEVICE_FD $VFIOKIT_GROUP_FD $VFIOKIT_CONTAINER_FD $VFIOKIT_DEVICES" >>"$1"',
      [lendable("one", { device: a, group: b, container: c })],
    );
    assert.equal(code, 0);
    assert.equal(
      out,
      'this is athis is bthis is c 3 4 5 [{"name":"one","device":3,"group":4,"container":5,' +
        '"iommufd":null,"ioas":null,"data":null}]\n',
    );
  });

  it("finds an iommufd at fd 4 in place of group and container", async () => {
    const [a = 0, b = 0] = fds;
    const [code, out] = await lend(
      ': <&4 && echo "$VFIOKIT_IOMMUFD_FD $VFIOKIT_IOAS_ID $VFIOKIT_GROUP_FD- ' +
        '$VFIOKIT_DEVICES" >>"$1"',
      [lendable("one", { device: a, iommufd: b }, 7)],
    );
    assert.equal(code, 0);
    assert.equal(
      out,
      '4 7 - [{"name":"one","device":3,"group":null,"container":null,' +
        '"iommufd":4,"ioas":7,"data":null}]\n',
    );
  });

  it("finds a second device at the fds that follow", async () => {
    const [a = 0, b = 0, c = 0, d = 0] = fds;
    const [code, out] = await lend(
      'echo "$VFIOKIT_DEVICES $VFIOKIT_DEVICE_FD" >>"$1"; cat <&6 >>"$1"',
      [
        lendable("one", { device: a }),
        lendable("two", { device: b, group: c, container: d }),
      ],
    );
    assert.equal(code, 0);
    assert.equal(
      out,
      '[{"name":"one","device":3,"group":null,"container":null,"iommufd":null,"ioas":null,' +
        '"data":null},{"name":"two","device":4,"group":5,"container":6,"iommufd":null,' +
        '"ioas":null,"data":null}] \nthis is d',
    );
  });

  it("passes its exit code on", async () => {
    assert.deepEqual(await lend("exit 42", []), [42, ""]);
  });

  it("gives 128+n if signal n ended it", async () => {
    assert.deepEqual(await lend("kill -KILL $$", []), [137, ""]);
  });

  it("gives 127 if there is no such program, 126 if it cannot be run", async () => {
    assert.equal(
      await runProgram([join(folder, "absent")], { devices: [] }, context()),
      127,
    );
    assert.equal(
      await runProgram(["no-such-program-of-ours"], { devices: [] }, context()),
      127,
    );
    assert.equal(await runProgram([join(folder, "a")], { devices: [] }, context()), 126);
  });

  it("gets the signals that we get, and its exit code is ours", async () => {
    const running = lend(
      "trap 'exit 9' TERM; echo ready >>\"$1\"; while :; do sleep 0.05; done",
      [],
    );
    await until(() => readFileSync(join(folder, "out"), "utf8") === "ready\n", "the trap is set");
    passOn?.("SIGTERM");
    assert.equal((await running)[0], 9);
    assert.equal(passOn, null);
  });

  it("may have ended already when a signal comes", async () => {
    const running = lend("exit 4", []);
    const late = passOn!;
    assert.equal((await running)[0], 4);
    late("SIGTERM");
  });

  it("is known to run, or not to", async () => {
    const start = (...words: string[]): ReturnType<typeof runMeanwhile> =>
      runMeanwhile(words, { devices: [] }, context());
    const running = start("sleep", "1000");
    assert.equal(await running.started, true);
    passOn!("SIGTERM");
    assert.deepEqual(running.interrupted.reason, new Interrupted("SIGTERM"));
    assert.equal(await running.exitCode, 143);
    const absent = start(join(folder, "absent"));
    assert.equal(await absent.started, false);
    assert.equal(await absent.exitCode, 127);
    const brief = start("sh", "-c", "exit 5");
    assert.equal(await brief.started, true);
    assert.equal(await brief.exitCode, 5);
    assert.equal(brief.interrupted.aborted, false);
  });

  it("is interrupted by a Ctrl-C at a terminal only if that ends it", async () => {
    const { stdin } = process;
    const before = Object.getOwnPropertyDescriptor(stdin, "isTTY");
    Object.defineProperty(stdin, "isTTY", { value: true, configurable: true });
    try {
      for (
        const [ending, interrupted] of [
          ["kill -INT $$", true],
          ["exit 130", true],
          ["exit 0", false],
        ] as const
      ) {
        const go = join(folder, `go-${ending}`);
        const script = 'until [ -e "$1" ]; do sleep 0.01; done; eval "$2"';
        const words = ["sh", "-c", script, "sh", go, ending];
        const running = runMeanwhile(words, { devices: [] }, context());
        passOn!("SIGINT");
        assert.equal(running.interrupted.aborted, false);
        writeFileSync(go, "");
        assert.equal(await running.exitCode, interrupted ? 130 : 0);
        assert.equal(running.interrupted.aborted, interrupted, ending);
      }
    } finally {
      if (before === undefined) delete (stdin as { isTTY?: boolean }).isTTY;
      else Object.defineProperty(stdin, "isTTY", before);
    }
  });

  it("is not run if a signal came before", async () => {
    const out = join(folder, "never");
    const signal = AbortSignal.abort(new Interrupted("SIGTERM"));
    assert.equal(await runProgram(["touch", out], { devices: [] }, context(signal)), 143);
    assert.equal(existsSync(out), false);
  });

  it("does not hear of the devices that an outer program was lent", async () => {
    process.env["VFIOKIT_DEVICE_FD"] = "77";
    try {
      const [, out] = await lend('echo "<$VFIOKIT_DEVICE_FD>" >>"$1"', []);
      assert.equal(out, "<>\n");
    } finally {
      delete process.env["VFIOKIT_DEVICE_FD"];
    }
  });
});
