// The migration state of a device, as the calls of its thread show it.

import type { TraceEvent } from "../event.ts";

/** Whether a call asks for a state, and does not only read it. */
export function asksForState({ call, register, args }: TraceEvent): boolean {
  if (register === "device_state") return call === "pwrite";
  const operation = args?.["operation"];
  return Array.isArray(operation) && operation.includes("VFIO_DEVICE_FEATURE_SET");
}

/** Follows the state of one device. */
export class DeviceStates {
  #state: string | null = null;

  /** The state, as far as it is known. */
  get state(): string | null {
    return this.#state;
  }

  /**
   * Takes a call; says whether the state is another one since. A step that failed may have left the
   * device anywhere on its way: the next reading tells.
   */
  event(event: TraceEvent): boolean {
    if (event.result === undefined) return false;
    const state = event.request === "VFIO_DEVICE_RESET" ? "running" : event.state ?? this.#state;
    const changed = state !== this.#state;
    this.#state = state;
    return changed;
  }
}
