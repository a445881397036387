/**
 * The kernel's own sample device, which nobody here wrote: saved, restored, and
 * given what it must refuse.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync, truncateSync } from "node:fs";
import {
  CheckpointError,
  createCheckpointFile,
  type Device,
  IdentityError,
  MigrationError,
  openCheckpointFile,
  openDevice,
  probe,
  restore,
  type RestoreOptions,
  save,
  TransferError,
  type TransferReport,
} from "../../../../mod.ts";
import { libcKernel } from "../../../../src/kernel/mod.ts";
import { askMtty } from "../../../migration/v2_cases/mtty.ts";
import { type Content, contentOf, forge } from "../forge.ts";
import type { Case } from "../harness.ts";
import { stepError, withCalls } from "../library.ts";
import { lacksMtty, Mtty, type Port } from "../mtty.ts";
import { bun, deno, expectExit, vfiokit, wholeJson } from "../programs.ts";

/** What the state begins with: magic, version, number of ports, flags. */
const HEADER = 24;
/** What the ports are given; a new device's are empty. */
const FILLED: readonly Port[] = [
  { scratch: 0x5a, sent: [1, 2, 3, 0xff] },
  { scratch: 0xa5, sent: [9, 8, 7] },
];

function open({ uuid }: Mtty): Promise<Device> {
  return openDevice(uuid, { kernel: libcKernel() });
}

async function saveTo(file: string, from: Mtty, precopy?: object): Promise<TransferReport> {
  await using device = await open(from);
  await using sink = await createCheckpointFile(file);
  return await save(device, sink, { precopy });
}

async function restoreFrom(
  file: string,
  to: Mtty,
  options?: RestoreOptions,
): Promise<TransferReport> {
  await using source = await openCheckpointFile(file);
  await using device = await open(to);
  return await restore(device, source, options);
}

/** Lends two devices of so many ports, the first with something in them. */
async function withPorts(
  ports: 1 | 2,
  use: (first: Mtty, second: Mtty) => Promise<void>,
): Promise<void> {
  using first = new Mtty(ports);
  using second = new Mtty(ports);
  FILLED.slice(0, ports).forEach((port, number) => first.fill(number, port));
  await use(first, second);
}

function contents(device: Mtty): Port[] {
  return FILLED.slice(0, device.ports)
    .map(({ sent }, number) => device.drain(number, sent.length));
}

const looks: readonly Case[] = [
  {
    name: "mtty: probe: the features are those of its source",
    run: () =>
      withPorts(1, async ({ uuid }) => {
        await Promise.resolve();
        const report = probe(uuid);
        assert.deepEqual(
          [report.migratable, report.protocol, report.driver, report.migrationFlags],
          [true, "v2", "mtty", ["STOP_COPY", "P2P", "PRE_COPY"]],
        );
        const has = report.features.filter(({ supported }) => supported).map(({ name }) => name);
        assert.deepEqual(has, [
          ...["MIGRATION", "MIG_DEVICE_STATE", "MIG_DATA_SIZE"],
          ...["DMA_LOGGING_START", "DMA_LOGGING_STOP", "DMA_LOGGING_REPORT"],
        ]);
      }),
  },
  {
    name: "mtty: call by call it answers as the simulated one",
    run: () =>
      withPorts(2, async (first) => {
        await Promise.resolve();
        withCalls(first, askMtty);
      }),
  },
];

function transfer(ports: 1 | 2, precopy?: object): Case {
  const how = precopy === undefined ? "" : " with pre-copy";
  return {
    name: `mtty: ${
      ports === 1 ? "a port" : "two ports"
    } saved${how} and restored: equal, and when saved again`,
    run: (folder) =>
      withPorts(ports, async (first, second) => {
        const saved = await saveTo(`${folder}/1`, first, precopy);
        assert.deepEqual(
          saved.phases.map(({ name, bytes }) => [name, bytes]),
          precopy === undefined
            ? [["stop-and-copy", saved.bytes]]
            : [["pre-copy", HEADER], ["stop-and-copy", saved.bytes - HEADER]],
        );
        const restored = await restoreFrom(`${folder}/1`, second);
        assert.deepEqual([saved.state, restored.state], ["running", "running"]);
        await saveTo(`${folder}/2`, second);
        assert.deepEqual(await contentOf(`${folder}/2`), await contentOf(`${folder}/1`));
        assert.deepEqual(contents(second), FILLED.slice(0, ports));
      }),
  };
}

const transfers: readonly Case[] = [
  transfer(1),
  transfer(2),
  transfer(1, {}),
  transfer(2, {}),
  {
    name: "mtty: the command line, saved by Bun with pre-copy, restored by Deno",
    run: (folder) =>
      withPorts(2, async (first, second) => {
        const file = `${folder}/checkpoint`;
        const json = ["--json", "--quiet"];
        const report = async (words: readonly string[]): Promise<object> => {
          const { protocol, bytes } = wholeJson<{ protocol: string; bytes: number }>(
            await expectExit(0, [...words, ...json]),
          );
          return { protocol, bytes };
        };
        const saved = await report([...vfiokit(bun), "save", first.uuid, "--precopy", "-o", file]);
        const restored = await report([...vfiokit(deno), "restore", second.uuid, file]);
        assert.deepEqual(restored, saved);
        assert.deepEqual(contents(second), FILLED);
      }),
  },
];

/** A state that the driver refuses, and how it is told. */
interface Refusal {
  readonly what: string;
  readonly forged: (state: Content["state"]) => Content["state"];
  readonly code: string;
  readonly errno: string;
  readonly words: RegExp;
}

