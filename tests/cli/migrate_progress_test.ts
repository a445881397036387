import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";
import { liveLines, type LiveShown, liveText, sourceShown } from "../../cli/migrate/progress.ts";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import type { MigrateProgress } from "../../src/live/mod.ts";
import { until } from "../_until.ts";
import { vfiokit } from "./_cli.ts";
import { Folder } from "./_folder.ts";
import { receiving } from "./_receiving.ts";
import { screenLines } from "./_screen.ts";
import { atTerminal, CTRL_C } from "./_terminal.ts";

const MIB = 2 ** 20;

const PROGRESS: MigrateProgress = {
  phase: "pre-copy",
  id: "0123456789abcdef0123456789abcdef",
  rounds: [{
    sent: 512 * MIB,
    seconds: 4,
    sending: 4,
    looked: 512 * MIB,
    looking: 0.1,
    dirtied: 48 * MIB,
    left: 50 * MIB,
  }],
  bytes: { memory: 510 * MIB, zero: 0, same: 0, device: 2 * MIB },
  sent: 512 * MIB,
  left: 12 * MIB,
  step: null,
  bandwidth: 128 * MIB,
  expectedDowntimeMs: 390,
  warnings: [],
  unansweredMs: 0,
};

const SHOWN: LiveShown = sourceShown("sim:mlx5?size=8MiB&dma=random:3000/s", PROGRESS, 96 * MIB);

describe("what is shown of a migration", () => {
  const blocks: readonly (readonly [columns: number, lines: readonly string[]])[] = [
    [57, [
      "Moving sim:mlx5?size=8MiB&dma=random:…  pre-copy, round 2",
      "  12.0 MiB left  dirty rate 12.0 MiB/s",
      "  bandwidth 96.0 MiB/s  expected downtime 390.0 ms",
    ]],
    [77, [
      "Moving sim:mlx5?size=8MiB&dma=random:3000/s  pre-copy, round 2",
      "  12.0 MiB left  dirty rate 12.0 MiB/s  bandwidth 96.0 MiB/s",
      "  expected downtime 390.0 ms",
    ]],
    [157, [
      "Moving sim:mlx5?size=8MiB&dma=random:3000/s  pre-copy, round 2",
      "  12.0 MiB left  dirty rate 12.0 MiB/s  bandwidth 96.0 MiB/s  expected downtime 390.0 ms",
    ]],
  ];
  for (const [columns, lines] of blocks) {
    it(`has all facts in ${columns} columns`, () => {
      assert.deepEqual(liveLines(SHOWN, columns), lines);
    });
  }

  it("never exceeds the width, and loses no fact from 50 columns on", () => {
    for (let columns = 1; columns <= 200; columns++) {
      const lines = liveLines({ ...SHOWN, silentSeconds: 75 }, columns);
      for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
      if (columns < 50) continue;
      const block = lines.join("\n");
      for (
        const fact of [SHOWN.state, ...SHOWN.facts, "no answer from the driver for 1 min 15 s"]
      ) {
        assert.ok(block.includes(fact), `${columns}: ${fact} in ${block}`);
      }
    }
  });

  it("has the same facts as text", () => {
    assert.equal(
      liveText(SHOWN),
      "Moving sim:mlx5?size=8MiB&dma=random:3000/s: pre-copy, round 2, 12.0 MiB left, " +
        "dirty rate 12.0 MiB/s, bandwidth 96.0 MiB/s, expected downtime 390.0 ms",
    );
  });

  it("says what is not known yet, what the devices stand still for, and no downtime in numbers without end", () => {
    const first = sourceShown("a", { ...PROGRESS, rounds: [], expectedDowntimeMs: null }, 0);
    assert.equal(first.state, "pre-copy, round 1");
    assert.match(liveText(first), /dirty rate not known yet, .* downtime not known yet$/);
    const stopped = sourceShown("a", { ...PROGRESS, phase: "stopped", step: "device data" }, 0);
    assert.equal(stopped.state, "stopped: device data");
    const never = sourceShown("a", { ...PROGRESS, expectedDowntimeMs: Infinity }, 0);
    assert.match(liveText(never), /expected downtime unknown$/);
    assert.equal(sourceShown("a\u001bb", PROGRESS, 0).name, "a\\u001bb");
  });
});

