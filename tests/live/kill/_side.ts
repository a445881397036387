/**
 * One side of a migration in a process of its own, which kills itself at a given step. A step is a
 * call to the device or to the other side, before it or after it. What it is to do comes as a line
 * of JSON on stdin; how it goes is printed as lines of JSON.
 *
 * @module
 */

import process from "node:process";
import {
  type Connection,
  connectUnix,
  migrate,
  receive,
  UnixListener,
} from "../../../src/live/mod.ts";
import type { Kernel } from "../../../src/kernel/kernel.ts";
import { type OpenDevices, openDevices } from "../../../src/migration/open_devices.ts";
import { VfioUserKernel } from "../../../src/vfio_user/mod.ts";
import type { Report, SideTask } from "./_sides.ts";

/** Counts steps, and kills this process at one of them. */
class Steps {
  readonly #last: number | null;
  count = 0;

  constructor(last: number | null) {
    this.#last = last;
  }

  step(): void {
    if (this.count === this.#last) process.kill(process.pid, "SIGKILL");
    this.count += 1;
  }

  /** Counts each call of an object's methods. */
  counting<T extends object>(object: T): T {
    return new Proxy(object, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          this.step();
          const result = value.apply(target, args);
          this.step();
          return result;
        };
      },
    });
  }
}

function say(report: Report): void {
  process.stdout.write(JSON.stringify(report) + "\n");
}

async function task(): Promise<SideTask> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.endsWith("\n")) break;
  }
  return JSON.parse(text);
}

async function run(): Promise<void> {
  const { side, socket, journal, range, fds, killAt, tracker, timeoutMs } = await task();
  const { channel, memory } = fds[side];
  const steps = new Steps(killAt);
  const open = (): Promise<OpenDevices> => {
    const served = new VfioUserKernel(`fd:${channel}`, { channel });
    const iova = { iova: BigInt(range.iova), size: BigInt(range.size) };
    return openDevices([`vfio-user:${served.path}`], {
      kernel: steps.counting<Kernel>(served),
      maps: [{ ...iova, fd: memory }],
      ...(side === "source" && tracker ? { tracker: "auto" } : {}),
    });
  };
  const inDoubt = ({ phase, id }: { phase: string; id: string }): void => {
    if (phase === "in-doubt") say({ type: "in-doubt", id });
    else say({ type: "id", id });
  };
  const counted = (connection: Connection): Connection => steps.counting(connection);
  const options = { journal, timeoutMs, onProgress: inDoubt };
  if (side === "destination") {
    using listener = await UnixListener.listen(socket);
    say({ type: "waiting" });
    const { devices } = await receive(counted(await listener.next()), open, options);
    say({ type: "steps", count: steps.count });
    await devices[Symbol.asyncDispose]();
    return;
  }
  const devices = await open();
  say({ type: "waiting" });
  await migrate(devices, counted(await connectUnix(socket)), { ...options, downtimeMs: 600_000 });
  say({ type: "steps", count: steps.count });
  await devices[Symbol.asyncDispose]();
}

try {
  await run();
  process.exit(0);
} catch (error) {
  say({ type: "failed", message: (error as Error).message });
  process.exit(1);
}
