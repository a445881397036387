/**
 * The documentation as a static site: README, CHANGELOG and docs as pages, with the reference of
 * the library from its docstrings. `deno task site` writes it to dist/site.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { Marked, type Token } from "marked";
import { gfmHeadingId } from "marked-gfm-heading-id";
import deno from "../../deno.json" with { type: "json" };

const PROJECT = path.join(import.meta.dirname!, "../..");

/** Where the reference is in the site. */
export const REFERENCE = "reference/index.html";

/** A page of the site. */
interface Page {
  /** Its Markdown, by path in the project. */
  readonly source: string;
  /** Its path in the site. */
  readonly target: string;
  readonly title: string;
}

/** Writes all pages to a folder, which is made anew; without the reference. */
export function writePages(folder: string): void {
  fs.rmSync(folder, { recursive: true, force: true });
  const docs = fs.readdirSync(path.join(PROJECT, "docs"), { recursive: true, encoding: "utf8" })
    .map((name) => `docs/${name}`).sort();
  const pages = ["README.md", ...docs, "CHANGELOG.md"].filter((name) => name.endsWith(".md"))
    .map(readPage);
  for (const page of pages) write(folder, page.target, html(page, pages));
  // What pages show or link to: pictures, the man page.
  for (const name of docs.filter((name) => /\.(?:png|1)$/.test(name))) {
    write(folder, name, fs.readFileSync(path.join(PROJECT, name)));
  }
  for (const name of ["LICENSE"]) write(folder, name, fs.readFileSync(path.join(PROJECT, name)));
  write(folder, "site.css", fs.readFileSync(path.join(import.meta.dirname!, "site.css")));
}

/** Writes the reference of the library into the site; in Deno only, which has the builder. */
export function writeReference(folder: string): void {
  const doors = Object.entries(deno.exports).filter(([door]) => door !== "./cli")
    .map(([, file]) => file);
  const output = path.join(folder, path.dirname(REFERENCE));
  const words = ["doc", "--quiet", "--html", "--name=vfiokit", `--output=${output}`, ...doors];
  const { status, stderr } = spawnSync(process.execPath, words, { cwd: PROJECT, encoding: "utf8" });
  if (status !== 0) throw new Error(`deno doc ended with ${status}: ${stderr}`);
  const narrow = fs.readFileSync(path.join(import.meta.dirname!, "reference.css"));
  fs.appendFileSync(path.join(output, "page.css"), narrow);
}

function readPage(source: string): Page {
  const [, title] = /^# (.*)$/m.exec(read(source))!;
  return { source, target: targetOf(source), title: title!.replaceAll("`", "") };
}

/** The page of a file of Markdown. */
function targetOf(source: string): string {
  return source.replace(/README\.md$/, "index.html").replace(/\.md$/, ".html");
}

function read(source: string): string {
  return fs.readFileSync(path.join(PROJECT, source), "utf8");
}

/** A page as HTML, with links to all others. */
function html({ source, target, title }: Page, pages: readonly Page[]): string {
  const to = (other: string): string => path.posix.relative(path.posix.dirname(target), other);
  const marked = new Marked(gfmHeadingId(), { walkTokens: linkToPage });
  const link = ({ target: other, title }: Page): string =>
    other === target
      ? `<li><a aria-current="page" href="${to(other)}">${escape(title)}</a></li>`
      : `<li><a href="${to(other)}">${escape(title)}</a></li>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<link rel="stylesheet" href="${to("site.css")}">
<nav>
<details><summary>All pages</summary>
<ul>
${pages.map(link).join("\n")}
<li><a href="${to(REFERENCE)}">Reference of the library</a></li>
</ul>
</details>
</nav>
<main>
${marked.parse(read(source), { async: false })}
</main>
</html>
`;
}

/** Lets a link to Markdown lead to its page. */
function linkToPage(token: Token): void {
  if (token.type !== "link" || /^[a-z]+:/.test(token["href"])) return;
  const [file, anchor] = token["href"].split("#");
  token["href"] = [targetOf(file), ...anchor === undefined ? [] : [anchor]].join("#");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function write(folder: string, name: string, content: string | Uint8Array): void {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
}

if (import.meta.main) {
  const folder = path.join(PROJECT, "dist/site");
  writePages(folder);
  writeReference(folder);
  process.stdout.write(`${path.join(folder, "index.html")}\n`);
}
