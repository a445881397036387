import assert from "node:assert/strict";
import { statSync, writeFileSync } from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import { ProgressMeter } from "../../cli/output/progress.ts";
import { progressLine, progressText, type Shown } from "../../cli/output/progress_line.ts";
import { qemuStream } from "../vmm/_qemu_stream.ts";
import { command, vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { atTerminal, CTRL_C, lineAtTerminal } from "./_terminal.ts";
import { shellWord } from "../../src/vfio/mod.ts";

const MIB = 2 ** 20;

const SHOWN: Shown = {
  verb: "Saving",
  name: "sim:nvidia-vgpu?size=512MiB&rate=100MiB&seed=7",
  state: "pre-copy",
  bytes: 128 * MIB,
  pendingBytes: 384 * MIB,
  part: 0.25,
  rate: 96 * MIB,
  secondsLeft: 4,
  silentSeconds: null,
};

describe("the line of progress", () => {
  const lines: readonly (readonly [columns: number, line: string])[] = [
    [60, "Saving sim:nvidia-vgpu…   25%  pre-copy  96.0 MiB/s  ETA 4 s"],
    [80, "Saving sim:nvidia-…  [==-------]   25%  pre-copy  128.0 MiB  96.0 MiB/s  ETA 4 s"],
    [
      100,
      "Saving sim:nvidia-…  [===-------]   25%  pre-copy  128.0 MiB  96.0 MiB/s  384.0 MiB pending  ETA 4 s",
    ],
    [
      160,
      `Saving ${SHOWN.name}  [======------------------]   25%  pre-copy  128.0 MiB  96.0 MiB/s  384.0 MiB pending  ETA 4 s`,
    ],
  ];
  for (const [columns, line] of lines) {
    it(`fits ${columns} columns, with the percentage and the rate`, () => {
      assert.equal(progressLine(SHOWN, columns), line);
    });
  }

  it("never exceeds the width, and has the percentage and the rate as long as they fit", () => {
    for (const silentSeconds of [null, 3, 75, 7500]) {
      for (let columns = 1; columns <= 200; columns++) {
        const line = progressLine({ ...SHOWN, silentSeconds }, columns);
        assert.ok(line.length <= columns, `${columns}: ${line}`);
        assert.doesNotMatch(line, /\n/);
        if (columns >= 14) assert.match(line, /25% .*96\.0 MiB\/s|25% 96/);
      }
    }
  });

  it("shortens the bar and the name before it leaves anything out", () => {
    const facts = " 25%  pre-copy  128.0 MiB  96.0 MiB/s  384.0 MiB pending  ETA 4 s";
    const least = `Saving sim:nvidia-…  ${facts}`.length;
    assert.equal(progressLine(SHOWN, least), `Saving sim:nvidia-…  ${facts}`);
    assert.doesNotMatch(progressLine(SHOWN, least - 1), /pending/);
  });

  it("never cuts a PCI address", () => {
    for (let columns = 40; columns <= 160; columns++) {
      const line = progressLine({ ...SHOWN, name: "0000:3b:00.1" }, columns);
      assert.ok(line.startsWith("Saving 0000:3b:00.1 "), line);
    }
  });

  for (const columns of [60, 80, 100, 160]) {
    it(`says in ${columns} columns that the driver does not answer`, () => {
      const line = progressLine(
        { ...SHOWN, silentSeconds: 3.2, rate: 0, secondsLeft: null },
        columns,
      );
      assert.ok(line.length <= columns, line);
      assert.match(line, /25% .*0 B\/s.*no answer from the driver for 3 s$/);
    });
  }

  it("has no percentage and no bar if it is not known how much there is", () => {
    const file = { ...SHOWN, verb: "Verifying", name: "stdin", state: "", part: null };
    const shown = { ...file, pendingBytes: null, secondsLeft: null };
    assert.equal(progressLine(shown, 80), "Verifying stdin  128.0 MiB  96.0 MiB/s");
    assert.equal(progressLine(shown, 12), "96.0 MiB/s");
    assert.equal(progressText(shown), "Verifying stdin: 128.0 MiB, 96.0 MiB/s");
  });

  it("has the same facts as text", () => {
    assert.equal(
      progressText({ ...SHOWN, name: "0000:3b:00.1", secondsLeft: 7384, silentSeconds: 200 }),
      "Saving 0000:3b:00.1: pre-copy, 128.0 MiB, 96.0 MiB/s, 384.0 MiB pending, ETA 2 h 3 min, " +
        "no answer from the driver for 3 min 20 s",
    );
  });
});

describe("the meter of progress", () => {
  /** A meter at a clock that the test sets. */
  function metered(total?: number): {
    at: (now: number, bytes: number, pendingBytes: number | null, unansweredMs?: number) => Shown;
  } {
    let now = 0;
    let progress = { bytes: 0, pendingBytes: null as number | null, unansweredMs: 0 };
    const meter = new ProgressMeter({
      verb: "Saving",
      name: "a\u001bb",
      now: () => ({ state: "stop-and-copy", transactions: 0, ...progress }),
      total,
    }, () => now);
    return {
      at: (time, bytes, pendingBytes, unansweredMs = 0): Shown => {
        now = time;
        progress = { bytes, pendingBytes, unansweredMs };
        return meter.sample();
      },
    };
  }

  it("has the rate of the last two seconds, and the time that the rest takes at it", () => {
    const { at } = metered();
    assert.equal(at(1000, 10 * MIB, 30 * MIB).rate, 10 * MIB);
    assert.equal(at(1000, 10 * MIB, 30 * MIB).secondsLeft, 3);
    assert.equal(at(1000, 10 * MIB, 30 * MIB).part, 0.25);
    at(4000, 40 * MIB, 100 * MIB);
    const { rate, secondsLeft } = at(5000, 60 * MIB, 100 * MIB);
    assert.equal(rate, 20 * MIB);
    assert.equal(secondsLeft, 5);
  });

  it("knows no time left without a rate or pending bytes, and takes a known total first", () => {
    const { at } = metered();
    assert.equal(at(1000, 0, 5 * MIB).secondsLeft, null);
    const unknown = at(2000, MIB, null);
    assert.deepEqual([unknown.part, unknown.secondsLeft], [null, null]);
    const known = metered(8 * MIB).at(1000, 2 * MIB, null);
    assert.deepEqual([known.part, known.secondsLeft], [0.25, 3]);
  });

  it("begins anew if the next phase counts from 0", () => {
    const { at } = metered();
    at(1000, 50 * MIB, 10 * MIB);
    const { rate } = at(2000, MIB, 9 * MIB);
    assert.equal(rate, 0);
    assert.equal(at(3000, 3 * MIB, 7 * MIB).rate, 3 * MIB);
  });

  it("reports a driver that does not answer from three seconds on, and escapes the name", () => {
    const { at } = metered();
    assert.equal(at(1000, 0, null, 2999).silentSeconds, null);
    assert.equal(at(1000, 0, null, 3000).silentSeconds, 3);
    assert.equal(at(1000, 0, null).name, "a\\u001bb");
  });
});

describe("progress at a terminal", () => {
  const WIDTHS = [60, 80, 100, 160];

  it("leaves the notice after Ctrl-C on a line of its own, whatever the width", async () => {
    using folder = new Folder();
    const sessions = WIDTHS.map((columns) =>
      atTerminal(
        ["save", "sim:mapped?size=8MiB&fault=block:60s:3", "-o", folder.file(`${columns}.vfk`)],
        columns,
        [[/no answer from the driver for 3 s/, CTRL_C], [/still waiting[^]*at once\r\n/, CTRL_C]],
      )
    );
    for (const [index, { code, screen }] of (await Promise.all(sessions)).entries()) {
      assert.equal(code, 130, screen);
      const lines = screen.split("\r\n").map((line) => line.split("\r\x1b[K").at(-1)!);
      const notice = lines.filter((line) => line.includes("still waiting"));
      assert.equal(notice.length, 1, screen);
      assert.match(notice[0]!, /^vfiokit: SIGINT: still waiting, .* gives up at once$/);
      assert.ok(lines.some((line) => line.startsWith("vfiokit: SIGINT again: gave up")), screen);
      for (const drawn of screen.split("\x1b[?7l").slice(1)) {
        assert.ok(drawn.indexOf("\x1b[K") <= WIDTHS[index]! - 3, drawn);
      }
    }
  });
});

describe("progress of files at a terminal", () => {
  const PAUSED = { script: "tests/cli/_paused_file.ts" };

  /** What the commands that read a checkpoint call that, and how they end. */
  const readers = [
    { words: ["verify"], verb: "Verifying", ends: ": sound, " },
    { words: ["show"], verb: "Reading", ends: ": a checkpoint, version " },
    { words: ["restore", "sim:mapped?size=3MiB"], verb: "Verifying", ends: "Restored sim:mapped" },
  ];
  for (const { words, verb, ends } of readers) {
    it(`says how far the file was read, and erases that before the result: ${words[0]}`, async () => {
      using folder = new Folder();
      const file = folder.file("a.vfk");
      assert.equal((await vfiokit(["save", "sim:mapped?size=3MiB", "-o", file])).code, 0);
      const { code, screen } = await atTerminal([...words, file], 140, [], PAUSED);
      assert.equal(code, 0, screen);
      const percent = Math.floor(2 ** 20 / statSync(file).size * 100);
      const part = `${verb} ${file}  [========----------------]   ${percent}%  1.0 MiB  `;
      const drawn = screen.indexOf(part);
      assert.notEqual(drawn, -1, screen);
      const erased = screen.indexOf("\r\x1b[K", drawn);
      assert.ok(erased !== -1 && erased < screen.indexOf(ends, drawn), screen);
    });
  }

  it("says how far the files of a folder were read", async () => {
    using folder = new Folder();
    const at = folder.file("chain");
    const device = "sim:mlx5?size=2MiB";
    const words = ["checkpoint", device, "--map", "0:1MiB", "-o", at];
    assert.equal((await vfiokit(words)).code, 0);
    const part = Math.floor(2 ** 20 / statSync(`${at}/000000.vfk`).size * 100);
    const [shown, restored] = await Promise.all([
      atTerminal(["show", at], 140, [], PAUSED),
      atTerminal(["restore", device, `${at}@0`], 160, [], PAUSED),
    ]);
    const bar = "[============------------]";
    for (
      const [{ code, screen }, line, ends] of [
        [shown, `Reading ${at}  ${bar}   ${part}%  1.0 MiB  `, `${at}: 1 checkpoint`],
        [restored, `Verifying ${at}@0  ${bar}   ${part}%  1.0 MiB  `, "Restoring"],
        [restored, `Restoring ${device}  ${bar}   ${part}%  resuming  1.0 MiB  `, "Restored"],
      ] as const
    ) {
      assert.equal(code, 0, screen);
      const drawn = screen.indexOf(line);
      assert.notEqual(drawn, -1, screen);
      const erased = screen.indexOf("\r\x1b[K", drawn);
      assert.ok(erased !== -1 && erased < screen.indexOf(ends, drawn), screen);
    }
  });

  for (const option of ["--quiet", "--json"]) {
    it(`draws nothing with ${option}`, async () => {
      using folder = new Folder();
      const file = folder.file("a.vfk");
      assert.equal((await vfiokit(["save", "sim:mapped?size=3MiB", "-o", file])).code, 0);
      const { code, screen } = await atTerminal(["verify", file, option], 140, [], PAUSED);
      assert.equal(code, 0, screen);
      assert.ok(!screen.includes("Verifying") && !screen.includes("\x1b"), screen);
    });
  }

  it("draws nothing where stderr is no terminal", async () => {
    using folder = new Folder();
    const file = folder.file("a.vfk");
    assert.equal((await vfiokit(["save", "sim:mapped?size=3MiB", "-o", file])).code, 0);
    const { code, err } = await vfiokit(["verify", file], PAUSED);
    assert.deepEqual([code, err], [0, ""]);
  });

  it("says how much of the state import has written", async () => {
    using folder = new Folder();
    const [guest, fifo] = [folder.file("guest"), folder.file("fifo")];
    const stopCopy = Array.from({ length: 8 }, () => new Uint8Array(MIB));
    writeFileSync(guest, qemuStream({ devices: [{ name: "0000:00:05.0/vfio", stopCopy }] }));
    const words = [...command(), "import", "qemu", guest, "-o", fifo].map(shellWord).join(" ");
    // Nobody reads the fifo before a line was typed.
    const line =
      `stty cols 140 rows 24; mkfifo ${fifo}; exec 3<>${fifo}; ${words} 3>&- & pid=$!; ` +
      `read -r _; cat <${fifo} >/dev/null 3>&- & wait $pid; code=$?; exec 3>&-; wait; exit $code`;
    const { code, screen } = await lineAtTerminal(line, process.env, (child) => {
      let seen = "";
      child.stdout.on("data", (chunk: string) => {
        const before = /Importing/.test(seen);
        seen += chunk;
        if (!before && /Importing/.test(seen)) child.stdin.write("\n");
      });
    });
    assert.equal(code, 0, screen);
    const drawn = screen.split("\x1b").find((line) => line.includes("Importing"));
    assert.match(drawn ?? "", /Importing \S+guest {2}\[[=-]{24}\] +\d+% .* MiB pending/);
    assert.match(screen, /Imported 0000:00:05\.0 from /);
  });
});
