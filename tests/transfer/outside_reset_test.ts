import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { type Device, openDevice } from "../../src/migration/device.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { VFIO_DEVICE_RESET } from "../../src/uapi/mod.ts";
import { tellingArcs } from "../migration/_arcs.ts";
import { failure, memorySink, memorySource } from "./_several.ts";

const KINDS: readonly string[] = ["trapped", "mapped", "mlx5", "virtio", "qat"];
const CALLS: readonly (keyof Kernel)[] = ["ioctl", "read", "write", "pread", "pwrite"];

/** One device in a kernel of its own, opened; before the `nth` call since, somebody else resets it. */
class Opened implements AsyncDisposable {
  readonly sim: SimKernel;
  readonly device: Device;
  /** Calls since it was opened. */
  calls = 0;
  /** Those of them that ask for a state. */
  readonly steps: number[] = [];

  private constructor(sim: SimKernel, device: Device) {
    this.sim = sim;
    this.device = device;
  }

  static async open(kind: string, seed: number, nth: number): Promise<Opened> {
    const sim = new SimKernel(`${kind}?size=96KiB&seed=${seed}`);
    let opened: Opened | null = null;
    const count = (): void => {
      if (opened === null || ++opened.calls !== nth) return;
      sim.ioctl(opened.device.description.fds.device, VFIO_DEVICE_RESET, 0);
    };
    const telling = tellingArcs(sim, () => opened?.steps.push(opened.calls));
    const kernel = new Proxy<Kernel>(telling, {
      get(target, key): unknown {
        const value = Reflect.get(target, key, target);
        if (!CALLS.includes(key as keyof Kernel)) return value;
        return (...args: unknown[]): unknown => {
          count();
          return value(...args);
        };
      },
    });
    const device = await openDevice(sim.devices[0]!.path, { kernel });
    return opened = new Opened(sim, device);
  }

  get checksum(): string {
    return String(this.sim.devices[0]!.checksum());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device.close();
  }
}

/** What an error tells of the device must be so; returns whether there was none. */
async function done(work: Promise<unknown>, { device }: Opened): Promise<boolean> {
  return await failure(work, [device]) === null;
}

/**
 * Runs `one` for each call of ours that it makes up to `end`: what stands before that call is a
 * reset. Where that comes between our look at the state and our step out of it, nobody can tell.
 */
async function atEach(
  one: (nth: number) => Promise<readonly [opened: Opened, done: boolean]>,
  end: (clean: Opened) => number,
): Promise<void> {
  const [clean, done] = await one(0);
  assert.ok(done, "it works where nobody resets the device");
  let failures = 0;
  for (let nth = 1; nth <= end(clean); nth++) {
    if (clean.steps.includes(nth)) continue;
    const [, done] = await one(nth);
    if (!done) failures += 1;
  }
  assert.ok(failures > 3, `${failures} failures`);
}

describe("a device that another process resets before any call of ours", () => {
  for (const kind of KINDS) {
    for (const precopy of kind === "qat" ? [undefined] : [undefined, {}]) {
      it(`gives a right checkpoint, or none: ${kind}${precopy ? " with pre-copy" : ""}`, () =>
        atEach(async (nth) => {
          const sink = memorySink();
          await using from = await Opened.open(kind, 1, nth);
          const saved = await done(save(from.device, sink, { precopy }), from);
          // In its place it stays, even if the device could not be told to run again.
          if (sink.state !== "committed") assert.equal(saved, false, `call ${nth}`);
          else {
            await using to = await Opened.open(kind, 2, 0);
            await restore(to.device, memorySource(sink.bytes));
            assert.equal(to.checksum, from.checksum, `call ${nth}`);
          }
          return [from, saved];
        }, ({ calls }) => calls));
    }

    it(`takes a checkpoint whole, or keeps what it had: ${kind}`, async () => {
      const sink = memorySink();
      await using from = await Opened.open(kind, 1, 0);
      await save(from.device, sink);
      await atEach(async (nth) => {
        await using to = await Opened.open(kind, 2, nth);
        const before = to.checksum;
        const restored = await done(restore(to.device, memorySource(sink.bytes)), to);
        assert.equal(to.checksum, restored ? from.checksum : before, `call ${nth}`);
        return [to, restored];
      }, ({ steps }) => steps.at(-1)!);
    });
  }
});
