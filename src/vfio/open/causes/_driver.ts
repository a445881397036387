/**
 * Causes in the device's driver: tokens, power, and what only the driver knows.
 */

import { hasSince, kernelRelease } from "../../reasons/kernel_release.ts";
import { blocks } from "../../reasons/reason_kinds.ts";
import { vfToken } from "../../reasons/reasons.ts";
import { AGAIN, because, type Causes, label, LOG, members, type OpeningFailure } from "./_cause.ts";

/** Whether a VF token is checked: of a VF whose physical function is on vfio-pci, or a PF with VFs. */
function tokenCounts({ kernel, sysfs, device, group }: OpeningFailure): boolean | null {
  const found = sysfs ??
    (members({ kernel, group }) ?? []).find((one) => one.device.name === device)?.device;
  if (found === undefined) return null;
  if (found.bus !== "pci") return false;
  if (!found.virtualFunction) return (found.numVfs ?? 0) > 0;
  try {
    return /vfio/i.test(kernel.readLink(`${found.path}/physfn/driver`));
  } catch {
    return null;
  }
}

/** Whether a token can be missing or wrong: by its character device it is checked from 6.17 on. */
function tokenMatters(failure: OpeningFailure): boolean | null {
  const byCdev = failure.call === "VFIO_DEVICE_BIND_IOMMUFD";
  if (byCdev && hasSince(kernelRelease(failure.kernel), 6, 17) === false) return false;
  return tokenCounts(failure);
}

/** The causes. */
export const DRIVER = {
  "vf-token-wanted": {
    kind: "cannot",
    otherWay: false,
    look: tokenMatters,
    reason: (failure) => vfToken(label(failure), failure.token === true, "EACCES"),
  },
  "vf-token-too-early": {
    kind: "cannot",
    otherWay: true,
    look: ({ kernel, token }) => {
      if (token !== true) return false;
      const since = hasSince(kernelRelease(kernel), 6, 17);
      return since === null ? null : !since;
    },
    reason: (failure) =>
      blocks(
        "vf-token",
        `${label(failure)} does not take a VF token by its character device`,
        "Leave the token out if it wants none. Linux takes it there from 6.17 on; before, it " +
          "is checked when the device is opened by its group",
      ),
  },
  "vf-token-unwanted": {
    kind: "cannot",
    otherWay: true,
    look: (failure) => {
      if (failure.token !== true) return false;
      const counts = tokenCounts(failure);
      return counts === null ? null : !counts;
    },
    reason: (failure) => vfToken(label(failure), true, "EINVAL"),
  },
  "runtime-pm": {
    kind: "cannot",
    otherWay: false,
    look: (failure) => tokenMatters(failure) === true ? false : null,
    reason: (failure) =>
      because(
        failure,
        "no-power",
        "the device cannot be woken: its power management is off while it sleeps",
        "Try again once the machine is wholly awake; if it lasts, see the kernel's log (dmesg)",
      ),
  },
  "no-power": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "no-power",
        "the device does not answer: it does not come out of its sleep, or is broken",
        "See the kernel's log (dmesg); of a virtual function, look at the physical one as well. If " +
          "it still does not answer, turn the machine off and on",
      ),
  },
  "reset-locked": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "reset-locked",
        "another task holds the device's lock, so it cannot be reset as it is opened",
        AGAIN,
      ),
  },
  "driver-busy": {
    kind: "failed",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "driver-busy",
        "the device's driver says that it is in use, or not ready yet",
        "Try again; see which process has it, and whether its physical function is being reset",
      ),
  },
  "driver-wants-kvm": {
    kind: "cannot",
    otherWay: false,
    reason: (failure) =>
      because(
        failure,
        "driver-refuses",
        "the device's driver opens it only in a process that has a virtual machine (KVM)",
        "Such a device cannot be opened without one",
      ),
  },
  "driver-refuses": {
    kind: "cannot",
    otherWay: true,
    look: () => null,
    reason: (failure) =>
      because(failure, "driver-refuses", "the device's driver does not open it", LOG),
  },
  "no-bind": {
    kind: "cannot",
    otherWay: true,
    reason: (failure) =>
      because(
        failure,
        "cdev-refused",
        "the kernel does not know the request for this device",
        "Linux has it from 6.6 on; before, a device is opened by its group",
      ),
  },
} satisfies Causes;
