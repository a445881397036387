/**
 * The owners of devices that are moved or saved together.
 *
 * @module
 */

import type { AttachedOwner, Owner } from "../../src/live/mod.ts";

/** Owners, each of which has one of the devices, in their order. */
export class AttachedOwners implements Owner, Disposable {
  readonly #owners: readonly AttachedOwner[];
  readonly #names: readonly string[];

  /**
   * Takes owners, which it lets go in the end; both lists may grow.
   *
   * @param names What messages call the owners' devices.
   */
  constructor(owners: readonly AttachedOwner[], names: readonly string[]) {
    this.#owners = owners;
    this.#names = names;
  }

  /** Stops the writes of all; each is asked before any device stops. */
  async quiesce(): Promise<void> {
    await Promise.all(this.#owners.map((owner) => owner.quiesce()));
  }

  /** Lets the owners of these devices go on. */
  async resume(devices: readonly number[]): Promise<void> {
    await Promise.all(devices.map((device) => this.#owners[device]!.resume()));
  }

  /** What the owner of a device has written to. */
  dirty(device: number): ReturnType<AttachedOwner["dirty"]> {
    return this.#owners[device]!.dirty();
  }

  /** Where the owner of a device has mapped its memory, and write-protects it. */
  protectedMemory(device: number): ReturnType<AttachedOwner["protectedMemory"]> {
    return this.#owners[device]!.protectedMemory();
  }

  /** Asks all to give the devices less work; false if none of them can. */
  async throttle(): Promise<boolean> {
    return (await Promise.all(this.#owners.map((owner) => owner.throttle()))).includes(true);
  }

  /** Tells all how it ended; returns the names of those that do not hear it, for messages. */
  tell(how: "committed" | "failed" | "in-doubt", reason?: string): readonly string[] {
    const told = (device: number): string | undefined =>
      reason === undefined || this.#names.length < 2
        ? reason
        : `${reason} (${this.#names[device]} is this owner's device)`;
    return this.#owners.filter((owner, device) => !owner.tell(how, told(device)))
      .map(({ name }) => name);
  }

  /**
   * Looks at their connections.
   *
   * @throws {LiveError} `owner-lost` if one of them is gone.
   */
  demandConnected(): void {
    for (const owner of this.#owners) owner.demandConnected();
  }

  /** Ends their connections. */
  [Symbol.dispose](): void {
    using all = new DisposableStack();
    for (const owner of this.#owners) all.use(owner);
  }
}
