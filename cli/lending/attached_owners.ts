/**
 * The owners of devices that are moved or saved together.
 *
 * @module
 */

import type { AttachedOwner, Owner } from "../../src/live/mod.ts";

/** Owners, each of which has one of the devices, in their order. */
export class AttachedOwners implements Owner, Disposable {
  readonly #owners: readonly AttachedOwner[];

  /** Takes owners, which it lets go in the end. */
  constructor(owners: readonly AttachedOwner[]) {
    this.#owners = owners;
  }

  /** Their names, for messages. */
  get name(): string {
    return this.#owners.map(({ name }) => name).join(" and ");
  }

  /** Stops the writes of all; each is asked before any device stops. */
  async quiesce(): Promise<void> {
    await answers(this.#owners.map((owner) => owner.quiesce()));
  }

  /** Lets all go on. */
  async resume(): Promise<void> {
    await answers(this.#owners.map((owner) => owner.resume()));
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
    return (await answers(this.#owners.map((owner) => owner.throttle()))).includes(true);
  }

  /** Tells all how it ended; returns whether each of them hears it. */
  tell(...words: Parameters<AttachedOwner["tell"]>): boolean {
    return this.#owners.map((owner) => owner.tell(...words)).every((heard) => heard);
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
    for (const owner of this.#owners) owner[Symbol.dispose]();
  }
}

/** Waits for all, whatever some of them do; throws what the first of them did. */
async function answers<Value>(asked: readonly Promise<Value>[]): Promise<Value[]> {
  await Promise.allSettled(asked);
  return await Promise.all(asked);
}
