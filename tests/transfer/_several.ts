/**
 * What the tests of several devices at once share: simulated devices in one
 * kernel that writes down their steps, and what became of them.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { CheckpointSink } from "../../src/transfer/sinks_and_sources.ts";
import type { RestoreSource } from "../../src/transfer/sinks_and_sources.ts";
import { openFds } from "../../src/kernel/fd.ts";
import type { Device, OpenOptions } from "../../src/migration/device.ts";
import { MigrationError } from "../../src/migration/migration_error.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { type SimDevice, SimKernel } from "../../src/sim/mod.ts";
import { tellingArcs } from "../migration/_arcs.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Simulated devices, opened; `sims` are the same ones from behind. */
export interface TeamSetup {
  readonly devices: readonly Device[];
  readonly sims: readonly SimDevice[];
  /** The states that were asked of them so far, in order, as `0 STOP_COPY`; of v1 as `1 010b`. */
  readonly arcs: string[];
}

/** Runs a test on devices of one kernel; checks that nothing is left open and the protocol was kept. */
export async function withTeam(
  specs: readonly string[],
  test: (setup: TeamSetup) => Promise<void>,
  options: OpenOptions = {},
): Promise<void> {
  const sim = new SimKernel(...specs);
  const asked: { readonly fd: number; readonly state: string }[] = [];
  const arcs: string[] = [];
  const kernel = tellingArcs(sim, (fd, state) => {
    const number = fds.indexOf(fd);
    if (number < 0) asked.push({ fd, state });
    else arcs.push(`${number} ${state}`);
  });
  const fds: number[] = [];
  {
    await using devices = await openDevices(sim.devices.map(({ path }) => path), {
      ...options,
      kernel,
    });
    fds.push(...devices.map(({ description }) => description.fds.device));
    assert.deepEqual(asked, []);
    await test({ devices, sims: sim.devices, arcs });
  }
  assert.deepEqual(sim.openObjects, []);
  assert.deepEqual(openFds(), []);
  for (const { violations } of sim.devices) assert.deepEqual(violations, []);
}

/** A sink in memory. */
export interface MemorySink extends CheckpointSink {
  /** What was written to it. */
  readonly bytes: Bytes;
  /** What became of it. */
  state: "open" | "committed" | "aborted";
}

/** A sink in memory; `onWrite` is told how much was written before each chunk, and may throw. */
export function memorySink(
  onWrite: (before: number) => void | Promise<void> = () => {},
): MemorySink {
  const chunks: Bytes[] = [];
  let length = 0;
  return {
    get bytes(): Bytes {
      return new Uint8Array(Buffer.concat(chunks));
    },
    state: "open",
    writable: new WritableStream<Bytes>({
      async write(chunk): Promise<void> {
        await onWrite(length);
        chunks.push(chunk.slice());
        length += chunk.length;
      },
    }),
    commit(): Promise<void> {
      assert.equal(this.state, "open");
      this.state = "committed";
      return Promise.resolve();
    },
    abort(): Promise<void> {
      if (this.state === "open") this.state = "aborted";
      return Promise.resolve();
    },
  };
}

/** A source in memory, as a pipe (to be read once, in such pieces) or as a file. */
export function memorySource(bytes: Uint8Array, piece = 0): RestoreSource {
  return {
    seekable: piece === 0,
    stream: () =>
      ReadableStream.from((function* (): Generator<Bytes> {
        const step = piece === 0 ? 1 << 20 : piece;
        for (let at = 0; at < bytes.length; at += step) {
          yield new Uint8Array(bytes.subarray(at, at + step));
        }
      })()),
  };
}

/** What a promise fails with, which must be a TransferError whose states are true; null where it does not. */
export async function failure(
  work: Promise<unknown>,
  devices: readonly Device[],
): Promise<TransferError | null> {
  let failed: TransferError;
  try {
    await work;
    return null;
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    failed = error;
  }
  assert.equal(failed.devices.length, devices.length);
  for (const [index, device] of devices.entries()) {
    const told = failed.devices[index]!;
    assert.equal(told.name, device.name);
    if (told.error instanceof MigrationError) {
      const { deviceState: state, recovery } = told.error;
      assert.deepEqual({ state, recovery }, { state: told.state, recovery: told.recovery });
    }
    if (told.state === null) continue;
    // The state as read may be what a fault still hides: asked again, it is told.
    for (let tries = 0;; tries++) {
      const { state } = await device.state();
      if (state === told.state) break;
      assert.ok(tries < 9 && (state === "unknown" || told.state === "unknown"), failed.message);
    }
    const each = devices.length === 1 ? /./ : new RegExp(`all of them |device ${index} \\(`);
    assert.match(failed.message, each, "the message tells of each");
  }
  return failed;
}

/** The states that an error tells, in order. */
export function statesOf(error: TransferError | null): (string | null)[] {
  assert.ok(error, "it should have failed");
  return error.devices.map(({ state }) => state);
}
