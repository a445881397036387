/**
 * The source of a live migration.
 *
 * @module
 */

import { Ending } from "../base/ending.ts";
import { bytes, count, time } from "../base/quantity_words.ts";
import type { Hint } from "../base/vfiokit_error.ts";
import type { DirtyReading } from "../dirty/mod.ts";
import { newHeader } from "../checkpoint/metadata/header.ts";
import type { Device } from "../migration/device.ts";
import { Lockstep, unansweredMs } from "../transfer/lockstep.ts";
import type { DeviceReport } from "../transfer/report.ts";
import { Journal, newMigrationId } from "./commit/journal.ts";
import { CommitMachine, entryOf } from "./commit/machine.ts";
import { SOURCE, type SourceAction, type SourceEvent, type SourceState } from "./commit/source.ts";
import type { Connection } from "./connection/connection.ts";
import { MAX_STREAMS, type Message, type Ready, unexpected } from "./connection/messages.ts";
import { Peer } from "./connection/peer.ts";
import {
  afterRound,
  bandwidth,
  type ConvergenceOptions,
  expectedDowntimeMs,
  type Round,
} from "./convergence.ts";
import { untilOrdered } from "./await_order.ts";
import { FrameSender, type FrameSink, type SentBytes } from "./frame_sender.ts";
import { demandMigration } from "./demand_migration.ts";
import { demandOwner, type OwnerOptions } from "./attach/owner.ts";
import { LiveCopy } from "./live_copy.ts";
import { LiveError } from "./live_error.ts";
import { PhaseReports } from "./phase_reports.ts";
import { StepTimes } from "./step_times.ts";
import { FurtherStreams, type StreamOptions } from "./streams/further_streams.ts";

const DEFAULT_DOWNTIME_MS = 300;
const DEFAULT_ROUNDS = 30;
/** How often the owner is asked to throttle at most. */
const MOST_THROTTLES = 32;
/** How long the other side may take to say why it has closed one of several streams. */
const REASON_MS = 1000;

/** How to migrate. */
export interface MigrateOptions extends Partial<ConvergenceOptions>, OwnerOptions {
  /** The folder of the journals; it must outlive the process. */
  readonly journal: string;
  /**
   * What to do if it does not converge: fail, and run on (the default); stop all the same; or have
   * the owner throttle the devices, round by round, and fail once it cannot any more.
   */
  readonly onNoConverge?: "fail" | "stop" | "throttle" | undefined;
  /**
   * Lets the other side compare all memory before it says that it has loaded: both sides hash every
   * page while the devices stand still. If a page differs, the devices run on here. Default false.
   */
  readonly verifyMemory?: boolean | undefined;
  /** Compresses what this makes smaller. Default: nothing. */
  readonly compress?: "zstd" | undefined;
  /**
   * Sends memory by several streams at the same time, if the other side takes them. Default: by the
   * first connection alone.
   */
  readonly streams?: StreamOptions | undefined;
  /** How long the other side may take for its next bytes, in milliseconds. Default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** Ends the migration; before the decision the devices run on. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Is called after each change of what is going on, and ten times a second; last with `done` and
   * what is reported. If it throws before all is sent, the migration fails with that.
   */
  readonly onProgress?: ((progress: MigrateProgress) => void) | undefined;
  /**
   * Is called with each reading of a device's tracker, by the device's number: after each round,
   * and once after the stop. What it throws ends the migration.
   */
  readonly onDirty?: ((reading: DirtyReading, device: number) => void) | undefined;
}

