/**
 * SIGINT, SIGTERM and SIGHUP: the first asks the command to stop and bring the device back, the
 * second ends it at once.
 *
 * @module
 */

import process from "node:process";
import { DONE, exitCodeOfSignal } from "./exit_codes.ts";
import { drawStatus, STDERR, writeText } from "./output/stdio.ts";

const NAMES = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The watched signals. */
export type SignalName = (typeof NAMES)[number];

/**
 * A second signal within this time counts as the same one: a terminal and a parent may both send
 * it.
 */
const SAME_MS = 300;

/** A command that takes longer than this to end reports that it still waits. */
const WAITING_MS = 1000;

/** The reason of an abort by a signal. */
export class Interrupted extends Error {
  /** Always `Interrupted`. */
  override readonly name = "Interrupted";
  /** The signal. */
  readonly signalName: SignalName;

  /** Makes the reason. */
  constructor(signalName: SignalName) {
    super(`Interrupted by ${signalName}`);
    this.signalName = signalName;
  }
}

/** The exit code of a command that waits for a signal: that of the signal, or 0 if none came. */
export function exitCodeOfWaiting({ reason }: AbortSignal): number {
  return reason instanceof Interrupted ? exitCodeOfSignal(reason.signalName) : DONE;
}

/** The signals that arrived while a command runs. */
export interface Signals {
  /** Aborted, with an {@linkcode Interrupted}, at the first signal. */
  readonly signal: AbortSignal;
  /** Gives signals to `handler` instead, until the returned function is called. */
  divert(handler: (name: SignalName) => void): () => void;
}

/**
 * Starts watching for `program`; `giveUp` is called with the exit code at the
 * second signal. If the program has not ended a while after the first one, it
 * says that it still waits.
 */
export function watchSignals(program: string, giveUp: (exitCode: number) => void): Signals {
  const controller = new AbortController();
  let first = 0;
  let diverted: ((name: SignalName) => void) | null = null;
  for (const name of NAMES) {
    process.on(name, () => {
      if (diverted !== null) {
        diverted(name);
      } else if (!controller.signal.aborted) {
        first = Date.now();
        controller.abort(new Interrupted(name));
        setTimeout(() => {
          writeText(
            STDERR,
            `${program}: ${name}: still waiting, for the driver, a file or a pipe; a second signal ` +
              "gives up at once\n",
          );
        }, WAITING_MS);
      } else if (Date.now() - first > SAME_MS) {
        drawStatus();
        writeText(
          STDERR,
          `${program}: ${name} again: gave up while waiting; what state a device is in now, ` +
            '"vfiokit state DEVICE" says\n',
        );
        giveUp(exitCodeOfSignal(name));
      }
    });
  }
  return {
    signal: controller.signal,
    divert(handler: (name: SignalName) => void): () => void {
      diverted = handler;
      return () => {
        diverted = null;
      };
    },
  };
}
