/**
 * The Worker that a device is served in.
 *
 * @module
 */

import type { Kernel } from "../../kernel/kernel.ts";
import { serve } from "./serve.ts";
import { FileSession } from "./file_session.ts";

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
  serve(FileSession, kernel);
}
