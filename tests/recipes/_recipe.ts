/** Pages of docs, taken apart: files and commands, as a reader copies them. */

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

/** A block of code in a page. */
export interface Block {
  /** The file's name, if it stands before the block. */
  readonly name: string | null;
  readonly language: string;
  readonly body: string;
}

/** The blocks of code of a page, or a part of it. */
export function readBlocks(text: string): readonly Block[] {
  const blocks = text.matchAll(/(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$/gms);
  return [...blocks].map(([, name, language, body]) => ({
    name: name ?? null,
    language: language!,
    body: body!,
  }));
}

/** Reads all recipes, by their number. */
export function readRecipes(): ReadonlyMap<number, Recipe> {
  const text = readFileSync(projectFile("docs/recipes.md"), "utf8");
  const recipes = new Map<number, Recipe>();
  for (const section of text.split(/^## /m).slice(1)) {
    const [, number, title] = /^(\d+)\. (.*)$/m.exec(section)!;
    const blocks = readBlocks(section);
    const files = new Map(blocks.flatMap(({ name, body }) => name === null ? [] : [[name, body]]));
    const commands = blocks.filter(({ name, language }) => name === null && language === "sh")
      .map(({ body }) => body);
    recipes.set(Number(number), { title: title!, files, commands });
  }
  return recipes;
}
