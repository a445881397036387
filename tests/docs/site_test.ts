import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { IN_DENO } from "../cli/_cli.ts";
import { Folder } from "../cli/_folder.ts";
import { REFERENCE, writePages, writeReference } from "./site.ts";

/** Where a link of a page leads, in the site; null for another site. */
function destination(page: string, href: string): { file: string; anchor: string } | null {
  if (/^[a-z]+:/.test(href)) return null;
  const [file, anchor = ""] = href.split("#");
  return {
    file: file === "" ? page : path.join(path.dirname(page), decodeURIComponent(file!)),
    anchor: decodeURIComponent(anchor),
  };
}

describe("the site", () => {
  let folder: Folder;
  let root = "";
  let pages: string[] = [];

  before(() => {
    folder = new Folder();
    root = folder.file("site");
    writePages(root);
    pages = fs.readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".html"));
  });

  after(() => folder[Symbol.dispose]());

  const read = (page: string): string => fs.readFileSync(path.join(root, page), "utf8");

  it("has a page for each file of documentation", () => {
    for (const page of ["index", "CHANGELOG", "docs/usage", "docs/tutorials/lab-engineer"]) {
      assert.ok(pages.includes(`${page}.html`), page);
    }
    assert.match(read("docs/errors.html"), /<h3 id="transfererror">TransferError<\/h3>/);
  });

  it("has links that lead to pages, and to headings of them", () => {
    const dead: string[] = [];
    let links = 0;
    for (const page of pages) {
      for (const [, href] of read(page).matchAll(/(?:href|src)="([^"]*)"/g)) {
        const to = destination(page, href!);
        if (to === null || to.file === REFERENCE) continue;
        links += 1;
        const missing = !fs.existsSync(path.join(root, to.file)) ||
          (to.anchor !== "" && !read(to.file).includes(`id="${to.anchor}"`));
        if (missing) dead.push(`${page}: ${href}`);
      }
    }
    assert.ok(links > 100);
    assert.deepEqual(dead, []);
  });

  it("fetches nothing from elsewhere", () => {
    for (const page of pages) {
      assert.doesNotMatch(read(page), /<(?:img|script|link|iframe)\b[^>]*="(?:https?:)?\/\//, page);
    }
  });

  it("has the reference, with the docstrings of each front door", {
    skip: IN_DENO ? false : "deno doc writes it",
  }, () => {
    writeReference(root);
    assert.ok(fs.existsSync(path.join(root, REFERENCE)));
    const reference = fs.readdirSync(path.dirname(path.join(root, REFERENCE)));
    for (const door of ["check", "checkpoint", "dirty", "live", "sim", "trace", "vfio", "vmm"]) {
      assert.ok(reference.includes(door), door);
    }
  });
});
