/**
 * How a checkpoint of a folder is named: `DIR` for the last one, `DIR@N` for number N.
 *
 * @module
 */

import { statSync } from "node:fs";

/** A checkpoint of a folder. */
export interface ChainName {
  /** The folder. */
  readonly folder: string;
  /** The number; undefined for the last one. */
  readonly number: number | undefined;
}

/** The checkpoint that a word names; null if it names none of a folder, but a file. */
export function chainName(word: string): ChainName | null {
  if (isFolder(word)) return { folder: word, number: undefined };
  const [, folder, number] = /^(.+)@(\d{1,15})$/.exec(word) ?? [];
  if (folder === undefined || !isFolder(folder)) return null;
  return { folder, number: Number(number) };
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
