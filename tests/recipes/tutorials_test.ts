// The tutorials of docs/tutorials, command by command, and what a reader sees. Numbers with their
// units, such as sizes and times, may differ; `…` stands for any lines, or the rest of one.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import deno from "../../deno.json" with { type: "json" };
import { IN_DENO, projectFile } from "../cli/_cli.ts";
import { readBlocks } from "./_recipe.ts";
import { ShellFolder } from "./_shell_folder.ts";

const TUTORIALS = ["lab-engineer", "driver-author", "library-user"];

/** Ends what a command printed. */
const MARK = "---- end of a command ----";

/** What is printed each second where stderr is no terminal, so that a fast machine shows none. */
const PROGRESS = /^(?:Saving|Restoring) .*: .* [KMG]?i?B\/s(?:, .*)?\n/gm;

/** A command, and what a reader sees of it. */
interface Shown {
  readonly line: string;
  readonly output: readonly string[];
}

/** The commands of a console, and what each prints. */
function shownIn(body: string): Shown[] {
  return body.split(/^\$ /m).slice(1).map((part) => {
    const [line, ...output] = part.trimEnd().split("\n");
    return { line: line!, output };
  });
}

/** A line in which sizes, times, rates and the width of columns do not count. */
function pattern(line: string): string {
  return line.trim().replaceAll(/\s+/g, " ")
    .replaceAll(/\d+(?:\.\d+)? (?:[KMG]iB|B|[mµn]?s)(?:\/s)?(?!\w)/g, "0 B");
}

/** Whether lines are those that are shown, where `…` stands for any lines or the rest of one. */
function matches(lines: readonly string[], shown: readonly string[]): boolean {
  const [first, ...rest] = shown;
  if (first === undefined) return lines.length === 0;
  if (first.trim() === "…") {
    return Array.from({ length: lines.length + 1 }, (_, left) => lines.slice(left))
      .some((left) => matches(left, rest));
  }
  const [line, ...others] = lines;
  if (line === undefined) return false;
  const [wanted, open] = first.endsWith("…") ? [first.slice(0, -1), true] : [first, false];
  const same = open ? pattern(line).startsWith(pattern(wanted)) : pattern(line) === pattern(wanted);
  return same && matches(others, rest);
}

/** Lets `vfiokit` and this runtime be found by the programs of a reader. */
function prepare(folder: ShellFolder): void {
  const imports = Object.fromEntries(
    Object.entries(deno.imports).map(([name, file]) => [name, projectFile(file)]),
  );
  fs.writeFileSync(
    join(folder.folder, "deno.json"),
    JSON.stringify({ imports }),
  );
  fs.mkdirSync(join(folder.folder, "node_modules"));
  fs.symlinkSync(projectFile("."), join(folder.folder, "node_modules/vfiokit"));
  // `deno run -A FILE` and `deno test -A FILE` are `bun run FILE` and `bun test FILE`. The library's
  // types are checked elsewhere: here it is its sources, and not declarations as for a reader.
  const words = IN_DENO ? '"$1" --no-check "${@:2}"' : '"$1" "${@:3}"';
  folder.program("deno", `exec ${process.execPath} ${words}`);
}

describe("a tutorial", () => {
  for (const name of TUTORIALS) {
    it(`shows what its commands print: ${name}`, { timeout: 600_000 }, () => {
      const blocks = readBlocks(fs.readFileSync(projectFile(`docs/tutorials/${name}.md`), "utf8"));
      const files = new Map(
        blocks.flatMap(({ name, body }) => name === null ? [] : [[name, body]]),
      );
      const commands = blocks.filter(({ language }) => language === "console")
        .flatMap(({ body }) => shownIn(body));
      assert.ok(commands.length > 3);
      using folder = new ShellFolder(files);
      prepare(folder);
      // As at a terminal: one shell, which goes on after a command that fails.
      const script = ["exec 2>&1; set +eu +o pipefail; trap 'kill $(jobs -p) 2> /dev/null' EXIT"];
      for (const { line } of commands) script.push(line, `printf '\n%s\n' '${MARK}'`);
      const printed = folder.shell(script.join("\n")).split(`\n${MARK}\n`);
      const differing = commands.flatMap(({ line, output }, index) => {
        const text = printed[index]!.trimEnd().replaceAll(PROGRESS, "");
        if (matches(text === "" ? [] : text.split("\n"), output)) return [];
        return `$ ${line}\nprints:\n${text}\nand the page shows:\n${output.join("\n")}`;
      });
      assert.equal(differing.join("\n\n"), "");
    });
  }

  it("is there for each file in the folder", () => {
    const pages = fs.readdirSync(projectFile("docs/tutorials")).map((name) => name.slice(0, -3));
    assert.deepEqual(pages.sort(), [...TUTORIALS].sort());
  });
});
