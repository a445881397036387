/**
 * What the migration tests share: simulated devices on this thread, and a
 * check that nothing leaked and the protocol was kept.
 */

import assert from "node:assert/strict";
import { openFds } from "../../src/kernel/fd.ts";
import { type Device, openDevice, type OpenOptions } from "../../src/migration/device.ts";
import type { MigrationError } from "../../src/migration/migration_error.ts";
import { TransferError } from "../../src/transfer/transfer_error.ts";
import type { Transaction } from "../../src/checkpoint/batches/transaction.ts";
import { type SimDevice, SimKernel } from "../../src/sim/mod.ts";

/** Simulated devices, opened; `sims` are the same ones from behind. */
export interface Setup {
  readonly devices: readonly Device[];
  readonly sims: readonly SimDevice[];
}

/**
 * Runs a test on simulated devices and checks afterwards that it kept the
 * protocol (or broke it as `violations` says) and left nothing open.
 */
export async function withSim(
  specs: readonly string[],
  test: (setup: Setup) => Promise<void>,
  options: OpenOptions = {},
): Promise<void> {
  const kernel = new SimKernel(...specs);
  const devices: Device[] = [];
  for (const { path } of kernel.devices) {
    devices.push(await openDevice(path, { ...options, kernel }));
  }
  try {
    await test({ devices, sims: kernel.devices });
  } finally {
    for (const device of devices) await device.close();
  }
  assert.deepEqual(kernel.openObjects, []);
  assert.deepEqual(openFds(), []);
  for (const { violations } of kernel.devices) assert.deepEqual(violations, []);
}

/** The register as it is, by name. */
export async function stateOf(device: Device): Promise<string> {
  return (await device.state()).state;
}

/** Reads a stream to its end, keeping copies. */
export async function collect(source: ReadableStream<Transaction>): Promise<Transaction[]> {
  const all: Transaction[] = [];
  for await (const transaction of source) {
    all.push({ ...transaction, data: transaction.data.slice() });
  }
  return all;
}

/** Bytes of all transactions. */
export function bytesOf(transactions: readonly Transaction[]): number {
  return transactions.reduce((sum, { data }) => sum + data.length, 0);
}

/** Asserts that a promise rejects with a MigrationError that says these things. */
export async function rejectsWith(
  promise: Promise<unknown>,
  expected:
    & Partial<Pick<MigrationError, "code" | "deviceState" | "recovery" | "errno" | "lost">>
    & {
      readonly message?: RegExp;
    },
): Promise<void> {
  await assert.rejects(promise, (error: MigrationError | TransferError) => {
    assert.match(error.name, /^(Migration|Transfer)Error$/, `${error.name}: ${error.message}`);
    const { message, ...fields } = expected;
    if (message !== undefined) assert.match(error.message, message);
    const [device] = error instanceof TransferError ? error.devices : [];
    const told = device === undefined
      ? error as MigrationError
      : { ...error, lost: error.lost, deviceState: device.state, recovery: device.recovery };
    for (const [key, value] of Object.entries(fields)) {
      assert.equal(told[key as "code"], value, `${key} of "${error.message}"`);
    }
    return true;
  });
}
