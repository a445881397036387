/**
 * What the kernel's sample device answers, call by call: asked of the real one
 * in the lab, and of the simulated one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { isErrno } from "../../../src/kernel/sys_error.ts";
import {
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
} from "../../../src/uapi/mod.ts";
import type { V2Calls } from "./calls.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function refused(code: string, call: () => unknown): void {
  assert.throws(call, (error) => isErrno(error, code), code);
}

/** Pre-copy is the header alone, and a drained read is 0 bytes; the rest comes by the same fd. */
function askSave(calls: V2Calls): { readonly header: Bytes; readonly rest: Bytes } {
  calls.go(PRE_COPY);
  const { initial, dirty } = calls.info();
  assert.ok(initial > 0);
  assert.equal(dirty, 0);
  const header = calls.readAll();
  assert.equal(header.length, initial);
  assert.deepEqual(calls.info(), { initial: 0, dirty: 0 });
  calls.go(PRE_COPY_P2P, STOP_COPY);
  assert.equal(calls.given, false);
  refused("EINVAL", () => calls.info());
  const rest = calls.readAll();
  assert.ok(rest.length > 0);
  calls.go(STOP);
  refused("ENODEV", () => calls.read(1));
  return { header, rest };
}

/** Another number of ports, or the simulated device's size of the state. */
function changed(header: Bytes): Bytes {
  return header.map((byte, at) => at === header.length - 8 ? byte ^ 1 : byte);
}

/** A header that is refused is forgotten: only the length counts at the step to STOP. */
function askForgiven(calls: V2Calls, header: Bytes, rest: Bytes): void {
  calls.go(RESUMING);
  refused("EFAULT", () => calls.write(changed(header)));
  calls.writeAll(rest);
  calls.go(STOP, RESUMING);
  refused("EFAULT", () => calls.write(new Uint8Array([...changed(header), ...rest])));
  calls.go(STOP, RESUMING);
  refused("EFAULT", () => calls.write(changed(header)));
  refused("EINVAL", () => calls.go(STOP));
  assert.equal(calls.v2State, RESUMING);
  calls.reset();
  assert.equal(calls.v2State, RUNNING);
  refused("ENODEV", () => calls.write(rest));
}

/** What is cut stays in RESUMING, and may still be completed; what is too long is refused at once. */
function askLength(calls: V2Calls, header: Bytes, rest: Bytes): void {
  calls.go(RESUMING);
  calls.writeAll(header);
  calls.writeAll(rest.subarray(0, -1));
  refused("EINVAL", () => calls.go(STOP));
  assert.equal(calls.v2State, RESUMING);
  calls.writeAll(rest.subarray(-1));
  refused("ENOMEM", () => calls.write(new Uint8Array(1)));
  calls.go(STOP, RUNNING);
}

/** Asks all of it; the device runs before and after. */
export function askMtty(calls: V2Calls): void {
  const { header, rest } = askSave(calls);
  askForgiven(calls, header, rest);
  askLength(calls, header, rest);
}
