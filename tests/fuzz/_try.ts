/**
 * One try: a plan is carried out in a folder of its own, within a time.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type AnyKind, Find } from "./_kind.ts";

/** A try that takes longer hangs. It is far more than any needs, on a machine that is busy, too. */
export const LIMIT_MS = 30_000;

/** What a promise that nobody waited for has failed with, since it was last asked. */
const unheard: unknown[] = [];

/** From now on, what nobody waits for is heard of here, and ends no process. */
export function listen(): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    unheard.push(event.reason);
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    unheard.push(event.error);
  });
}

/** Carries a plan out; null where nothing was found. What is no {@linkcode Find} is one, too. */
export async function attempt(
  kind: AnyKind,
  plan: unknown,
  limitMs = LIMIT_MS,
): Promise<Find | null> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vfiokit-fuzz-"));
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new Find("hang", `it has not ended after ${limitMs / 1000} s`));
  }, limitMs);
  try {
    await Promise.race([kind.run(plan, folder), late.promise]);
    // What was thrown where nobody looks comes a turn later.
    await new Promise((resolve) => setTimeout(resolve, 0));
  } catch (error) {
    unheard.length = 0;
    return findOf(error);
  } finally {
    clearTimeout(timer);
    fs.rmSync(folder, { recursive: true, force: true });
  }
  const [first] = unheard.splice(0);
  if (first === undefined) return null;
  const words = first instanceof Error ? `${first.name}: ${first.message}` : String(first);
  return new Find("unheard", `a promise that nobody waited for has failed: ${words}`, {
    cause: first,
  });
}

/** The find behind an error; that of a failed cleaning up says less than what came before it. */
function findOf(error: unknown): Find {
  if (error instanceof Find) return error;
  if (error instanceof SuppressedError) return findOf(error.suppressed);
  const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Find("unexpected", words, { cause: error });
}