function changed(at: number): Refusal["forged"] {
  return (state) => state.map((byte, index) => index === at ? byte ^ 1 : byte);
}

const refused = {
  code: "incompatible-state",
  errno: "EFAULT",
  words: /takes the state for incompatible/,
};

const REFUSALS: readonly Refusal[] = [
  { what: "with another magic", forged: changed(0), ...refused },
  { what: "of another version", forged: changed(8), ...refused },
  { what: "of another number of ports", forged: changed(16), ...refused },
  {
    what: "longer than its own",
    forged: (state) => new Uint8Array([...state, 0]),
    ...{ code: "state-too-long", errno: "ENOMEM", words: /longer than the driver takes/ },
  },
  {
    what: "that lacks its last byte",
    forged: (state) => state.slice(0, -1),
    ...{
      code: "state-refused",
      errno: "EINVAL",
      words: /does not take the state \(EINVAL\), which may be cut short/,
    },
  },
  {
    what: "that is nothing",
    forged: () => new Uint8Array(0),
    ...{
      code: "state-refused",
      errno: "EINVAL",
      words: /does not take the state \(EINVAL\), which may be cut short/,
    },
  },
];

/** The restore fails, the device was reset and runs with what it had before. */
async function refuses(
  what: Promise<unknown>,
  device: Mtty,
  { code, errno, words }: Omit<Refusal, "what" | "forged">,
): Promise<void> {
  const error = await what.then(() => null, stepError);
  assert.ok(error instanceof MigrationError, String(error));
  assert.match(error.message, words);
  assert.deepEqual(
    [error.code, error.errno, error.recovery, error.deviceState],
    [code, errno, "reset", "running"],
    error.message,
  );
  assert.deepEqual(contents(device), FILLED.slice(0, device.ports));
}

/** Whether a restore has refused a checkpoint of another kind of device. */
function isOfAnother(error: unknown): boolean {
  return error instanceof TransferError && error.cause instanceof IdentityError;
}

const refusals: readonly Case[] = [
  ...REFUSALS.map(({ what, forged, ...expected }): Case => ({
    name: `mtty: a state ${what} is refused, and the device reset`,
    run: (folder) =>
      withPorts(1, async (first) => {
        const file = `${folder}/checkpoint`;
        await saveTo(file, first);
        const { identity, state } = await contentOf(file);
        await forge(file, { identity, state: forged(state) });
        await refuses(restoreFrom(file, first), first, expected);
        // Nothing of it is left behind: the device saves and restores as before.
        await saveTo(`${folder}/again`, first);
        assert.equal((await restoreFrom(`${folder}/again`, first)).state, "running");
      }),
  })),
  {
    name: "mtty: a checkpoint of another type is refused, and where forced by the driver itself",
    run: (folder) =>
      withPorts(2, async (two) => {
        using one = new Mtty(1);
        one.fill(0, FILLED[0]!);
        await saveTo(`${folder}/two`, two);
        await assert.rejects(restoreFrom(`${folder}/two`, one), isOfAnother);
        await refuses(restoreFrom(`${folder}/two`, one, { force: true }), one, {
          ...refused,
          code: "state-too-long",
          errno: "ENOMEM",
          words: /longer than the driver takes/,
        });
        one.fill(0, FILLED[0]!);
        await saveTo(`${folder}/one`, one);
        await refuses(restoreFrom(`${folder}/one`, two, { force: true }), two, refused);
      }),
  },
  {
    name: "mtty: a checkpoint of another driver is refused before the device is touched",
    run: (folder) =>
      withPorts(1, async (first) => {
        const file = `${folder}/checkpoint`;
        await saveTo(file, first);
        const { identity, state } = await contentOf(file);
        await forge(file, { identity: { ...identity, driver: "mlx5_vfio_pci" }, state });
        await assert.rejects(restoreFrom(file, first), isOfAnother);
        assert.equal((await restoreFrom(file, first, { force: true })).state, "running");
      }),
  },
  {
    name: "mtty: a checkpoint that is cut is refused before the device is touched",
    run: (folder) =>
      withPorts(1, async (first) => {
        const file = `${folder}/checkpoint`;
        await saveTo(file, first);
        truncateSync(file, readFileSync(file).length - 1);
        await assert.rejects(restoreFrom(file, first), (error) => {
          assert.ok(error instanceof TransferError);
          assert.ok(error.cause instanceof CheckpointError);
          assert.equal(error.devices[0]?.recovery, "none");
          return true;
        });
        assert.deepEqual(contents(first), FILLED.slice(0, 1));
      }),
  },
];

const STATES = ["running-p2p", "stop", "stop-copy", "stop", "running", "pre-copy", "running"];

const DEBUGFS = "/sys/kernel/debug/vfio";

const witnesses: readonly Case[] = [
  {
    name: "mtty: VFIO's own account of the state, in debugfs, is the tool's",
    lacks: () => existsSync(DEBUGFS) ? null : "this kernel has no vfio in debugfs",
    run: () =>
      withPorts(1, async (first) => {
        await using device = await open(first);
        const own: string[] = [];
        for (const state of STATES) {
          await device.setState(state as "stop");
          own.push(readFileSync(`${DEBUGFS}/${first.uuid}/migration/state`, "utf8").trim());
        }
        const names = STATES.map((state) => state.replaceAll("-", "_").toUpperCase());
        assert.deepEqual(own, names);
      }),
  },
];

/** The cases. */
export const cases: readonly Case[] = [...looks, ...transfers, ...refusals, ...witnesses]
  .map((one) => ({ ...one, lacks: () => lacksMtty() ?? one.lacks?.() ?? null }));
