/**
 * The commands about dirty pages: what a program inherits, and a container that
 * is borrowed from another process.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { withPair } from "../device.ts";
import { type Case, firstKernel } from "../harness.ts";
import {
  bun,
  deno,
  expectExit,
  lastJson,
  quoted,
  reported,
  vfiokit,
  wholeJson,
} from "../programs.ts";

const MAP = ["--map", "0x100000:1MiB", "--map", "4GiB:1MiB"];

/** What a round of `dirty watch --json` says, as far as it matters here. */
interface Sample {
  readonly round: number;
  readonly pages: number;
  readonly mappings: readonly unknown[];
}

/** The cases. */
export const cases: readonly Case[] = firstKernel([
  ...[deno, bun].map((runtime): Case => ({
    name: `dirty cli: a program inherits all fds, in ${runtime === deno ? "Deno" : "Bun"}`,
    run: (folder) =>
      withPair("trapped", {}, async ({ uuid }) => {
        const script = 'for fd in 3 4 5 6; do readlink /proc/self/fd/$fd; done > "$1/fds"; ' +
          'printf %s "$VFIOKIT_MAPPINGS" > "$1/mappings"; exit 7';
        const watch = [...vfiokit(runtime), "dirty", "watch", uuid, ...MAP, "--json", "--quiet"];
        const ended = await expectExit(7, [...watch, "--", "sh", "-c", script, "sh", folder]);
        const { round, pages, mappings } = lastJson<Sample>(reported(ended));
        assert.ok(round >= 1);
        assert.deepEqual([pages, mappings.length], [0, 2]);
        const fds = readFileSync(`${folder}/fds`, "utf8").trim().split("\n");
        assert.equal(fds.length, 4);
        assert.match(fds[1]!, /^\/dev\/vfio\/\d+$/);
        assert.equal(fds[2], "/dev/vfio/vfio");
        assert.match(fds[3]!, /memfd:vfiokit-dma/);
        assert.deepEqual(JSON.parse(readFileSync(`${folder}/mappings`, "utf8")), [
          { iova: "0x100000", size: 1048576, offset: 0 },
          { iova: "0x100000000", size: 1048576, offset: 1048576 },
        ]);
      }),
  })),
  {
    name: "dirty cli: a borrowed container is read by what its owner mapped, and left as it was",
    run: () =>
      withPair("trapped", {}, async ({ uuid }) => {
        const borrowed = ["fd:3", "--group-fd", "4", "--container-fd", "5"];
        const get = ["dirty", "get", ...borrowed, "--after", "1ms", "--json", "--quiet"];
        const inner = [
          [...vfiokit(), ...get, "--mapping", "0x100000:1MiB", "--map", "8GiB:4KiB"],
          // What the first one mapped is gone, what the owner mapped is still there.
          [...vfiokit(), ...get, "--mapping", "0x100000:1MiB", "--map", "8GiB:4KiB"],
        ].map(quoted).join(" && ");
        const outer = ["unmap", uuid, "--map", "0x100000:1MiB", "--iova", "0x100000"];
        const words = [
          ...vfiokit(),
          ...outer,
          "--size",
          "1MiB",
          "--with-dirty",
          "--json",
          "--quiet",
        ];
        const { stdout, stderr } = await expectExit(0, [...words, "--", "sh", "-c", inner]);
        const { unmapped, mappingsLeft } = JSON.parse(stderr);
        assert.deepEqual([unmapped, mappingsLeft], [1048576, []]);
        const documents = stdout.split(/^(?=\{$)/m).filter((text) => text.startsWith("{"));
        for (const text of documents) {
          const { pages, mappings } = JSON.parse(text);
          assert.deepEqual([pages, mappings.length], [0, 2]);
        }
        assert.equal(documents.length, 2, stdout);
      }),
  },
  {
    name: "dirty cli: SIGTERM ends the program, then the watch; the device can be opened again",
    run: (folder) =>
      withPair("trapped", {}, async ({ uuid }) => {
        const report = ["--report", `${folder}/report.html`];
        const watch = [...vfiokit(), "dirty", "watch", uuid, ...MAP, ...report];
        const script = 'kill -TERM "$PPID"; sleep 60';
        await expectExit(143, [...watch, "--", "sh", "-c", script]);
        assert.match(readFileSync(`${folder}/report.html`, "utf8"), /working set/);
        const words = [...vfiokit(), "dirty", "get", uuid, ...MAP, "--after", "1ms", "--json"];
        assert.equal(wholeJson<Sample>(await expectExit(0, words)).pages, 0);
      }),
  },
]);
