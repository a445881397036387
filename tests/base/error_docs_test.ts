// docs/errors.md against the classes of the sources, and their examples.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import deno from "../../deno.json" with { type: "json" };

const ROOT = path.join(import.meta.dirname!, "..", "..");

function read(file: string): string {
  return fs.readFileSync(path.join(ROOT, file), "utf8");
}

/** The sources, by path. */
const SOURCES = new Map(
  fs.readdirSync(path.join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => [`src/${file}`, read(`src/${file}`)] as const),
);

/** The same without comments, which may quote anything. */
const CODE = [...SOURCES.values()].map((text) => text.replaceAll(/\/\*[^]*?\*\//g, "")).join("\n");

/** The front door of each exported name: the first that has it. */
const DOORS = new Map(
  Object.entries(deno.exports).reverse().filter(([door]) => door !== "./cli")
    .flatMap(([door, file]) =>
      [...read(file).matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
        .flatMap(([, names]) => names!.split(",").map((name) => name.trim().replace("type ", "")))
        .map((name) => [name, `vfiokit${door.slice(1)}`] as const)
    ),
);

/** Every class of errors: its body, and the class that it extends. */
const CLASSES = new Map(
  [...CODE.matchAll(/^export class (\w+Error) extends (\w+Error)[^]*?^\}/gm)]
    .map(([body, name, parent]) => [name!, { body, parent: parent! }] as const),
);

/** The codes of a class, as its documentation writes them. */
function codesOf(name: string): string[] {
  const { body, parent } = CLASSES.get(name)!;
  const type = /readonly code: ([^;]+);/.exec(body) ?? /readonly code = ("[^"]+")/.exec(body);
  return type === null ? codesOf(parent) : words(type[1]!);
}

/** The codes of a type: words, names of other types, `X["code"]`. */
function words(type: string): string[] {
  const parts = type.split("|").map((part) => part.trim())
    .filter((part) => part !== "" && part !== "null" && part !== "undefined");
  return parts.flatMap((part): string[] => {
    const word = /^"([^"]+)"/.exec(part)?.[1];
    if (word !== undefined) return [`\`${word}\``];
    const other = /^(\w+)\["code"\]/.exec(part)?.[1];
    if (other !== undefined) return codesOf(other);
    if (part === "ErrnoName" || part.startsWith("`errno ")) return ["an errno"];
    const alias = new RegExp(`export type ${part} =([^;]+);`).exec(CODE);
    assert.ok(alias, `there is no type ${part}`);
    return words(alias[1]!);
  });
}

/** The sections of the page: the codes of each class. */
function documented(): Map<string, string[]> {
  const sections = read("docs/errors.md").split(/^### /m).slice(1);
  return new Map(sections.map((section) => {
    const name = /^\w+/.exec(section)![0];
    const rows = section.split("\n").filter((line) => line.startsWith("| ")).slice(2);
    return [name, rows.map((row) => row.split("|")[1]!.trim())];
  }));
}

const EXPORTED = [...CLASSES.keys()].filter((name) => DOORS.has(name)).sort();

describe("docs/errors.md", () => {
  const pages = documented();

  /** The codes that the page has for a class, with those of the classes that it refers to. */
  function pageCodes(name: string): string[] {
    return pages.get(name)!.flatMap((code) => {
      const other = /^those of `(\w+)`$/.exec(code)?.[1];
      return other === undefined ? [code] : pageCodes(other);
    });
  }

  it("has every class of errors that is exported, and no other", () => {
    assert.ok(EXPORTED.length > 20);
    assert.deepEqual([...pages.keys()].sort(), EXPORTED, "docs/errors.md lists other classes");
  });

  for (const name of EXPORTED) {
    it(`has the codes of ${name}, and no other`, () => {
      assert.deepEqual([...new Set(pageCodes(name))].sort(), [...new Set(codesOf(name))].sort());
    });
  }
});

describe("the examples in docstrings", () => {
  it("are there for each class of errors that is exported", () => {
    const without = EXPORTED.filter((name) => {
      const file = [...SOURCES.values()].find((text) => text.includes(`export class ${name} `))!;
      const docs = file.slice(0, file.indexOf(`export class ${name} `)).split("/**").at(-1)!;
      return !docs.includes("@example") || !docs.includes(name);
    });
    assert.deepEqual(without, []);
  });

  it("import what is exported by the package's name", () => {
    const relative = [...SOURCES].flatMap(([file, text]) =>
      [...text.matchAll(/^ *\* import \{([^}]*)\} from "\.[^"]*";$/gm)]
        .flatMap(([, names]) => names!.split(",").map((name) => name.trim()))
        .filter((name) => DOORS.has(name))
        .map((name) => `${file}: ${name} is in ${DOORS.get(name)}`)
    );
    assert.deepEqual(relative, []);
  });
});
