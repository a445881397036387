/**
 * `vfiokit serve`: serve a device to other processes.
 *
 * @module
 */

import { Server, type ServerEvent } from "../../src/server/mod.ts";
import { shellWord } from "../../src/vfio/mod.ts";
import type { Context } from "../context.ts";
import { exitCodeOfWaiting } from "../signals.ts";
import type { ServeArgs } from "../specs/serve.ts";
import { UsageError } from "../usage_error.ts";

/** Runs `serve`. */
export async function run({ device, socket }: ServeArgs, context: Context): Promise<number> {
  if (!/^(sim|replay):/.test(device)) {
    throw new UsageError(
      `Cannot serve "${device}": only simulated devices (sim:…) and traces (replay:…) can be served`,
    );
  }
  await using server = await Server.listen(device, socket, {
    onEvent: (event) => context.note(`vfiokit serve: ${words(event)}`),
    trace: context.trace,
  });
  context.note(
    `Serving ${device} at ${socket} until a signal comes (Ctrl-C).`,
    `hint: look at it: vfiokit probe ${shellWord(`vfio-user:${socket}`)}`,
  );
  await context.until(server.ended).catch((error: unknown) => {
    if (!context.signal.aborted) throw error;
  });
  return exitCodeOfWaiting(context.signal);
}

function words(event: ServerEvent): string {
  switch (event.type) {
    case "client":
      return event.pid === 0 ? "a client is connected" : `process ${event.pid} is connected`;
    case "gone":
      return event.why === null ? "the client is gone" : `the client was dropped: ${event.why}`;
    case "refused":
      return `a client was refused: ${event.why}`;
  }
}
