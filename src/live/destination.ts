/**
 * The destination of a live migration.
 *
 * @module
 */

import { cleanlyAsync } from "../base/cleanup.ts";
import { Ending } from "../base/ending.ts";
import type { CheckpointFile } from "../checkpoint/file/checkpoint_file.ts";
import type { ChainLink } from "../checkpoint/metadata/chain_link.ts";
import type { OpenDevices } from "../migration/open_devices.ts";
import { ask } from "../migration/thread/session_client.ts";
import { demandIdentity } from "../transfer/identity/demand_identity.ts";
import { Lockstep, unansweredMs } from "../transfer/lockstep.ts";
import type { DeviceReport } from "../transfer/report.ts";
import { RestoreSteps } from "../transfer/restore_steps.ts";
import { TransferError } from "../transfer/transfer_error.ts";
import type { IovaMapping } from "../vfio/dma/iova.ts";
import type { Connection } from "./connection/connection.ts";
import { type Hello, unexpected } from "./connection/messages.ts";
import { Peer } from "./connection/peer.ts";
import { Silence } from "./connection/silence.ts";
import {
  DESTINATION,
  type DestinationAction,
  type DestinationEvent,
  type DestinationState,
} from "./commit/destination.ts";
import { Journal } from "./commit/journal.ts";
import { CommitMachine, entryOf } from "./commit/machine.ts";
import { untilOrdered } from "./await_order.ts";
import { FrameReceiver, type ReceivedBytes } from "./frame_receiver.ts";
import { LiveError } from "./live_error.ts";
import { PhaseReports } from "./phase_reports.ts";
import { type FurtherConnections, StreamGate } from "./streams/stream_gate.ts";
import { ZstdThread } from "./streams/zstd_thread.ts";
import { Tee } from "./tee.ts";

/** How to receive. */
export interface ReceiveOptions {
  /** The folder of the journals; both sides need one that outlives their processes. */
  readonly journal: string;
  /** Takes devices of another kind, if the driver does. Default false. */
  readonly force?: boolean | undefined;
  /**
   * A file, from `createCheckpointFile`, that gets a copy of what comes, as one checkpoint of the
   * devices and their memory. It has its name once the devices run here; the caller discards it if
   * they do not. If it cannot be written before that, the migration fails.
   */
  readonly tee?: CheckpointFile | undefined;
  /**
   * Takes memory by several streams, as many as the source offers. While the migration is under
   * way, what else connects is dropped. Default: by the first connection alone.
   */
  readonly connections?: FurtherConnections | undefined;
  /** How long the other side may take for its next bytes, in milliseconds. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /**
   * Is called once everything has come and the devices have taken it, before the other side hears
   * so: what it throws refuses the migration, and the devices are reset.
   */
  readonly onTaken?: (() => void) | undefined;
  /** Ends it, as long as the other side may still run. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called after each change of what is going on, and ten times a second; last with `done` and
   * what is reported. If it throws before all has come, the migration fails with that.
   */
  readonly onProgress?: ((progress: ReceiveProgress) => void) | undefined;
}

/** What is going on. */
export interface ReceiveProgress {
  /** The step. */
  readonly phase: "receiving" | "loaded" | "starting" | "in-doubt" | "done";
  /** The migration's id. */
  readonly id: string;
  /** What was taken so far. */
  readonly bytes: Readonly<ReceivedBytes>;
  /** Bytes of the streams so far. */
  readonly received: number;
  /**
   * For how many milliseconds a device's thread has left a request without an answer; 0 if none
   * has.
   */
  readonly unansweredMs: number;
}

/** How it went. */
export interface ReceiveReport {
  /** The migration's id. */
  readonly id: string;
  /** From the first message until the devices ran, in seconds. */
  readonly seconds: number;
  /** What was taken. */
  readonly bytes: ReceivedBytes;
  /** Bytes of the streams. */
  readonly received: number;
  /** How many streams memory came by. */
  readonly streams: number;
  /** Why the checkpoint of `tee` did not get its name; null if it did, or if none was wanted. */
  readonly teeError: Error | null;
  /** The devices, which run. */
  readonly devices: readonly DeviceReport[];
}

