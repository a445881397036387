/** Waiting for what can only be looked at. */

/** What has not come about after a minute never will. */
const GIVE_UP_MS = 60_000;

/** Resolves once something holds; rejects after a minute. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + GIVE_UP_MS;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`Waited a minute for this: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
