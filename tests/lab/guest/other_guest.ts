/**
 * The other of two guests, which runs the same cases: what one tells, the other hears, by files in a
 * folder of the host's that both see.
 *
 * @module
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** See tests/lab/guest/init. */
const BOTH = "/both";

const GUEST = process.env["GUEST"] ?? null;

/** Why nothing can be shown that needs two guests; null if there are two. */
export function lacksOtherGuest(): string | null {
  return GUEST === null ? "there is one guest: --guests 2 boots two" : null;
}

/** Whether this is the first of the guests: the one that devices move away from. */
export function isFirstGuest(): boolean {
  return GUEST === "1";
}

/** The address of the second guest. */
export const SECOND_GUEST = "10.0.0.2";

/** The other guest, for one case. */
export class OtherGuest {
  readonly #case: string;

  /** @param name The case's name in file names. */
  constructor(name: string) {
    this.#case = name;
  }

  #path(guest: string, word: string): string {
    return `${BOTH}/${this.#case}.${guest}.${word}`;
  }

  /** Tells the other guest something. */
  tell(word: string, value: unknown): void {
    const path = this.#path(GUEST!, word);
    writeFileSync(`${path}.new`, JSON.stringify(value));
    renameSync(`${path}.new`, path);
  }

  /** Waits until the other guest has told something. */
  async hear<Value>(word: string): Promise<Value> {
    const other = GUEST === "1" ? "2" : "1";
    const [path, failed] = [this.#path(other, word), this.#path(other, "failed")];
    for (let tries = 0; tries < 6000; tries++) {
      if (existsSync(path)) return JSON.parse(readFileSync(path, "utf8"));
      if (existsSync(failed)) throw new Error(`The other guest says: ${readFileSync(failed)}`);
      await sleep(50);
    }
    throw new Error(`Cannot wait any longer for what the other guest says of "${word}"`);
  }

  /** Does this guest's part, and tells the other if it fails. */
  async part(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.tell("failed", String(error));
      throw error;
    }
  }
}