/** The devices of a migration that has come, and how it went. */
export interface Received {
  /** The open devices, which run; the caller closes them. */
  readonly devices: OpenDevices;
  /** How it went. */
  readonly report: ReceiveReport;
}

/**
 * Opens the devices that are to take a migration, each with this memory mapped. It is called once the
 * other side has identified itself: a peer that speaks garbage touches no device.
 */
export type OpenReceiving = (
  memory: readonly (readonly IovaMapping[])[],
) => Promise<OpenDevices>;

/**
 * Takes one migration from the other side of a connection ({@linkcode migrate}), and lets the devices
 * run once the other side has decided that they do.
 *
 * @param open Opens the devices.
 * @throws {TransferError} If it fails: the devices were reset.
 * @throws {LiveError} If it fails before there are devices; `in-doubt` if the signal is aborted
 * while both sides stand still.
 */
export async function receive(
  connection: Connection,
  open: OpenReceiving,
  options: ReceiveOptions,
): Promise<Received> {
  const begun = performance.now();
  const peer = new Peer(connection, options.timeoutMs);
  return await cleanlyAsync(async () => {
    await using closing = new AsyncDisposableStack();
    closing.defer(() => peer.close());
    let devices: OpenDevices;
    let journal: Journal;
    let hello: Hello;
    try {
      hello = await greeted(peer, options.signal);
      devices = closing.use(await open(hello.memory));
      journal = closing.use(Journal.create(options.journal, hello.id, "destination"));
    } catch (error) {
      await refuse(peer, error);
      throw error;
    }
    using lockstep = new Lockstep("receive", devices, options.signal);
    using gate = gateOf(connection, hello, options);
    using destination = new Destination({ lockstep, peer, journal, hello, gate }, options);
    const report = await destination.run(begun);
    closing.move();
    journal[Symbol.dispose]();
    peer.close();
    return { devices, report };
  });
}

async function greeted(peer: Peer, signal: AbortSignal | undefined): Promise<Hello> {
  signal?.throwIfAborted();
  const hello = await peer.hear();
  if (hello.type === "hello") return hello;
  throw new LiveError("peer-protocol", `The other side begins with "${hello.type}"`);
}

/** Where further streams come in; null if there are none. */
function gateOf(
  connection: Connection,
  { streams: count }: Hello,
  { connections, timeoutMs }: ReceiveOptions,
): StreamGate | null {
  return count === 1 || connections === undefined
    ? null
    : new StreamGate(connection, { count, connections, timeoutMs });
}

/** Tells the other side why, if it listens. */
async function refuse(peer: Peer, error: unknown): Promise<void> {
  await peer.say({ type: "refused", reason: (error as Error).message }).catch(() => {});
  peer.close();
}

class Destination implements Disposable {
  readonly #lockstep: Lockstep;
  readonly #peer: Peer;
  readonly #options: ReceiveOptions;
  readonly #journal: Journal;
  readonly #steps: RestoreSteps;
  /** The memory of each device. */
  readonly #memory: Hello["memory"];
  readonly #tee: Tee | null;
  /** Whether memory may come compressed. */
  readonly #compressed: boolean;
  /** What decompresses the memory of each of several streams. */
  readonly #threads: ZstdThread[] = [];
  readonly #receiver: FrameReceiver;
  readonly #gate: StreamGate | null;
  /** Those of the further streams. */
  #further: readonly FrameReceiver[] = [];
  /** Resolves once all has come by the further streams. */
  #furtherEnded: Promise<unknown> = Promise.resolve();
  readonly #machine: CommitMachine<DestinationState, DestinationEvent, DestinationAction>;
  readonly #reports: PhaseReports<ReceiveProgress["phase"]> | null;
  /** Why it failed. */
  #reason: unknown = null;
  /** The error that says how the devices were left, once they were reset. */
  #failure: Error | null = null;