/** What is going on. */
export interface MigrateProgress {
  /** The step. */
  readonly phase: "connecting" | "pre-copy" | "stopped" | "committing" | "in-doubt" | "done";
  /** The migration's id. */
  readonly id: string;
  /** The rounds so far. */
  readonly rounds: readonly Round[];
  /** What was sent. */
  readonly bytes: Readonly<SentBytes>;
  /** Bytes of the streams so far. */
  readonly sent: number;
  /** Bytes of memory and device data that are still to be sent, as far as is known. */
  readonly left: number;
  /** What the devices stand still for; null while they run, and at the end. */
  readonly step: DowntimeStep["step"] | null;
  /** Bytes per second; 0 if nothing was sent. */
  readonly bandwidth: number;
  /** The downtime to be expected, in milliseconds; null before the first round has ended. */
  readonly expectedDowntimeMs: number | null;
  /** What the caller should know, such as a tracker that does not track. */
  readonly warnings: readonly string[];
  /**
   * For how many milliseconds a device's thread has left a request without an answer; 0 if none
   * has.
   */
  readonly unansweredMs: number;
}

/** A part of the downtime. */
export interface DowntimeStep {
  /** What was done. */
  readonly step: "quiesce" | "stop" | "memory" | "device data" | "verify" | "commit";
  /** How long it took. */
  readonly seconds: number;
}

/** How a migration went. */
export interface MigrateReport {
  /** The migration's id. */
  readonly id: string;
  /** From its beginning until the other side ran, in seconds. */
  readonly seconds: number;
  /** How long no device ran, in seconds. */
  readonly downtimeSeconds: number;
  /** Where that time went. */
  readonly downtime: readonly DowntimeStep[];
  /** The rounds of pre-copy. */
  readonly rounds: readonly Round[];
  /** What was sent. */
  readonly bytes: Readonly<SentBytes>;
  /** Bytes of the streams. */
  readonly sent: number;
  /** How many streams memory was sent by. */
  readonly streams: number;
  /** What the caller should know. */
  readonly warnings: readonly string[];
  /** The devices, which stand still. */
  readonly devices: readonly DeviceReport[];
}

/**
 * Moves open devices and the memory that their DMA reaches to the other side of a connection, where
 * {@linkcode receive} takes them. The devices run until the last moment, and never on both sides.
 * They must have been opened with `maps`, and with a `tracker` if one can be had.
 *
 * @returns Once the other side runs. The devices here stand still then: close them.
 * @throws {TypeError} If the owner is to do what it does not offer.
 * @throws {RangeError} If `streams` asks for none, or for more than 16.
 * @throws {TransferError} If it fails before the decision, or the other side refuses: the devices
 * run on. Its cause may be a {@linkcode LiveError}; it is an `UnsupportedError` if a device cannot
 * migrate: then nothing was sent.
 * @throws {LiveError} `in-doubt` if the signal is aborted while both sides stand still.
 */
export async function migrate(
  devices: readonly Device[],
  connection: Connection,
  options: MigrateOptions,
): Promise<MigrateReport> {
  demandOwner(options);
  const { count } = options.streams ?? { count: 1 };
  if (!Number.isInteger(count) || count < 1 || count > MAX_STREAMS) {
    throw new RangeError(
      `Cannot send memory by ${count} streams: 1 to ${MAX_STREAMS} are possible`,
    );
  }
  try {
    await demandMigration(devices, "migrate");
  } catch (error) {
    connection.close();
    throw error;
  }
  using lockstep = new Lockstep("migrate", devices, options.signal);
  using journal = Journal.create(options.journal, newMigrationId(), "source");
  using source = new Source(lockstep, connection, journal, options);
  return await source.run();
}

class Source implements Disposable {
  readonly #lockstep: Lockstep;
  readonly #options: MigrateOptions;
  readonly #peer: Peer;
  readonly #further: FurtherStreams | null;
  readonly #sender: FrameSender;
  readonly #journal: Journal;
  readonly #machine: CommitMachine<SourceState, SourceEvent, SourceAction>;
  readonly #copy: LiveCopy;
  readonly #downtime = new StepTimes<DowntimeStep["step"]>();
  readonly #begun = performance.now();
  readonly #reports: PhaseReports<MigrateProgress["phase"]> | null;
  /** Whether the stream has begun, and not ended: messages cannot be sent then. */
  #inStream = false;
  /** Whether the last of the stream is on its way: then the other side may answer. */
  #lastSent = false;
  /** The other side's next message. */
  #answer: Promise<Message> | null = null;
  /** Why it failed. */
  #reason: unknown = null;
  /** The error that says how the devices were left, once they were brought back. */
  #failure: Error | null = null;

