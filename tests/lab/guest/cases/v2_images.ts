/**
 * Data that a v2 driver does not take, and a data fd that is gone: the streams
 * of the phases by themselves, with no checkpoint around them to tell first.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readlinkSync } from "node:fs";
import {
  MigrationError,
  openDevice,
  resume,
  stopAndCopy,
  type Transaction,
} from "../../../../mod.ts";
import { libcKernel } from "../../../../src/kernel/libc/libc_kernel.ts";
import { type GuestDevice, lacks, type Settings, withPair } from "../device.ts";
import type { Case } from "../harness.ts";

const SMALL: Settings = { size: 1 << 20, chunk: 64 << 10 };
const RUNNING = 2;

/** All data of a device, in one piece. */
async function imageOf({ uuid }: GuestDevice): Promise<Uint8Array<ArrayBuffer>> {
  await using device = await openDevice(uuid, { kernel: libcKernel() });
  const parts: Uint8Array[] = [];
  // The buffers go round: what is kept is copied.
  for await (const { data } of stopAndCopy(device)) parts.push(data.slice());
  const image = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    image.set(part, at);
    at += part.length;
  }
  return image;
}

function transaction(data: Uint8Array<ArrayBuffer>): Transaction {
  return { device: 0, phase: "stop-and-copy", data, more: false };
}

/** Restores bytes; returns the error that it must end with. */
async function refusal(
  { uuid }: GuestDevice,
  data: Uint8Array<ArrayBuffer>,
): Promise<MigrationError> {
  await using device = await openDevice(uuid, { kernel: libcKernel() });
  const writer = resume(device).getWriter();
  const error = await (async () => {
    for (let at = 0; at < data.length; at += 1 << 18) {
      await writer.write(transaction(data.slice(at, at + (1 << 18))));
    }
    await writer.close();
    return null;
  })().catch((reason) => reason);
  assert.ok(error instanceof MigrationError, String(error));
  assert.equal((await device.state()).state, error.deviceState);
  return error;
}

interface BadImage {
  readonly name: string;
  readonly make: (image: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;
  readonly errno: string;
  readonly code: string;
  readonly says: RegExp;
  /** What may be counted: that the driver saw it. */
  readonly counted?: readonly string[];
}

function badImage({ name, make, errno, code, says, counted = [] }: BadImage): Case {
  return {
    name: `v2 image: ${name}: refused, and the device reset`,
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", SMALL, async (first, second) => {
        const error = await refusal(second, make(await imageOf(first)));
        assert.deepEqual(
          [error.errno, error.code, error.recovery, error.deviceState, second.state],
          [errno, code, "reset", "running", RUNNING],
        );
        assert.match(error.message, says);
        assert.deepEqual(second.violations, counted);
        second.forgetViolations();
      }),
  };
}

function changed(image: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> {
  image[at]! ^= 0xff;
  return image;
}

const images: readonly Case[] = [
  badImage({
    name: "cut short by a byte",
    make: (image) => image.slice(0, -1),
    errno: "EINVAL",
    code: "state-refused",
    says: /does not take the state.*cut short/,
  }),
  badImage({
    name: "cut to half a record's head",
    make: (image) => image.slice(0, 16),
    errno: "EINVAL",
    code: "state-refused",
    says: /does not take the state.*cut short/,
  }),
  badImage({
    name: "something else",
    make: (image) => changed(image, 0),
    errno: "EFAULT",
    code: "incompatible-state",
    says: /incompatible \(EFAULT\)/,
  }),
  badImage({
    name: "of another type of device",
    make: (image) => changed(image, 6),
    errno: "EINVAL",
    code: "incompatible-state",
    says: /incompatible \(EINVAL\)/,
  }),
  badImage({
    name: "with a bit turned in the midst of it",
    make: (image) => changed(image, 700_000),
    errno: "EINVAL",
    code: "state-refused",
    says: /does not take the state/,
  }),
  badImage({
    name: "too long",
    make: (image) => new Uint8Array([...image, 1]),
    errno: "ENOMEM",
    code: "state-too-long",
    says: /longer than the driver takes/,
  }),
];

/** Closes the data fd of the device that this process has open. */
function closeDataFd(what: string): void {
  const fd = readdirSync("/proc/self/fd").find((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === `anon_inode:${what}`;
    } catch {
      return false;
    }
  });
  assert.ok(fd !== undefined, `there is no ${what}`);
  libcKernel().close(Number(fd));
}

const closed: readonly Case[] = [
  {
    name: "v2 image: the save fd is closed under the toolkit: back to running",
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", {}, async ({ uuid }) => {
        await using device = await openDevice(uuid, { kernel: libcKernel() });
        const reader = stopAndCopy(device).getReader();
        await reader.read();
        closeDataFd("save fd");
        const error = await (async () => {
          while (!(await reader.read()).done);
        })().catch((reason) => reason);
        assert.ok(error instanceof MigrationError, String(error));
        assert.deepEqual([error.errno, error.recovery], ["EBADF", "running"], error.message);
        assert.equal((await device.state()).state, "running");
      }),
  },
  {
    name: "v2 image: the resume fd is closed under the toolkit: reset",
    lacks: () => lacks("v2"),
    run: () =>
      withPair("v2", SMALL, async (first, second) => {
        const image = await imageOf(first);
        await using device = await openDevice(second.uuid, { kernel: libcKernel() });
        const writer = resume(device).getWriter();
        await writer.write(transaction(image.slice(0, 100_000)));
        closeDataFd("resume fd");
        const error = await writer.write(transaction(image.slice(100_000)))
          .then(() => writer.close()).catch((reason) => reason);
        assert.ok(error instanceof MigrationError, String(error));
        assert.deepEqual([error.errno, error.recovery], ["EBADF", "reset"], error.message);
        assert.equal((await device.state()).state, "running");
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...images, ...closed];
