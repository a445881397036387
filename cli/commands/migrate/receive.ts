/**
 * `vfiokit receive`: takes over a device and its memory from `migrate`.
 *
 * @module
 */

import { lstatSync } from "node:fs";
import { type OpenDevices, openDevices } from "../../../mod.ts";
import { type CheckpointFile, createCheckpointFile } from "../../../src/checkpoint/mod.ts";
import { DirtyRangeError } from "../../../src/dirty/mod.ts";
import { LiveError, receive, type Received, type ReceiveProgress } from "../../../src/live/mod.ts";
import { DmaError } from "../../../src/vfio/mod.ts";
import type { Context } from "../../context.ts";
import { DONE, FAILED } from "../../exit_codes.ts";
import { attach, type Attached, tellingOwner } from "../../lending/attached.ts";
import { demandAsMany, demandSame } from "../../lending/ranges.ts";
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
import { hintWords } from "../../output/hint.ts";
import { STDERR } from "../../output/stdio.ts";
import type { ReceiveArgs } from "../../specs/migrate/receive.ts";
import { UsageError } from "../../usage_error.ts";

/** Runs `receive`. */
export async function run(args: ReceiveArgs, context: Context): Promise<number> {
  const { devices: names } = args;
  refuseBoth(args);
  demandFiles(args.map);
  refuseShared(names, args.map);
  if (args.command !== undefined) refuseUnlendable(names);
  const journal = journalFolder(args.journal);
  await using tee = args.tee === undefined ? undefined : await teeFile(args.tee);
  // Stdout is the connection's.
  if (args.listen === "-") context.resultFd = STDERR;
  using listening = await listen(args.listen, args, (text) => context.note(text));
  using attached = await attach(names, args, "receive", context);
  await using lent = await SimulatedDevices.serve(toServe(names, args));
  if (listening.more) context.note(`Waiting for migrate at ${listening.address}`);
  const events = { path: args.events, side: "destination", context } as const;
  const { devices, report } = await tellingOwner(
    attached.owner,
    () =>
      withEvents(
        events,
        (tell) =>
          firstReceived({ listening, lent, attached, tell, tee }, { ...args, journal }, context),
      ),
  );
  await using _ = devices;
  const orphaned = attached.owner?.tell("committed") ?? [];
  listening[Symbol.dispose]();
  context.drivers = devices;
  context.stands = true;
  const { teeError, ...rest } = report;
  const there = report.devices.map(({ name, state }) => ({ name, state }));
  context.set({ ...rest, tee: teeError === null ? args.tee ?? null : null, devices: there });
  context.summarize(
    `Took over ${names.join(", ")} in ${time(report.seconds)}: ${bytes(report.received)} (${
      bytes(report.bytes.memory)
    } of memory, zeros included, and ${bytes(report.bytes.device)} of device data)`,
  );
  tellTee(args.tee, teeError, context);
  if (orphaned.length > 0) tellOrphaned(orphaned, args, context);
  const done = teeError === null && orphaned.length === 0 ? DONE : FAILED;
  const kept = await keepOpen(args, devices, context);
  if (kept !== null) return kept === DONE ? done : kept;
  noteClosed(devices, context);
  return done;
}

/** The file of `--tee`: a regular file that is not there yet. */
async function teeFile(path: string): Promise<CheckpointFile> {
  if (isThere(path)) {
    throw new UsageError(
      `Cannot write to "${path}": it exists, and --tee replaces nothing; name another file`,
    );
  }
  const irregular = `Cannot write to "${path}": --tee needs a regular file`;
  if (path === "-") throw new UsageError(irregular);
  const file = await createCheckpointFile(path);
  if (!file.direct) return file;
  await file.abort();
  throw new UsageError(irregular);
}

/** Whether there is something of that name: a link to nothing, too. */
function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    // What creates the file says what is wrong with the path.
    return false;
  }
}

function tellTee(file: string | undefined, error: Error | null, context: Context): void {
  if (error !== null) {
    context.failed("tee", error.message, "running");
    context.say(`The device runs, but its checkpoint is not there: ${error.message}`);
  } else if (file !== undefined) {
    context.summarize(`Its checkpoint, with the memory, is in ${file}`);
  }
}