  constructor(
    lockstep: Lockstep,
    connection: Connection,
    journal: Journal,
    options: MigrateOptions,
  ) {
    this.#lockstep = lockstep;
    this.#options = options;
    const { streams, timeoutMs } = options;
    this.#peer = new Peer(connection, timeoutMs);
    this.#further = streams === undefined
      ? null
      : new FurtherStreams(streams.connect, connection, timeoutMs);
    const { members } = lockstep;
    const header = newHeader(members.map(({ device }) => device.description.identity!));
    const sent = { ...header, compress: options.compress };
    this.#sender = new FrameSender(this.#sinkOf(this.#peer), members, sent);
    // What is compared after the stop has to be hashed as it was sent.
    const lazyHashes = (options.ownerWrites ?? "compare") !== "compare";
    this.#copy = new LiveCopy(lockstep, this.#sender, { ...options, lazyHashes });
    this.#journal = journal;
    const { onProgress } = options;
    this.#reports = onProgress === undefined ? null : new PhaseReports(
      (phase) => onProgress(this.#progress(phase)),
      (error) => this.#lastSent ? undefined : lockstep.end(error),
    );
    this.#machine = new CommitMachine(
      SOURCE,
      "moving",
      (action) => this.#perform(action),
      (_, error) => void (this.#reason ??= error),
    );
  }

  async run(): Promise<MigrateReport> {
    try {
      await this.#precopy();
      await this.#machine.take("stopped");
    } catch (error) {
      await this.#machine.take(this.#failed(error));
    }
    for (;;) {
      switch (this.#machine.state) {
        case "done":
          this.#downtime.end();
          this.#peer.close();
          return await this.#reported();
        case "back":
        case "lost":
          this.#peer.close();
          await this.#broughtBack();
          await this.#copy.resumeOwner();
          throw this.#failure;
        case "doubt":
          this.#tell("in-doubt");
          await this.#machine.take(await this.#order());
          break;
        default:
          await this.#machine.take(await this.#heard());
      }
    }
  }

