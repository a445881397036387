/** Pieces of a page of HTML. */

import { createHash } from "node:crypto";
import { printable } from "../../src/base/printable.ts";
import { shortTime } from "../output/format.ts";

/** Text as HTML shows it. */
export function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
  };
  return printable(text).replace(/[&<>"]/g, (letter) => entities[letter] ?? letter);
}

/** A value as JSON that a script element can hold: a `</script>` in it would end it. */
export function jsonFor(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

/** A share of 1, such as `12 %`, with more digits if it is small. */
export function percent(share: number): string {
  return `${Number((share * 100).toPrecision(share < 0.1 ? 2 : 3))} %`;
}

/** A share as a bar and a number. */
export function meter(share: number): string {
  return `<meter value="${share.toFixed(4)}"></meter>${percent(share)}`;
}

/** Numbers that sum up a page, each with its name and what more there is to say. */
export function tiles(
  all: readonly (readonly [name: string, value: string, more: string])[],
): string {
  const items = all.map(([name, value, more]) =>
    `<div><dt>${name}</dt><dd>${value}</dd><dd>${more}</dd></div>`
  );
  return `<dl class="tiles">${items.join("")}</dl>`;
}

/** What a reader should know; nothing without notes. */
export function noteList(notes: Iterable<string>): string {
  const items = [...notes].map((note) => `<li>${escape(note)}</li>`);
  return items.length === 0 ? "" : `<ul class="notes">${items.join("")}</ul>`;
}

/** A part of a page, with its heading. */
export function section(title: string, caption: string, body: string): string {
  return `<section><h2>${title}</h2><p>${caption}</p>${body}</section>`;
}

/** A part of a time that things follow each other in. */
export interface TimePart {
  /** What it is. */
  readonly name: string;
  /** Its class, which has a colour. */
  readonly kind: string;
  /** How long it took. */
  readonly seconds: number;
}

/** Where a time went: its parts, each where it lay in the whole. */
export function waterfall(caption: string, parts: readonly TimePart[]): string {
  const sum = Math.max(1e-9, parts.reduce((all, { seconds }) => all + seconds, 0));
  let at = 0;
  const rows = parts.map(({ name, kind, seconds }) => {
    const [x, wide] = [at / sum * 1000, Math.max(3, seconds / sum * 1000)];
    at += seconds;
    // Stretched to the width that there is: it has no text that would be stretched with it.
    const took = shortTime(seconds * 1e6);
    const place = `x="${Math.min(x, 1000 - wide).toFixed(2)}" width="${wide.toFixed(2)}"`;
    const bar = `<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" ` +
      `aria-label="${escape(name)}"><rect class="${kind}" ${place} height="10">` +
      `<title>${escape(name)}: ${took}</title></rect></svg>`;
    return [escape(name), took, bar];
  });
  return table("Downtime", caption, ["step", "time", "when"], rows);
}

/** A table with a heading; its cells are HTML, the first one of a row is code. */
export function table(
  title: string,
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const head = heads.map((text) => `<th scope="col">${text}</th>`).join("");
  // On a phone each row is a list, and a cell shows its heading.
  const cell = (text: string, column: number): string =>
    `<td data-head="${heads[column]}"${column === 0 ? ' class="code"' : ""}>${text}</td>`;
  const body = rows.map((cells) => `<tr>${cells.map(cell).join("")}</tr>`).join("");
  return `<section><h2>${title}</h2><p>${caption}</p><div class="wide"><table><thead><tr>${head}` +
    `</tr></thead><tbody>${body}</tbody></table></div></section>`;
}

/** A chart with its heading; `more` is HTML between the two. */
export function figure(id: string, title: string, caption: string, more = ""): string {
  return `<figure><figcaption><h2>${title}</h2><p>${caption}</p></figcaption>${more}` +
    `<div class="chart" id="${id}" role="img" aria-label="${title}: ${caption}"></div></figure>`;
}

/** The parts of a page. */
export interface PageParts {
  /** The title: text. */
  readonly title: string;
  /** One stylesheet. */
  readonly style: string;
  /** The body: HTML. */
  readonly body: string;
  /** The data for the scripts, which find it as JSON in `#data`. */
  readonly data: unknown;
  /** The scripts, in their order. The last one is a module. */
  readonly scripts: readonly string[];
}

/** A whole page that loads nothing from elsewhere: its content security policy forbids it. */
export function page({ title, style, body, data, scripts }: PageParts): string {
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(hash).join(" ")}`,
    `style-src ${hash(style)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const elements = scripts.map((script, index) =>
    `<script${index === scripts.length - 1 ? ' type="module"' : ""}>${script}</script>`
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
${body}
<script type="application/json" id="data">${jsonFor(data)}</script>
${elements.join("\n")}
</body>
</html>
`;
}

function hash(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
