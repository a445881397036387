/**
 * A migration whose connection fails in some way: doubts are resolved, and one device runs then.
 */

import assert from "node:assert/strict";
import type { Connection } from "../../src/live/mod.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { intercept } from "../dirty/_session.ts";
import { assertSameMemory, MIB, migrateTo, openSim, resolveDoubt, withFolder } from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 16n * 4096n }];

/** Makes both ends of a connection, the source's first. */
export type Ends = (folder: string) => Promise<[Connection, Connection]>;

/**
 * Migrates a simulated device, resolves doubts, and sees that exactly one device runs and has it all.
 *
 * @param fault What is wrong with the connection, for errors.
 * @returns Which device runs.
 */
export async function faultyRun(
  name: string,
  ends: Ends,
  fault: string,
  timeoutMs?: number,
): Promise<"source" | "destination"> {
  let runs: "source" | "destination" | null = null;
  await withFolder(async (folder) => {
    const target = new SimKernel(`sim:${name}?size=4KiB&seed=6`);
    // Somebody outside looks at both devices after each call of either to its kernel.
    const referee = (kernel: SimKernel): ReturnType<typeof intercept> =>
      intercept(kernel, (next, fd, request, arg) => {
        const answer = next(fd, request, arg);
        const both = from.kernel.devices[0]!.running && moved(target);
        assert.equal(both, false, `both devices run: ${fault}`);
        return answer;
      });
    let started = false;
    // A device that has not been given anything runs as it was opened.
    const moved = (kernel: SimKernel): boolean => started && kernel.devices[0]!.running;
    const from = await openSim(`${name}?size=4KiB&seed=5`, MAPS);
    await using device = from.device;
    await device.writeMemory(MIB, new Uint8Array(8192).fill(9));
    let looking: ReturnType<typeof setInterval> | null = null;
    const inDoubt = ({ phase, id }: { phase: string; id: string }): void => {
      if (phase === "starting") started = true;
      if (phase !== "in-doubt") return;
      looking ??= setInterval(() => resolveDoubt(folder, id), 5);
    };
    const { source, destination } = await migrateTo(folder, [device], target, {
      source: { downtimeMs: 60_000, onProgress: inDoubt, timeoutMs },
      destination: { onProgress: inDoubt, timeoutMs },
      over: referee,
      ends,
    });
    if (looking !== null) clearInterval(looking);
    const arrived = destination.status === "fulfilled";
    const running = [from.kernel.devices[0]!.running, arrived && target.devices[0]!.running];
    assert.equal(source.status, destination.status, fault);
    assert.deepEqual(running, arrived ? [false, true] : [true, false], fault);
    if (arrived) {
      await using devices = destination.value.devices;
      await assertSameMemory(device, devices[0]!);
      assert.equal(target.devices[0]!.checksum(), from.kernel.devices[0]!.checksum());
    }
    runs = arrived ? "destination" : "source";
  });
  return runs!;
}
