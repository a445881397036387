/**
 * `vfiokit receive`: takes over a device and its memory from `migrate`.
 *
 * @module
 */

import { openDevices } from "../../../mod.ts";
import { LiveError, receive, type Received, type ReceiveProgress } from "../../../src/live/mod.ts";
import type { Context } from "../../context.ts";
import { DONE } from "../../exit_codes.ts";
import { commonMaps } from "../../lending/common_maps.ts";
import { demandFiles, refuseShared, toServe, withGiven } from "../../lending/given_memory.ts";
import { keepOpen, noteClosed, refuseBoth } from "../../lending/keep_open.ts";
import { openOptions } from "../../lending/open_devices.ts";
import { refuseUnlendable } from "../../lending/run_program.ts";
import { SimulatedDevices } from "../../lending/simulated_devices.ts";
import { listen, type Listening } from "../../migrate/connect.ts";
import { withEvents } from "../../migrate/event_log.ts";
import { journalFolder } from "../../migrate/journal_folder.ts";
import { MigrationProgress } from "../../migrate/progress.ts";
import { bytes, time } from "../../output/format.ts";
import { STDERR } from "../../output/stdio.ts";
import type { ReceiveArgs } from "../../specs/migrate/receive.ts";

/** Runs `receive`. */
export async function run(args: ReceiveArgs, context: Context): Promise<number> {
  const { devices: names } = args;
  refuseBoth(args);
  demandFiles(args.map);
  refuseShared(names, args.map);
  if (args.command !== undefined) refuseUnlendable(names);
  const journal = journalFolder(args.journal);
  // Stdout is the connection's.
  if (args.listen === "-") context.resultFd = STDERR;
  using listening = await listen(args.listen, args, (text) => context.note(text));
  await using lent = await SimulatedDevices.serve(toServe(names, args));
  if (listening.more) context.note(`Waiting for migrate at ${listening.address}`);
  const events = { path: args.events, side: "destination", context } as const;
  const { devices, report } = await withEvents(
    events,
    (tell) => firstReceived({ listening, lent, tell }, { ...args, journal }, context),
  );
  await using _ = devices;
  listening[Symbol.dispose]();
  context.drivers = devices;
  context.stands = true;
  context.set({ ...report, devices: report.devices.map(({ name, state }) => ({ name, state })) });
  context.summarize(
    `Took over ${names.join(", ")} in ${time(report.seconds)}: ${bytes(report.received)} (${
      bytes(report.bytes.memory)
    } of memory, zeros included, and ${bytes(report.bytes.device)} of device data)`,
  );
  const kept = await keepOpen(args, devices, context);
  if (kept !== null) return kept;
  noteClosed(devices, context);
  return DONE;
}

/** Takes the first migration that comes; a peer that speaks another protocol is turned away. */
async function firstReceived(
  { listening, lent, tell }: {
    readonly listening: Listening;
    readonly lent: SimulatedDevices;
    readonly tell: (progress: ReceiveProgress) => void;
  },
  args: ReceiveArgs & { readonly journal: string },
  context: Context,
): Promise<Received> {
  for (;;) {
    const connection = await context.until(listening.next());
    let opened = false;
    try {
      using shown = new MigrationProgress(args.devices, context);
      return await receive(connection, (memory) => {
        opened = true;
        return open(memory, lent, args, context);
      }, {
        journal: args.journal,
        force: args.force,
        timeoutMs: args.timeout,
        signal: context.signal,
        onProgress: (progress) => {
          shown.tell(progress);
          tell(progress);
        },
      });
    } catch (error) {
      if (opened || !listening.more || !(error instanceof LiveError)) throw error;
      context.note(`A connection was turned away: ${error.message}`);
    }
  }
}

function open(
  memory: Parameters<Parameters<typeof receive>[1]>[0],
  { channels }: SimulatedDevices,
  args: ReceiveArgs,
  context: Context,
): ReturnType<typeof openDevices> {
  const { devices } = args;
  const maps = withGiven(commonMaps(memory, devices), args.map);
  return openDevices(devices, { ...openOptions(args, devices, context), channels, maps });
}
