/**
 * A kernel that lies in some of its answers, below every operation. What it makes of the device is
 * not looked at: nobody could tell. It must end, with a documented error or with none, and leave
 * nothing open.
 */

import { restore } from "../../src/transfer/restore.ts";
import { save } from "../../src/transfer/save.ts";
import { DirtySession } from "../../src/dirty/session.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import type { Device } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevices } from "../../src/vfio/open/open_several.ts";
import { probe } from "../../src/vfio/probe.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { checkClosed } from "./_bench.ts";
import { ownSink, ownSource, savedFrom } from "./_checkpoints.ts";
import { checkError, nonsense } from "./_errors.ts";
import { Find, type Kind, without } from "./_kind.ts";
import { type Lie, LyingKernel } from "./_lying_kernel.ts";
import type { Random } from "./_random.ts";
import { makeSpec, nameOf, smallerSpecs, type Spec } from "./_specs.ts";

/** A lie as plain data; where it is told is a share of the questions that an honest run asks. */
export interface PlannedLie {
  readonly where: number;
  readonly what: Lie["what"];
  readonly offset: number;
  readonly width: Lie["width"];
  readonly value: string;
  readonly result: number;
  readonly text: string;
  readonly forGood: boolean;
}

const OPERATIONS = ["open", "probe", "save", "precopy", "restore", "dirty", "states"] as const;

/** What is asked of a lying kernel. */
export interface KernelPlan {
  readonly specs: readonly Spec[];
  readonly via: "cdev" | "group" | "auto";
  readonly operation: (typeof OPERATIONS)[number];
  readonly lies: readonly PlannedLie[];
}

const TEXTS: readonly string[] = [
  ...["", "\n", "0", "-1", "0x", "0xffffffffffffffffffff", "18446744073709551616", "running"],
  ...["../../../../etc/passwd", "/", ".", "..", "vfio99999999999", "\u001b[31mred\u0007", "a\0b"],
  ...["0000:00:00.0", "ffff:ff:1f.7", "\u202egnp.exe", "%s%n", "x".repeat(5000), "1 2 3\n4 5"],
];

function makeLie(random: Random): PlannedLie {
  const value = random.chance(0.5)
    ? BigInt(random.edge())
    : BigInt(random.u32()) << BigInt(random.pick([0, 8, 21, 32]));
  return {
    where: random.u32(),
    what: random.pick(["bytes", "bytes", "result", "failure"]),
    offset: random.chance(0.2)
      ? -random.few(1, 16)
      : random.chance(0.8)
      ? 4 * random.few(0, 24)
      : random.few(0, 400),
    width: random.pick([1, 2, 4, 4, 8]),
    value: String(random.chance(0.15) ? (1n << 64n) - value % 3n - 1n : value),
    result: random.chance(0.3) ? -random.few(1, 200) : random.edge(),
    text: random.pick(TEXTS),
    forGood: random.chance(0.4),
  };
}

/** A lying kernel. */
export const kernel: Kind<KernelPlan> = {
  name: "kernel",
  make(random): KernelPlan {
    const count = random.chance(0.8) ? 1 : 2;
    const cdev = random.chance(0.4);
    return {
      specs: Array.from({ length: count }, () => makeSpec(random, { faults: 0, cdev })),
      via: random.pick(["auto", "auto", "cdev", "group"]),
      operation: random.pick(OPERATIONS),
      lies: Array.from({ length: random.few(1, 3) }, () => makeLie(random)),
    };
  },
  *smaller(plan): Generator<KernelPlan> {
    for (const lies of without(plan.lies)) yield { ...plan, lies };
    if (plan.specs.length > 1) {
      for (const specs of without(plan.specs)) yield { ...plan, specs };
    }
    for (const [index, spec] of plan.specs.entries()) {
      for (const smaller of smallerSpecs(spec)) {
        yield { ...plan, specs: plan.specs.with(index, smaller) };
      }
    }
    if (plan.via !== "auto") yield { ...plan, via: "auto" };
    for (const [index, lie] of plan.lies.entries()) {
      if (lie.forGood) yield { ...plan, lies: plan.lies.with(index, { ...lie, forGood: false }) };
    }
  },
  async run(plan): Promise<void> {
    const questions = await honestly(plan);
    const sim = new SimKernel(...plan.specs.map(nameOf));
    // Each lies about what the one below it has said.
    const liars: LyingKernel[] = [];
    for (const { where, value, ...lie } of plan.lies) {
      const at = where % Math.max(1, questions);
      liars.push(new LyingKernel(liars.at(-1) ?? sim, { ...lie, value: BigInt(value), at }));
    }
    try {
      await operate(plan, liars.at(-1) ?? sim, sim);
    } catch (error) {
      checkError(error, [], plan.operation);
    }
    checkClosed(liars.some(({ lied }) => GIVES_FD.test(lied ?? "")) ? null : sim);
  },
};

