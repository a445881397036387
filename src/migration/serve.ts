/**
 * The Worker's side: a session of its own, served request by request.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import { type Answer, type Request, travellingBuffer } from "./_protocol.ts";
import { type OpenOptions, Session } from "./_session.ts";
import { SharedCounters } from "./_shared_counters.ts";
import { packError } from "./_wire.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(message: Answer, transfer: ArrayBuffer[]): void;
}

/**
 * Makes the Worker that this is called in serve one device to
 * {@linkcode openDevice}. Everything that may block blocks here.
 *
 * Only needed for a Worker of one's own: where a bundler has to see it, or to
 * bring a Kernel along.
 *
 * @param kernel The kernel to open devices on; by default the device's name decides.
 *
 * @example
 * ```ts ignore
 * // my_worker.ts
 * serveDevice();
 * // my_program.ts
 * const worker = new Worker(new URL("./my_worker.ts", import.meta.url), { type: "module" });
 * const device = await openDevice("0000:3b:00.1", { worker });
 * ```
 */
export function serveDevice(kernel?: Kernel): void {
  const scope = globalThis as unknown as WorkerScope;
  let session: Session | null = null;

  function serve({ method, args }: Request): unknown {
    if (method === "open") {
      const [name, options, memory] = args as [string, OpenOptions, SharedArrayBuffer];
      session = new Session(name, options, new SharedCounters(memory), kernel);
      return session.description;
    }
    if (session === null) throw new Error(`Cannot serve "${method}": no device is open`);
    return (session[method] as (...args: readonly unknown[]) => unknown).apply(session, [...args]);
  }

  scope.onmessage = (event): void => {
    const request = event.data;
    const buffer = travellingBuffer(request);
    const transfer = buffer === null ? [] : [buffer];
    try {
      const value = serve(request);
      scope.postMessage({ ok: true, value, buffer }, transfer);
    } catch (error) {
      scope.postMessage({ ok: false, error: packError(error), buffer }, transfer);
    }
  };
}
