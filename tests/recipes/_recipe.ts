/** The recipes of docs/recipes.md, taken apart: files and commands, as a reader copies them. */

import { readFileSync } from "node:fs";
import { projectFile } from "../cli/_cli.ts";

/** A recipe. */
export interface Recipe {
  readonly title: string;
  /** Its files: those whose name stands before them. */
  readonly files: ReadonlyMap<string, string>;
  /** Its commands, block by block. */
  readonly commands: readonly string[];
}

/** Reads all recipes, by their number. */
export function readRecipes(): ReadonlyMap<number, Recipe> {
  const text = readFileSync(projectFile("docs/recipes.md"), "utf8");
  const recipes = new Map<number, Recipe>();
  for (const section of text.split(/^## /m).slice(1)) {
    const [, number, title] = /^(\d+)\. (.*)$/m.exec(section)!;
    const files = new Map<string, string>();
    const commands: string[] = [];
    for (
      const [, name, language, body] of section.matchAll(
        /(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$/gms,
      )
    ) {
      if (name !== undefined) files.set(name, body!);
      else if (language === "sh") commands.push(body!);
    }
    recipes.set(Number(number), { title: title!, files, commands });
  }
  return recipes;
}
