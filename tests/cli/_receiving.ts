/** Runs `receive`, and does something once it waits. */

import { receive } from "../../cli/specs/migrate/receive.ts";
import { type Outcome, vfiokit } from "./_cli.ts";

/** Starts `receive`, calls `use` once it waits, and returns how it ended. */
export async function receiving(
  words: readonly string[],
  use: (address: string) => Promise<void>,
  permissions: readonly string[] = receive.permissions,
): Promise<Outcome> {
  const waiting = Promise.withResolvers<string>();
  const ended = vfiokit(["receive", ...words], {
    permissions,
    started(child): void {
      let text = "";
      child.stderr?.on("data", (chunk: Uint8Array) => {
        text += new TextDecoder().decode(chunk);
        const [, address] = /^Waiting for migrate at (.+)$/m.exec(text) ?? [];
        if (address !== undefined) waiting.resolve(address);
      });
    },
  });
  const address = await Promise.race([waiting.promise, ended]);
  if (typeof address === "string") await use(address);
  return await ended;
}
