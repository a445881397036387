/**
 * The devices of a try: opened, interrupted, looked at from behind, closed.
 */

import * as fs from "node:fs";
import { openFds } from "../../src/kernel/fd.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { type Device, openDevice, type OpenOptions } from "../../src/migration/device.ts";
import { openDevices } from "../../src/migration/open_devices.ts";
import type { StateName } from "../../src/vfio/state/states.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import { openFiles } from "../_open_files.ts";
import { checkError } from "./_errors.ts";
import { Find } from "./_kind.ts";
import type { FaultsPlan } from "./_plan.ts";
import { nameOf, type Spec } from "./_specs.ts";
import { type Truth, truthOf } from "./_window.ts";

/** A kernel that calls before each of its calls; the call itself is not changed. */
export function counting<T extends Kernel>(kernel: T, before: () => void): T {
  return new Proxy(kernel, {
    get(target, key): unknown {
      const value = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        before();
        return value.apply(target, args);
      };
    },
  });
}

/** The thread of a device, which tells of each message to it. */
class CountedWorker extends Worker {
  #before: () => void = () => {};

  static make(before: () => void): CountedWorker {
    const url = new URL("../../src/migration/thread/device_worker.ts", import.meta.url);
    const worker = new CountedWorker(url, { type: "module" });
    worker.#before = before;
    return worker;
  }

  override postMessage(message: unknown, transfer?: unknown): void {
    this.#before();
    super.postMessage(message, transfer as Transferable[]);
  }
}

/** The devices of a try. */
export class Bench implements AsyncDisposable {
  /** As they were opened. */
  readonly devices: readonly Device[];
  /** What they were like then. */
  readonly before: readonly (Truth | null)[];
  /** The caller's signal. */
  readonly signal: AbortSignal;
  /** The simulated kernel itself; null where each device has one on its own thread. */
  readonly kernel: SimKernel | null;
  readonly #specs: readonly Spec[];
  readonly #closed: Set<Device>;
  readonly #closing: Promise<void>[];
  readonly #start: () => void;

  private constructor(parts: {
    devices: readonly Device[];
    before: readonly (Truth | null)[];
    signal: AbortSignal;
    specs: readonly Spec[];
    kernel: SimKernel | null;
    closed: Set<Device>;
    closing: Promise<void>[];
    start: () => void;
  }) {
    this.devices = parts.devices;
    this.before = parts.before;
    this.signal = parts.signal;
    this.#specs = parts.specs;
    this.kernel = parts.kernel;
    this.#closed = parts.closed;
    this.#closing = parts.closing;
    this.#start = parts.start;
  }

  /** Opens a plan's devices; null where they cannot be opened, for a documented reason. */
  static async open(plan: FaultsPlan): Promise<Bench | null> {
    const { specs, interruption } = plan;
    const names = specs.map(nameOf);
    const abort = new AbortController();
    const closed = new Set<Device>();
    const closing: Promise<void>[] = [];
    let devices: readonly Device[] = [];
    let calls = -1;
    const count = (): void => {
      if (calls < 0 || interruption === null) return;
      calls += 1;
      if (calls !== interruption.at) return;
      // Between two turns of the event loop: where a signal's handler, or a script, has its say.
      queueMicrotask(() => {
        if (interruption.how === "abort") return abort.abort();
        const device = devices[interruption.device]!;
        closed.add(device);
        closing.push(device.close());
        closing.at(-1)!.catch(() => {});
      });
    };
    const kernel = plan.host === "inline" ? new SimKernel(...names) : null;
    const options: OpenOptions = { onError: plan.onError };
    try {
      devices = kernel === null
        ? await openOnThreads(names, options, count)
        : await openDevices(kernel.devices.map(({ path }) => path), {
          ...options,
          kernel: counting(kernel, count),
        });
    } catch (error) {
      checkError(error, [], "opening");
      checkClosed(kernel);
      return null;
    }
    const before = await Promise.all(devices.map(truthOf));
    return new Bench({
      ...{ devices, before, specs, kernel, closed, closing },
      signal: abort.signal,
      start: () => {
        calls = 0;
      },
    });
  }

  /** From now on calls are counted. */
  start(): void {
    this.#start();
  }

  /** Whether a device was closed in the midst of it. */
  wasClosed(index: number): boolean {
    return this.#closed.has(this.devices[index]!);
  }

