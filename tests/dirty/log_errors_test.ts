import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERRNO, type ErrnoName } from "../../src/kernel/errno_names.ts";
import { SysError } from "../../src/kernel/sys_error.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
  vfioDeviceFeature,
} from "../../src/uapi/mod.ts";
import { DmaError } from "../../src/vfio/dma/dma_error.ts";
import { intercept, range, withSession } from "./_session.ts";

const NUMBERS = {
  start: VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  stop: VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  report: VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
} as const;

/** What the device's log answers from now on, by request. */
type Failing = { -readonly [Request in keyof typeof NUMBERS]?: ErrnoName };

function failing(kernel: Kernel, answers: Failing): Kernel {
  return intercept(kernel, (next, fd, request, arg) => {
    if (request !== VFIO_DEVICE_FEATURE || !(arg instanceof Uint8Array)) {
      return next(fd, request, arg);
    }
    const { flags } = vfioDeviceFeature.unpack(arg);
    for (const [name, code] of Object.entries(answers)) {
      const asked = (flags & VFIO_DEVICE_FEATURE_MASK) === NUMBERS[name as keyof Failing];
      if (asked && (flags & VFIO_DEVICE_FEATURE_PROBE) === 0) {
        throw new SysError("ioctl", ERRNO[code]);
      }
    }
    return next(fd, request, arg);
  });
}

/** What comes out where a request fails. */
function failureOf(request: keyof typeof NUMBERS, code: ErrnoName): unknown {
  const answers: Failing = {};
  let failure: unknown = null;
  const options = {
    ...{ personality: "mlx5", tracker: "device", map: [range(16, 16)] } as const,
    over: (kernel: Kernel): Kernel => failing(kernel, answers),
  };
  withSession("", options, ({ session: { tracker } }) => {
    if (request !== "start") tracker.start();
    answers[request] = code;
    try {
      if (request === "report") failure = tracker.read().lost[0]!.lost;
      else tracker[request]();
    } catch (error) {
      failure = error;
    }
    delete answers[request];
  });
  return failure;
}

describe("a device's log that fails", () => {
  const table: readonly (readonly [
    request: keyof typeof NUMBERS,
    code: ErrnoName,
    why: RegExp,
    hint: RegExp,
  ])[] = [
    ["start", "EEXIST", /it was left on/, /^Reset the device/],
    ["start", "EBUSY", /it was left on, or the device is busy/, /^Reset the device/],
    ["start", "EINVAL", /started already by somebody/, /reset it if nobody does/],
    [
      "start",
      "ENOMEM",
      /one bitmap from the lowest range to the highest/,
      /closer together.*track-by-type1/,
    ],
    ["start", "ENOSPC", /no room/, /fewer ranges/],
    ["start", "E2BIG", /so many ranges/, /fewer and larger/],
    ["start", "EOVERFLOW", /beyond 2\^64/, /lower/],
    ["start", "EIO", /its firmware failed/, /reset/],
    ["start", "ENOTCONN", /the device is gone/, /kernel's log/],
    ["start", "EPROTO", /the driver refuses/, /^$/],
    ["stop", "EINVAL", /it is not on/, /^$/],
    ["stop", "EIO", /its firmware failed/, /reset/],
    ["stop", "ENODEV", /the device is gone/, /reset/],
    ["stop", "EPROTO", /the driver refuses/, /^$/],
    ["report", "EIO", /lost its log/, /track-by-type1/],
    ["report", "EINVAL", /not on any more/, /Start it again/],
    ["report", "ENOMEM", /no memory/, /^$/],
    ["report", "ETIMEDOUT", /does not answer/, /reset/],
    ["report", "ENOTCONN", /the device is gone/, /reset/],
    ["report", "EPROTO", /the driver refuses/, /^$/],
  ];
  for (const [request, code, why, hint] of table) {
    it(`says why, and what to do: ${request}, ${code}`, () => {
      const failure = failureOf(request, code);
      assert.ok(failure instanceof DmaError, String(failure));
      assert.equal(failure.code, code);
      assert.match(failure.message, why);
      const { text, remedy } = failure.hint ?? { text: "", remedy: null };
      assert.match(remedy === null ? text : `${text} ${remedy}`, hint);
    });
  }
});
