// The other pages that commands write, on screens of three widths. report_test.ts has more about the
// report of `dirty watch`.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { migrate } from "../../cli/specs/migrate/migrate.ts";
import { vfiokit } from "../cli/_cli.ts";
import { Folder } from "../cli/_folder.ts";
import { receiving } from "../cli/_receiving.ts";
import { Page, whyNoBrowser } from "./_chromium.ts";
import { assertFits, WIDTHS } from "./_fits.ts";

const skip = whyNoBrowser() ?? false;

/** Runs a command, which may find that a driver is wrong. */
async function write(words: readonly string[]): Promise<void> {
  const { code, err } = await vfiokit(words);
  assert.ok(code === 0 || code === 1, err);
}

describe("the page of", { skip }, () => {
  let folder: Folder;

  before(async () => {
    folder = new Folder();
    const at = (name: string): string => folder.file(name);
    const save = ["save", "sim:mlx5?size=4MiB", "--precopy", "-o", at("a.vfk"), "-q"];
    await write([...save, "--trace", at("a.trace")]);
    await write(["timeline", at("a.trace"), "--report", at("timeline.html")]);
    const bug = "sim:mlx5?size=64KiB&bug=stop-copy-to-running";
    await write(["check", bug, "--only", "arcs", "--report", at("check.html")]);
    const device = "sim:mlx5?size=1MiB&dma=hot:90/10:2000/s";
    const there = ["sim:mlx5?size=1MiB", "--listen", `unix:${at("socket")}`];
    const journal = ["--journal", at("journal")];
    await receiving([...there, ...journal], async (address) => {
      const words = ["migrate", device, "--map", "0x100000:16MiB", "--to", address, ...journal];
      const { code, err } = await vfiokit(
        [...words, "--downtime", "10min", "--report", at("migration.html")],
        { permissions: migrate.permissions },
      );
      assert.equal(code, 0, err);
    });
  });

  after(() => folder[Symbol.dispose]());

  for (const name of ["timeline", "check", "migration"]) {
    for (const scheme of ["light", "dark"] as const) {
      it(`${name} fits ${WIDTHS.join(", ")} pixels, ${scheme}, and fetches nothing`, async () => {
        const file = folder.file(`${name}.html`);
        await using page = await Page.open(file, { width: 360, height: 900, scheme });
        await assertFits(page, scheme);
        assert.deepEqual(page.complaints, []);
        assert.deepEqual(page.requests, [`file://${file}`]);
      });
    }
  }
});