/** Says that the device's owner was gone before it could hear that the device runs. */
function tellOrphaned(
  owners: readonly string[],
  { hold }: ReceiveArgs,
  context: Context,
): void {
  const what = owners.length === 1
    ? `The device runs here, and ${owners[0]} does not know: it is gone, or reads nothing`
    : `The devices run here, and ${
      owners.join(" and ")
    } do not know: they are gone, or read nothing`;
  const next = hold
    ? "--hold keeps the device open: save it before you end this"
    : "unless another process has the device open, its state is gone once this one has ended";
  context.failed("owner-lost", `${what}; ${next}`, "running");
  context.say(`${what}; ${next}`);
}

/**
 * Takes the first migration that comes; a peer that speaks another protocol, or asks for what it
 * cannot have here, is turned away.
 */
async function firstReceived(
  { listening, lent, attached, tell, tee }: {
    readonly listening: Listening;
    readonly lent: SimulatedDevices;
    readonly attached: Attached;
    readonly tee: CheckpointFile | undefined;
    readonly tell: (progress: ReceiveProgress) => void;
  },
  args: ReceiveArgs & { readonly journal: string },
  context: Context,
): Promise<Received> {
  for (;;) {
    const connection = await context.until(listening.next());
    // Whether what goes wrong is not the other side's alone.
    let own = false;
    try {
      using shown = new MigrationProgress(args.devices, context);
      return await receive(connection, async (memory) => {
        own = true;
        attached.owner?.demandConnected();
        try {
          return await open(memory, { channels: lent.channels, attached }, args, context);
        } catch (error) {
          own = !(error instanceof UnservedPeer);
          throw error;
        }
      }, {
        journal: args.journal,
        force: args.force,
        tee,
        connections: listening.more
          ? {
            next: (signal) => listening.next(signal),
            onDropped: ({ message }) => context.note(`A connection was dropped: ${message}`),
          }
          : undefined,
        timeoutMs: args.timeout,
        signal: context.signal,
        onTaken: () => attached.owner?.demandConnected(),
        onProgress: (progress) => {
          shown.tell(progress);
          tell(progress);
        },
      });
    } catch (error) {
      if (own || !listening.more || !(error instanceof LiveError)) throw error;
      const hint = hintWords(error.hint);
      context.note(
        `A connection was turned away: ${error.message}${hint === "" ? "" : `; ${hint}`}`,
      );
    }
  }
}

/** The other side asks for what it cannot have here. Another one may ask for something else. */
class UnservedPeer extends LiveError {
  constructor(error: UsageError | DmaError | DirtyRangeError) {
    const hint = "hint" in error ? error.hint : null;
    const cause = error instanceof DmaError ? { cause: error } : {};
    super("peer-protocol", error.message, hint ?? undefined, cause);
  }
}

async function open(
  memory: Parameters<Parameters<typeof receive>[1]>[0],
  { channels, attached }: Pick<SimulatedDevices, "channels"> & { readonly attached: Attached },
  args: ReceiveArgs,
  context: Context,
): Promise<OpenDevices> {
  const { names, each } = attached;
  const options = openOptions(args, names, context);
  const maps = mapsOf(memory, attached, args);
  try {
    return await openDevices(names, { ...options, each: each ?? maps, channels });
  } catch (error) {
    // Nothing of that memory is from here, and the devices can be opened again.
    const served = channels.some((channel) => channel !== undefined);
    const theirs = each === undefined && !served && args.map.length === 0 &&
      (error instanceof DmaError || error instanceof DirtyRangeError);
    throw theirs ? new UnservedPeer(error) : error;
  }
}

/** What to map, of the memory that the other side has. */
function mapsOf(
  memory: Parameters<typeof open>[0],
  { names, each }: Attached,
  { map }: ReceiveArgs,
): readonly { readonly maps: ReturnType<typeof withGiven> }[] {
  try {
    demandAsMany(memory.length, names);
    each?.forEach(({ mappings = [] }, index) => demandSame(memory[index]!, mappings));
  } catch (error) {
    throw error instanceof UsageError ? new UnservedPeer(error) : error;
  }
  // A --map that the other side has no use for is rather a mistake here.
  return memory.map((ranges) => ({ maps: withGiven(ranges, map, "device to take over") }));
}