  constructor(
    { lockstep, peer, journal, hello, gate }: {
      readonly lockstep: Lockstep;
      readonly peer: Peer;
      readonly journal: Journal;
      readonly hello: Hello;
      readonly gate: StreamGate | null;
    },
    options: ReceiveOptions,
  ) {
    this.#lockstep = lockstep;
    this.#peer = peer;
    this.#options = options;
    this.#journal = journal;
    this.#steps = new RestoreSteps(lockstep);
    this.#memory = hello.memory;
    this.#tee = options.tee === undefined ? null : new Tee(options.tee);
    this.#gate = gate;
    this.#compressed = hello.compress !== null;
    this.#receiver = this.#receiverOf(peer, 0);
    const { onProgress } = options;
    this.#reports = onProgress === undefined ? null : new PhaseReports(
      (phase) => onProgress(this.#progress(phase)),
      (error) => this.#machine.state === "receiving" ? lockstep.end(error) : undefined,
    );
    this.#machine = new CommitMachine(
      DESTINATION,
      "receiving",
      (action) => this.#perform(action),
      (_, error) => void (this.#reason ??= error),
    );
  }

  async run(begun: number): Promise<ReceiveReport> {
    try {
      await this.#receive();
      await this.#machine.take("took-all");
    } catch (error) {
      await this.#machine.take(this.#failed(error));
    }
    for (;;) {
      switch (this.#machine.state) {
        case "running":
          return await this.#reported(begun);
        case "refused":
        case "stuck":
          throw this.#failure ?? this.#reason;
        case "starting":
          await this.#machine.take("ran");
          break;
        case "doubt":
          this.#tell("in-doubt");
          await this.#machine.take(await this.#order());
          break;
        default:
          await this.#machine.take(await this.#heard());
      }
    }
  }

  /** Takes everything; v2 devices have judged it then, in STOP. */
  async #receive(): Promise<void> {
    const lockstep = this.#lockstep;
    const { members } = lockstep;
    await lockstep.look();
    await lockstep.step(({ device }) => ask(device, "checkRestore"));
    const { count: streams, token } = this.#gate ?? { count: 1, token: null };
    this.#gate?.open();
    await lockstep.until(this.#peer.say({ type: "ready", streams, token }));
    this.#tell("receiving");
    // What ends the migration before all streams are there comes by the first.
    const all = this.#gate === null ? [] : this.#peer.inTime(this.#gate.all, "open all streams");
    const [header, peers] = await lockstep.until(Promise.all([this.#receiver.header(), all]));
    demandIdentity(header, members.map(({ device }) => device), this.#options.force ?? false);
    lockstep.touch();
    await this.#steps.begin();
    await this.#tee?.begin({ ...header, link: this.#link });
    this.#takeFurther(peers);
    await this.#receiver.rest();
    await this.#peer.meanwhile(this.#furtherEnded);
    await this.#tee?.end();
    await this.#steps.judge();
    this.#options.onTaken?.();
  }

  /** Begins to take memory by the further streams. */
  #takeFurther(peers: readonly Peer[]): void {
    const silence = new Silence(0);
    for (const peer of [this.#peer, ...peers]) peer.joins(silence);
    this.#further = peers.map((peer, at) => this.#receiverOf(peer, at + 1));
    this.#furtherEnded = this.#lockstep.until(Promise.all(peers.map(async (peer, at) => {
      await this.#further[at]!.memory();
      peer.finished();
    })));
    this.#furtherEnded.catch(() => {});
  }

  /** What takes the frames of a stream. */
  #receiverOf(peer: Peer, index: number): FrameReceiver {
    const zstd = this.#gate !== null && this.#compressed ? new ZstdThread() : null;
    if (zstd !== null) this.#threads.push(zstd);
    return new FrameReceiver(peer, this.#lockstep, {
      compressed: this.#compressed,
      zstd,
      tee: this.#tee,
      part: { index, count: this.#gate?.count ?? 1 },
      // Hashes are of memory as it is once all of it has come.
      ready: () => this.#peer.meanwhile(this.#furtherEnded),
    });
  }