  /** What a device is really like; null where it is gone, or was closed. */
  truth(index: number): Promise<Truth | null> {
    return this.wasClosed(index) ? Promise.resolve(null) : truthOf(this.devices[index]!);
  }

  /**
   * Compares the state that somebody was told with the one that the device is in.
   *
   * @param told Null: nothing was said, so it is to be as it was, or to run.
   */
  async checkState(index: number, told: StateName | null, by: string): Promise<void> {
    const device = this.devices[index]!;
    if (this.wasClosed(index)) return;
    const truth = await truthOf(device);
    const { faults } = this.#specs[index]!;
    const hidden = faults.some((fault) => /^(state-read|gone)\b/.test(fault));
    const who = `device ${index}`;
    if (truth === null) {
      if (told === "unknown" || hidden && told === null) return;
      throw new Find("told state", `${by} says ${told} of ${who}, which is gone`);
    }
    if (truth.state === told) return;
    // What ice's register says of a device that nobody has touched yet.
    const untouched = device.description.quirk === "ice" && truth.state === "stop";
    if (untouched && told === "running") return;
    if (told === "unknown" && hidden) return;
    const was = this.before[index]?.state ?? null;
    if (told === null && (truth.state === was || truth.state === "running")) return;
    throw new Find("told state", `${by} says ${told} of ${who}, which is in ${truth.state}`);
  }

  /** Closes them all, and looks for what was left: fds, mappings, violations. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  /**
   * As at the end of an `await using` block.
   *
   * @param accepted Violations that are the content's, and nobody's who drives the device. They can
   * be told apart only where the devices are served on this thread.
   */
  async end(accepted?: RegExp): Promise<void> {
    const violations: string[] = [];
    for (const [index, device] of this.devices.entries()) {
      if (this.kernel !== null || accepted !== undefined) break;
      const truth = this.wasClosed(index) ? null : await truthOf(device);
      if ((truth?.violations ?? 0) > 0) violations.push(`device ${index}: ${truth!.violations}`);
    }
    for (const device of this.devices.toReversed()) this.#closing.push(device.close());
    for (const closing of this.#closing) {
      await closing.catch((error: unknown) => checkError(error, [], "closing"));
    }
    for (const [index, device] of this.kernel?.devices.entries() ?? []) {
      const broken = device.violations.filter((how) => accepted?.test(how) !== true);
      violations.push(...broken.map((how) => `device ${index}: ${how}`));
    }
    if (violations.length > 0) throw new Find("violation", violations.slice(0, 3).join("; "));
    checkClosed(this.kernel);
  }
}

async function openOnThreads(
  names: readonly string[],
  options: OpenOptions,
  before: () => void,
): Promise<Device[]> {
  const devices: Device[] = [];
  try {
    for (const name of names) {
      devices.push(await openDevice(name, { ...options, worker: CountedWorker.make(before) }));
    }
    return devices;
  } catch (error) {
    for (const device of devices) await device.close();
    throw error;
  }
}

/** The fds that earlier tries have left open, so that they are told of once. */
let leftBefore = 0;

/** Sees to it that nothing is left open. */
export function checkClosed(kernel: SimKernel | null): void {
  const fds = openFds();
  const left = [...kernel?.openObjects ?? [], ...fds.slice(leftBefore)];
  leftBefore = fds.length;
  if (left.length > 0) throw new Find("leak", `left open: ${left.slice(0, 4).join(", ")}`);
}

/** The read of a pipe that was given up ends with the pipe, a moment later. */
const OPEN_MS = 5000;

/** Sees to it that of a try's folder nothing but these files is left, and none of it is open. */
export async function checkFolder(folder: string, expected: readonly string[]): Promise<void> {
  const left = fs.readdirSync(folder).filter((name) => !expected.includes(name));
  if (left.length > 0) throw new Find("leak", `left in the folder: ${left.join(", ")}`);
  const end = Date.now() + OPEN_MS;
  for (;;) {
    const open = openIn(folder);
    if (open.length === 0) return;
    if (Date.now() > end) throw new Find("leak", `files left open: ${open.join(", ")}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The files of a folder that this process has open. */
function openIn(folder: string): string[] {
  return openFiles().map(({ target }) => target).filter((path) => path.startsWith(`${folder}/`));
}
