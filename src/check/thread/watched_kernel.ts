/**
 * Kernels that say which call is under way, and end a check between two calls.
 */

import type { Kernel } from "../../kernel/kernel.ts";
import type { Watch } from "./watch.ts";

/** The check under way was told to end. */
export class Interruption extends Error {
  /** Always `Interruption`. */
  override readonly name = "Interruption";
}

/** Watches the calls to kernels. */
export class WatchedKernels {
  readonly #watch: Watch;
  /** What the check did last. */
  step = "";
  /** Whether an interruption ends the next call; not while the device is brought back. */
  interruptible = false;

  /** Reports each call to `watch`. */
  constructor(watch: Watch) {
    this.#watch = watch;
  }

  /** A kernel whose calls are those of `kernel`, and are watched. */
  watched(kernel: Kernel): Kernel {
    return new Proxy(kernel, {
      get: (target, name): unknown => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function" || typeof name !== "string") return member;
        const call = member as (this: Kernel, ...args: unknown[]) => unknown;
        return (...args: unknown[]): unknown => {
          this.check();
          this.#watch.enter(described(name, args, this.step));
          try {
            return call.apply(target, args);
          } finally {
            this.#watch.leave();
          }
        };
      },
    });
  }

  /**
   * Goes on unless the check is to end.
   *
   * @throws {Interruption} If it is.
   */
  check(): void {
    if (this.interruptible && this.#watch.interrupted) throw new Interruption();
  }
}

function described(name: string, args: readonly unknown[], step: string): string {
  const call = `${name}(${args.map(argument).join(", ")})`;
  return step === "" ? call : `${call}, after: ${step}`;
}

function argument(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "object" && value !== null) return "{…}";
  const wide = typeof value === "bigint" || (typeof value === "number" && value > 0xfff);
  return wide ? `0x${value.toString(16)}` : String(value);
}