  /** What makes the copy a checkpoint that stands alone, with its memory. */
  get #link(): ChainLink {
    const { id } = this.#journal;
    const memory = this.#memory.map((ranges) => ({ ranges }));
    return { chain: id, id, number: 0, previous: null, memory };
  }

  /** The event of what went wrong here. */
  #failed(error: unknown): DestinationEvent {
    this.#reason ??= error;
    if (error instanceof LiveError) return "cut";
    return error === this.#options.signal?.reason ? "give-up" : "failed";
  }

  /** Waits for what the other side says. */
  async #heard(): Promise<DestinationEvent> {
    try {
      using ending = new Ending(this.#options.signal);
      const message = await ending.until(this.#peer.hear());
      if (message.type === "commit") return "commit";
      if (message.type !== "abort") throw unexpected(message);
      this.#reason = unexpected(message);
      return "abort";
    } catch (error) {
      this.#reason ??= error;
      return error instanceof LiveError ? "cut" : "give-up";
    }
  }

  /** Waits in doubt. */
  #order(): Promise<DestinationEvent> {
    return untilOrdered(
      this.#journal,
      "everything has come, and the connection ended before the decision",
      ["run", "reset"],
      this.#options.signal,
    );
  }

  async #perform(action: DestinationAction): Promise<void> {
    switch (action) {
      case "send loaded":
        return await this.#peer.say({ type: "loaded" });
      case "send running":
        return await this.#peer.say({ type: "running" });
      case "send refused": {
        const { message } = (this.#failure ?? this.#reason) as Error;
        return await this.#peer.say({ type: "refused", reason: message });
      }
      case "run":
        return await this.#steps.run();
      case "reset":
        return await this.#reset();
      default: {
        const entry = entryOf(action);
        if (entry === "loaded" || entry === "starting") this.#tell(entry);
        return this.#journal.add(entry);
      }
    }
  }

  /**
   * Resets what was given anything.
   *
   * @throws If a device may still have it: the other side must not hear that it may run.
   */
  async #reset(): Promise<void> {
    const { members } = this.#lockstep;
    const given = await Promise.all(members.map((member) => this.#steps.recoveryMode(member)));
    this.#failure = await this.#lockstep.failure(
      this.#reason,
      (member) => this.#steps.recoveryMode(member),
    );
    const left = this.#failure instanceof TransferError ? this.#failure.devices : [];
    const clean = given.every((mode, index) =>
      mode === "running" || ["reset", "reopened"].includes(left[index]?.recovery ?? "failed")
    );
    if (!clean) throw this.#failure;
  }

  #tell(phase: ReceiveProgress["phase"]): void {
    this.#reports?.tell(phase);
  }

  #progress(phase: ReceiveProgress["phase"]): ReceiveProgress {
    return {
      phase,
      id: this.#journal.id,
      ...this.#taken,
      unansweredMs: unansweredMs(this.#lockstep.members),
    };
  }

  /** What was taken, by all streams. */
  get #taken(): { readonly bytes: ReceivedBytes; readonly received: number } {
    const all = [this.#receiver, ...this.#further];
    const sum = (of: (receiver: FrameReceiver) => number): number =>
      all.reduce((total, receiver) => total + of(receiver), 0);
    return {
      bytes: { memory: sum(({ bytes }) => bytes.memory), device: sum(({ bytes }) => bytes.device) },
      received: sum(({ received }) => received),
    };
  }

  /** Reports no more progress, and ends its threads. */
  [Symbol.dispose](): void {
    for (const thread of this.#threads) thread[Symbol.dispose]();
    this.#reports?.[Symbol.dispose]();
  }

  async #reported(begun: number): Promise<ReceiveReport> {
    const report = await this.#report(begun);
    this.#tell("done");
    return report;
  }

  async #report(begun: number): Promise<ReceiveReport> {
    const { devices } = await this.#lockstep.reports(() => ({ phases: [], seconds: 0 }));
    let teeError: Error | null = null;
    await this.#tee?.commit().catch((error) => teeError = error as Error);
    return {
      id: this.#journal.id,
      seconds: (performance.now() - begun) / 1000,
      ...this.#taken,
      streams: 1 + this.#further.length,
      teeError,
      devices,
    };
  }
}
