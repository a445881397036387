/**
 * Opening devices of the fake VFIO, and what comes of it.
 */

import assert from "node:assert/strict";
import type { VfioDevice } from "../../src/vfio/device/device.ts";
import { parseDeviceName } from "../../src/vfio/open/device_name.ts";
import { openVfioDevice, type OpenVfioOptions } from "../../src/vfio/open/open.ts";
import { type Reason, UnsupportedError } from "../../src/vfio/reasons/unsupported_error.ts";
import type { FakeKernel } from "./_fake_kernel.ts";
import { ADDRESS } from "./_fake_vfio.ts";

/** Opens the fake PCI function, or another device by name. */
export function open(kernel: FakeKernel, name = ADDRESS, options?: OpenVfioOptions): VfioDevice {
  return openVfioDevice(kernel, parseDeviceName(name), options);
}

/** The reasons of the UnsupportedError that this throws. */
export function reasonsOf(run: () => VfioDevice): readonly Reason[] {
  try {
    run().close();
  } catch (error) {
    assert.ok(error instanceof UnsupportedError, String(error));
    for (const { message, blocks } of error.reasons) assert.ok(message !== "" && blocks);
    return error.reasons;
  }
  assert.fail("it was opened");
}

/** Their codes. */
export function codesOf(run: () => VfioDevice): string[] {
  return reasonsOf(run).map(({ code }) => code);
}