/** A source whose driver does not answer: its pre-copy goes on until it is killed. */
const BLOCKED = ["sim:mlx5?size=8MiB&fault=block:60s:3", "--map", "0x100000:256KiB"];
const { permissions } = migrate;
const SILENT = /no answer from the driver for 3 s/;
const WAITING = /still waiting[^]*at once\r?\n/;

describe("a migration's progress", () => {
  it("is one block at any width, and the notice of Ctrl-C is a line of its own", async () => {
    await Promise.all([60, 100, 160].map(async (columns) => {
      using folder = new Folder();
      const [socket, journal] = [folder.file("socket"), ["--journal", folder.file("journal")]];
      const there = ["sim:mlx5?size=8MiB", "--listen", `unix:${socket}`, ...journal];
      await receiving(there, async () => {
        const { code, screen } = await atTerminal(
          ["migrate", ...BLOCKED, "--to", `unix:${socket}`, ...journal],
          columns,
          [[SILENT, CTRL_C], [WAITING, CTRL_C]],
          { permissions },
        );
        assert.equal(code, 130, screen);
        const seen = screen.indexOf("no answer");
        const block = screenLines(screen.slice(0, screen.indexOf("\x1b[?7h", seen)));
        assert.match(block[0]!, /^Moving sim:mlx5\S* {2}pre-copy, round 1$/);
        for (const fact of [/\d \S*B left/, /dirty rate /, /bandwidth /, SILENT]) {
          assert.match(block.join(" "), fact);
        }
        for (const line of block) assert.ok(line.length <= columns - 3, line);
        const notice = screenLines(screen).filter((line) => line !== "" && line !== "^C");
        assert.deepEqual(
          notice.map((line) => line.replace(/^(vfiokit: SIGINT[^:]*): .*$/, "$1")),
          ["vfiokit: SIGINT", "vfiokit: SIGINT again"],
        );
      });
    }));
  });

  it("is lines if stderr is no terminal", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    const journal = ["--journal", folder.file("journal")];
    await receiving(["sim:mlx5?size=8MiB", "--listen", `unix:${socket}`, ...journal], async () => {
      const words = ["migrate", ...BLOCKED, "--to", `unix:${socket}`, ...journal];
      const { code, err } = await vfiokit(words, {
        permissions,
        started(child): void {
          let text = "";
          child.stderr?.on("data", (chunk: Uint8Array) => {
            const before = text;
            text += new TextDecoder().decode(chunk);
            // Not child.kill: Deno then reports the signal as the end, whatever the exit code was.
            for (const seen of [SILENT, WAITING]) {
              if (seen.test(text) && !seen.test(before)) process.kill(child.pid!, "SIGINT");
            }
          });
        },
      });
      assert.equal(code, 130, err);
      assert.match(
        err,
        /^Moving sim:mlx5.*: pre-copy, round 1, .* left, dirty rate not known yet, bandwidth .*, expected downtime not known yet, no answer from the driver for 3 s$/m,
      );
    });
  });

  it("is nothing with -q, on either side", async () => {
    using folder = new Folder();
    const socket = folder.file("socket");
    const words = ["-q", "--journal", folder.file("journal")];
    // -q says nothing of where it waits: the source is told to come once there is a socket.
    const taken = vfiokit(
      ["receive", "sim:mlx5?size=64KiB", "--listen", `unix:${socket}`, ...words],
      { permissions },
    );
    await until(() => existsSync(socket), "the socket of receive");
    const device = ["sim:mlx5?size=64KiB", "--map", "0x100000:256KiB", "--downtime", "10min"];
    const line = ["migrate", ...device, "--to", `unix:${socket}`, ...words];
    const moved = await vfiokit(line, { permissions });
    for (const { code, out, err } of [moved, await taken]) {
      assert.deepEqual([code, out, err], [0, "", ""]);
    }
  });
});