  /** Sends memory and device data while the devices run; they stand still afterwards. */
  async #precopy(): Promise<void> {
    const lockstep = this.#lockstep;
    const { members } = lockstep;
    await this.#copy.check();
    this.#tell("connecting");
    const memory = members.map(({ device }) => device.description.mappings);
    const { compress = null, streams: { count: streams } = { count: 1 } } = this.#options;
    const { id } = this.#journal;
    await lockstep.until(this.#peer.say({ type: "hello", id, memory, compress, streams }));
    const ready = await lockstep.until(this.#peer.hear());
    if (ready.type !== "ready" || ready.streams > streams) throw unexpected(ready);
    // From here on the other side sends a message only if it gives up.
    const answer = this.#peer.hear(true);
    answer.then((message) => {
      if (!this.#lastSent) lockstep.end(unexpected(message));
    }, (error) => lockstep.end(error));
    this.#answer = answer;
    this.#inStream = true;
    await this.#join(ready, streams);
    lockstep.touch();
    await this.#copy.begin();
    this.#tell("pre-copy");
    await lockstep.until(this.#sender.begin());
    await this.#sendRounds();
    if (this.#options.owner !== undefined) this.#downtime.begin("quiesce");
    await this.#copy.quiesce();
    this.#downtime.begin("stop");
    await this.#copy.stop();
  }

  /** Connects the further streams that the other side takes. */
  async #join(ready: Ready, offered: number): Promise<void> {
    if (ready.streams < offered) {
      const { streams } = ready;
      this.#copy.warnings.push(`The other side takes ${streams} of ${offered} streams`);
    }
    if (ready.streams === 1) return;
    const peers = await this.#lockstep.until(this.#further!.join(ready));
    for (const peer of peers) this.#sender.addStream(this.#sinkOf(peer));
    this.#sender.startThreads();
  }

  #sinkOf(peer: Peer): FrameSink {
    return {
      shared: peer.shared,
      send: (parts) => peer.send(parts).catch(this.#whyLost),
      sendBy: (send) => peer.sendBy(send).catch(this.#whyLost),
      drained: () => peer.drained().catch(this.#whyLost),
    };
  }

  /** Throws why a stream was lost: what the other side says by the first one counts more. */
  readonly #whyLost = async (error: unknown): Promise<never> => {
    // It is over already, and the devices are being brought back.
    if (this.#lockstep.signal.aborted || !(error instanceof LiveError)) throw error;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, REASON_MS);
    await Promise.race([this.#answer, late.promise]).catch(() => {});
    clearTimeout(timer);
    throw error;
  };

  async #sendRounds(): Promise<void> {
    const { rounds } = this.#copy;
    const { onNoConverge } = this.#options;
    for (let throttled = 0;;) {
      await this.#copy.round();
      this.#tell("pre-copy");
      const next = afterRound(rounds, this.#copy.compareMs, this.#limits);
      if (next === "stop" || next === "give-up" && onNoConverge === "stop") return;
      if (next === "round") continue;
      const slower = onNoConverge === "throttle" && throttled++ < MOST_THROTTLES &&
        await this.#lockstep.until(this.#options.owner!.throttle!());
      if (!slower) throw this.#noConvergence();
    }
  }

  /** Sends what is left of devices that stand still. */
  async #sendRest(): Promise<void> {
    const lockstep = this.#lockstep;
    this.#downtime.begin("memory");
    this.#tell("stopped");
    await this.#copy.sendMemory();
    await lockstep.until(this.#sender.endMemory());
    this.#downtime.begin("device data");
    await this.#copy.sendDeviceData();
    if (this.#options.verifyMemory) {
      this.#downtime.begin("verify");
      // After the device's data: what it writes until then is found, too.
      await lockstep.step((member) => this.#sender.sendHashes(member));
    }
    this.#lastSent = true;
    await lockstep.until(this.#sender.end());
    await lockstep.until(this.#sender.drained());
    this.#inStream = false;
    this.#downtime.begin("commit");
    this.#tell("committing");
  }

  get #limits(): ConvergenceOptions {
    const { downtimeMs, maxRounds, maxTimeMs } = this.#options;
    return {
      downtimeMs: downtimeMs ?? DEFAULT_DOWNTIME_MS,
      maxRounds: maxRounds ?? DEFAULT_ROUNDS,
      maxTimeMs: maxTimeMs ?? Infinity,
    };
  }

  #noConvergence(): LiveError {
    const { rounds, compareMs } = this.#copy;
    const ms = (each: number): string => time(each / 1000);
    const { left } = rounds.at(-1)!;
    const hint: Hint = compareMs > 0
      ? {
        text: "Allow more downtime, let it stop all the same, or promise that nothing but the " +
          "devices writes to memory",
        remedy: "converge-or-promise",
      }
      : { text: "Allow more downtime, or let it stop all the same", remedy: "converge" };
    return new LiveError(
      "no-convergence",
      `It does not converge: after ${count(rounds.length, "round")} ${bytes(left)} are left, and ` +
        `the devices would stand still for ${
          ms(expectedDowntimeMs(rounds, compareMs))
        }, of which ` +
        `comparing memory takes ${ms(compareMs)}; ${ms(this.#limits.downtimeMs)} are allowed`,
      hint,
    );
  }

  /** The event of what went wrong here. */
  #failed(error: unknown): SourceEvent {
    this.#reason ??= error;
    if (!(error instanceof LiveError)) return "give-up";
    if (error.code === "peer-refused") return "refused";
    const own = error.code === "no-convergence" || error.code.startsWith("owner-");
    return own ? "give-up" : "cut";
  }

  /** Waits for what the other side says. */
  async #heard(): Promise<SourceEvent> {
    const answer = this.#answer!;
    this.#answer = null;
    try {
      // After the decision, a signal no longer ends the migration.
      const undecided = this.#machine.state === "stopped";
      using ending = new Ending(undecided ? this.#options.signal : undefined);
      const message = await this.#peer.inTime(ending.until(answer), "answer");
      if (message.type === "refused") this.#reason = unexpected(message);
      const event = (["loaded", "running", "refused"] as const).find((each) =>
        each === message.type && this.#machine.expects(each)
      );
      if (event === undefined) throw unexpected(message);
      this.#answer = this.#peer.hear(true);
      this.#answer.catch(() => {});
      return event;
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Waits in doubt. */
  async #order(): Promise<SourceEvent> {
    try {
      return await untilOrdered(
        this.#journal,
        "the other side was told to run, and has not said that it does",
        ["run", "drop"],
        this.#options.signal,
      );
    } catch (error) {
      this.#peer.close();
      throw error;
    }
  }

  async #perform(action: SourceAction): Promise<void> {
    switch (action) {
      case "send end":
        return await this.#sendRest();
      case "send commit":
        return await this.#peer.say({ type: "commit" });
      case "send abort": {
        if (this.#inStream) return;
        const reason = this.#reason instanceof Error ? this.#reason.message : "it was given up";
        return await this.#peer.say({ type: "abort", reason });
      }
      case "run":
        await this.#broughtBack();
        if (!await this.#lockstep.allRun()) throw this.#failure;
        return;
      default:
        return this.#journal.add(entryOf(action));
    }
  }

  /** Lets the devices run again; returns the error that says so. */
  async #broughtBack(): Promise<Error> {
    return this.#failure ??= await this.#lockstep.failure(this.#reason);
  }

  #tell(phase: MigrateProgress["phase"]): void {
    this.#reports?.tell(phase);
  }

  #progress(phase: MigrateProgress["phase"]): MigrateProgress {
    const { compareMs, left, warnings } = this.#copy;
    const rounds = [...this.#copy.rounds];
    return {
      phase,
      id: this.#journal.id,
      rounds,
      bytes: { ...this.#sender.bytes },
      sent: this.#sender.sent,
      left: phase === "done" ? 0 : left,
      step: this.#downtime.now,
      bandwidth: bandwidth(rounds),
      expectedDowntimeMs: rounds.length === 0 ? null : expectedDowntimeMs(rounds, compareMs),
      warnings: [...warnings],
      unansweredMs: unansweredMs(this.#lockstep.members),
    };
  }

  /** Reports no more progress, and closes the further streams. */
  [Symbol.dispose](): void {
    this.#further?.[Symbol.dispose]();
    this.#sender[Symbol.dispose]();
    this.#reports?.[Symbol.dispose]();
  }

  async #reported(): Promise<MigrateReport> {
    const report = await this.#report();
    this.#tell("done");
    return report;
  }

  async #report(): Promise<MigrateReport> {
    const { devices } = await this.#lockstep.reports(() => ({ phases: [], seconds: 0 }));
    return {
      id: this.#journal.id,
      seconds: (performance.now() - this.#begun) / 1000,
      downtimeSeconds: this.#downtime.seconds,
      downtime: this.#downtime.steps,
      rounds: this.#copy.rounds,
      bytes: this.#sender.bytes,
      sent: this.#sender.sent,
      streams: this.#sender.streams,
      warnings: this.#copy.warnings,
      devices,
    };
  }
}
