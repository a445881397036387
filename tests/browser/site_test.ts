import assert from "node:assert/strict";
import * as fs from "node:fs";
import { after, before, describe, it } from "node:test";
import { IN_DENO } from "../cli/_cli.ts";
import { Folder } from "../cli/_folder.ts";
import { writePages, writeReference } from "../docs/site.ts";
import { Page, whyNoBrowser } from "./_chromium.ts";
import { assertFits, WIDTHS } from "./_fits.ts";

const skip = whyNoBrowser() ?? false;

function htmlIn(folder: string): string[] {
  return fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".html")).map((name) => `${folder}/${name}`);
}

describe("the site in a browser", { skip }, () => {
  let folder: Folder;
  let root = "";
  let pages: string[] = [];

  before(() => {
    folder = new Folder();
    root = folder.file("site");
    writePages(root);
    pages = htmlIn(root);
    // Deno writes the reference: thousands of pages, of which these are one of each kind.
    if (!IN_DENO) return;
    writeReference(root);
    const doors = htmlIn(`${root}/reference`).filter((file) => /\/index\.html$/.test(file));
    pages.push(...doors, `${root}/reference/~/save.html`, `${root}/reference/~/Device.html`);
  });

  after(() => folder[Symbol.dispose]());

  for (const scheme of ["light", "dark"] as const) {
    it(`fits ${WIDTHS.join(", ")} pixels, ${scheme}, and fetches nothing`, async () => {
      await using page = await Page.open(pages[0]!, { width: 360, height: 900, scheme });
      for (const [index, file] of pages.entries()) {
        if (index > 0) await page.go(file);
        await assertFits(page, scheme);
      }
      assert.deepEqual(page.complaints, []);
      const elsewhere = page.requests.filter((address) => !address.startsWith(`file://${root}/`));
      assert.deepEqual(elsewhere, []);
    });
  }
});
