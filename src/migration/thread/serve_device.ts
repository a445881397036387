/**
 * The Worker that a device is served in: its session, request by request.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { libcAllowed } from "../../kernel/libc/calls_with_errno.ts";
import { blockSignals } from "../../kernel/process/signal_mask.ts";
import type { DriverNote } from "../../vfio/notes/driver_notes.ts";
import { type SessionAnswer, type SessionRequest, transferredBuffer } from "./requests.ts";
import { packValue, unpackArgs } from "./posted_bytes.ts";
import { DeviceSession, type OpenOptions } from "./session.ts";
import { SharedCounters } from "./shared_counters.ts";
import { packError } from "../../base/error_transfer.ts";
import { serveParent } from "../../base/thread.ts";

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
  let session: DeviceSession | null = null;

  function answer({ method, args }: SessionRequest): unknown {
    if (method === "open") {
      const [name, options, memory] = args as [string, OpenOptions, SharedArrayBuffer];
      // A driver that a signal interrupts may drop what it was about to give, or had taken.
      if (libcAllowed()) blockSignals();
      session = new DeviceSession(name, options, new SharedCounters(memory), kernel);
      return session.description;
    }
    if (session === null) throw new Error(`Cannot serve "${method}": no device is open`);
    return (session[method] as (...args: readonly unknown[]) => unknown).apply(session, [...args]);
  }

  const notes = (): readonly DriverNote[] => session?.takeNotes() ?? [];

  serveParent<SessionRequest, SessionAnswer>(({ method, args }, parent) => {
    const request = { method, args: unpackArgs(method, args) };
    const buffer = transferredBuffer(request);
    const transfer = buffer === null ? [] : [buffer];
    try {
      const value = packValue(method, answer(request));
      parent.post({ ok: true, value, buffer, notes: notes() }, transfer);
    } catch (error) {
      parent.post({ ok: false, error: packError(error), buffer, notes: notes() }, transfer);
    }
  });
}