/** To read outside a region is the caller's mistake, also of a region that is said to be empty. */
const MISTAKES = [RangeError];

/**
 * Answers that give an fd, which nobody can close who is told another one:
 * VFIO_GROUP_GET_DEVICE_FD, and VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE.
 */
const GIVES_FD = /^ioctl 0x3b(6a|75 0x[0-9a-f]+2$)/;

const counted = new Map<string, number>();

/** The questions that are asked where all answers are true. */
async function honestly(plan: KernelPlan): Promise<number> {
  const key = JSON.stringify([plan.specs, plan.via, plan.operation]);
  const known = counted.get(key);
  if (known !== undefined) return known;
  const sim = new SimKernel(...plan.specs.map(nameOf));
  const honest = new LyingKernel(sim, null);
  try {
    await operate(plan, honest, sim);
  } catch (error) {
    // What this device cannot do it refuses.
    checkError(error, [], plan.operation);
  }
  checkClosed(sim);
  if (counted.size > 1000) counted.clear();
  counted.set(key, honest.asked.length);
  return honest.asked.length;
}

/** Something that can be closed. */
interface Closable {
  close(): void | Promise<void>;
}

/**
 * Works with what was opened, and closes it; the errors of both are looked at, each by itself: at
 * the end of a `using` block the second one would hide the first.
 */
async function closing(
  operation: string,
  opened: readonly Closable[],
  work: () => unknown,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    checkError(error, operation === "states" ? MISTAKES : [], operation);
  }
  for (const one of opened.toReversed()) {
    try {
      await one.close();
    } catch (error) {
      checkError(error, [], "closing");
    }
  }
}

async function operate(plan: KernelPlan, kernel: Kernel, sim: SimKernel): Promise<void> {
  const { operation, via } = plan;
  const names = sim.devices.map(({ path }) => path);
  switch (operation) {
    case "open":
      return await closing(
        operation,
        openVfioDevices(kernel, names.map(parseDeviceName), { via }),
        () => {},
      );
    case "probe":
      for (const name of names) checkReport(await probe(name, { kernel, via }));
      return;
    case "dirty": {
      const maps = [{ iova: 0x100000n, size: 0x8000n }, { iova: 0x200000n, size: 0x3000n }];
      const session = DirtySession.open(names[0]!, { kernel, maps, via });
      return await closing(operation, [session], () => {
        session.tracker.start();
        session.tracker.read({ twice: true });
        session.tracker.unmapWithDirty(0x200000n, 0x3000n);
        session.tracker.stop();
      });
    }
    default: {
      const devices = await openDevices(names, { kernel, via });
      return await closing(operation, devices, () => migrate(plan, devices));
    }
  }
}

async function migrate(
  { operation, specs }: KernelPlan,
  devices: readonly Device[],
): Promise<unknown> {
  const [first] = devices;
  switch (operation) {
    case "restore": {
      const source = ownSource((await savedFrom(specs, {})).bytes, false);
      return await (devices.length === 1 ? restore(first!, source) : restore(devices, source));
    }
    case "states":
      for (const device of devices) {
        await device.state();
        await device.setState("stop");
        await device.recover();
        await device.readRegion(0, 0, 8);
        await device.reset();
      }
      return;
    default: {
      // A device that always has more, and says that much more is pending, has no end of a round.
      const precopy = { maxRounds: 4, maxTimeMs: 5000 };
      const options = operation === "precopy" ? { precopy } : {};
      const sink = ownSink();
      return await (devices.length === 1
        ? save(first!, sink, options)
        : save(devices, sink, options));
    }
  }
}

/** A report is for people. */
function checkReport(report: unknown): void {
  const text = JSON.stringify(
    report,
    (_key, value) => typeof value === "bigint" ? String(value) : value,
  );
  const bad = nonsense(text);
  if (bad !== null) throw new Find("message", `a report has ${bad}: ${text.slice(0, 300)}`);
}
