import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { explain } from "../../cli/output/error_message.ts";
import { ERRNO, type ErrnoName } from "../../src/kernel/errno_names.ts";
import { isErrno } from "../../src/kernel/sys_error.ts";
import { SimKernel } from "../../src/sim/mod.ts";
import * as uapi from "../../src/uapi/mod.ts";
import { OPENING_ERRORS } from "../../src/vfio/open/_opening_errors.ts";
import type { OpeningCall } from "../../src/vfio/open/opening_call.ts";
import type { OpenVfioOptions } from "../../src/vfio/open/open.ts";
import { OpenError } from "../../src/vfio/open/open_error.ts";
import { probe } from "../../src/vfio/probe.ts";
import {
  BusyError,
  type Reason,
  UnsupportedError,
} from "../../src/vfio/reasons/unsupported_error.ts";
import { CDEV_PATH, fakeCdev } from "./_fake_cdev.ts";
import { fail, type FakeKernel } from "./_fake_kernel.ts";
import { addMdev, addPci, ADDRESS, FOLDER, GROUP_PATH } from "./_fake_vfio.ts";
import { open } from "./_open_fake.ts";

/**
 * What each errno of each call is told as, where nothing more can be seen than an Intel machine
 * with an IOMMU, the device alone in its group: the exit code, and the codes of the reasons.
 */
const EXPECTED: Readonly<Record<OpeningCall, Readonly<Partial<Record<ErrnoName, string>>>>> = {
  "read sysfs": {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 sysfs-unreadable",
    EPERM: "3 sysfs-unreadable",
    EIO: "1 sysfs-unreadable",
    ELOOP: "3 no-such-device",
    ENAMETOOLONG: "3 no-such-device",
  },
  connect: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 no-permission",
    ENOENT: "3 no-server",
    ENOTDIR: "3 no-server",
    ENAMETOOLONG: "3 no-server",
    ECONNREFUSED: "3 no-server",
    EPROTOTYPE: "3 no-server",
    EAGAIN: "1 server-silent",
    ETIMEDOUT: "1 server-silent",
    ECONNRESET: "1 server-gone",
    EPROTO: "3 not-vfio-user",
    EINVAL: "3 not-vfio-user",
  },
  "open container": {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 no-permission",
    EPERM: "3 no-permission",
    ENOENT: "3 no-vfio",
    ENODEV: "3 no-vfio",
    ENXIO: "3 no-vfio",
  },
  "open group": {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 no-permission",
    EPERM: "3 no-permission",
    ENOENT: "3 no-group-node",
    ENODEV: "3 no-group-node",
    ENXIO: "3 no-group-node",
    EBUSY: "1 busy",
  },
  "open cdev": {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 no-permission",
    EPERM: "3 no-permission",
    ENOENT: "3 no-cdev-node",
    ENODEV: "3 no-cdev-node",
    ENXIO: "3 no-cdev-node",
    ECONNREFUSED: "3 no-server",
    ECONNRESET: "1 server-gone",
    ETIMEDOUT: "1 server-silent",
    EAGAIN: "1 server-silent",
    EPROTO: "3 not-vfio-user",
  },
  "open iommufd": {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EACCES: "3 no-permission",
    EPERM: "3 no-permission",
    ENOENT: "3 no-iommufd",
    ENODEV: "3 no-iommufd",
    ENXIO: "3 no-iommufd",
  },
  VFIO_GET_API_VERSION: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    EINVAL: "3 wrong-file",
  },
  VFIO_CHECK_EXTENSION: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    EINVAL: "3 wrong-file",
  },
  VFIO_GROUP_GET_STATUS: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    EINVAL: "3 wrong-file",
    ENODEV: "3 group-gone",
  },
  VFIO_GROUP_SET_CONTAINER: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    EBADFD: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    ENODEV: "3 group-gone",
    EPERM: "3 group-not-viable",
    EBUSY: "3 dma-in-use",
    EINVAL: "3 group-refused",
    EOPNOTSUPP: "3 no-domain",
    EIO: "3 no-domain",
  },
  VFIO_SET_IOMMU: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    ENOTTY: "3 wrong-file",
    EPERM: "3 unsafe-interrupts",
    EBUSY: "3 dma-in-use",
    EINVAL: "3 no-domain",
    ENODEV: "3 group-refused no-type1v2 no-domain",
    EOPNOTSUPP: "3 no-domain",
    EIO: "3 no-domain",
  },
  VFIO_GROUP_GET_DEVICE_FD: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EIO: "1 no-power",
    EAGAIN: "1 reset-locked",
    ETIMEDOUT: "1 no-power",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    ENODEV: "3 not-in-group",
    EACCES: "3 no-power",
    EPERM: "3 group-refused unsafe-interrupts driver-refuses",
    EBUSY: "1 driver-busy",
    EINVAL: "3 no-iommu-set",
    EOPNOTSUPP: "3 driver-refuses",
    ENOSPC: "3 driver-refuses",
    ESRCH: "3 driver-refuses",
    EEXIST: "1 driver-busy",
  },
  VFIO_DEVICE_BIND_IOMMUFD: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EIO: "1 no-power",
    EAGAIN: "1 reset-locked",
    ETIMEDOUT: "1 no-power",
    EBADF: "3 wrong-file",
    EBADFD: "3 wrong-file",
    ENOTTY: "3 cdev-refused",
    ENODEV: "3 device-gone",
    EACCES: "3 no-power",
    EPERM: "3 unsafe-interrupts",
    EBUSY: "1 busy",
    EINVAL: "3 cdev-refused busy driver-refuses",
    EOPNOTSUPP: "3 driver-refuses",
    ENOSPC: "3 driver-refuses",
    ESRCH: "3 driver-refuses",
    EEXIST: "1 driver-busy",
  },
  IOMMU_IOAS_ALLOC: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    EINVAL: "3 wrong-file",
    EOPNOTSUPP: "3 wrong-file",
    E2BIG: "3 wrong-file",
    EBUSY: "1 no-memory",
  },
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    ENOTTY: "3 cdev-refused",
    ENODEV: "3 no-domain",
    EPERM: "3 cdev-refused",
    EBUSY: "3 dma-in-use",
    EEXIST: "3 other-ioas",
    ENOENT: "3 no-such-ioas",
    EINVAL: "3 no-domain",
    EOPNOTSUPP: "3 no-domain",
    EADDRINUSE: "3 reserved-iova",
    EFAULT: "3 cdev-refused",
    EIO: "3 no-domain",
  },
  VFIO_DEVICE_GET_INFO: {
    ENOMEM: "1 no-memory",
    EMFILE: "1 no-fds",
    ENFILE: "1 no-fds",
    EBADF: "3 wrong-file",
    ENOTTY: "3 wrong-file",
    EINVAL: "3 wrong-file",
    ENODEV: "3 device-gone",
    EIO: "1 no-power",
    ETIMEDOUT: "1 server-silent",
    ECONNRESET: "1 server-gone",
    EPROTO: "3 not-vfio-user",
  },
};

const SOCKET = "/run/device.sock";

const NODES: Readonly<Partial<Record<OpeningCall, string>>> = {
  connect: SOCKET,
  "open container": "/dev/vfio/vfio",
  "open group": GROUP_PATH,
  "open cdev": CDEV_PATH,
  "open iommufd": "/dev/iommu",
};

/** The calls of the character device's way; all others are of the group's, or of both. */
const BY_CDEV: readonly OpeningCall[] = [
  "open cdev",
  "open iommufd",
  "VFIO_DEVICE_BIND_IOMMUFD",
  "IOMMU_IOAS_ALLOC",
  "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
];

/** A kernel that answers one call with an errno. */
function refusing(call: OpeningCall, errno: ErrnoName): FakeKernel {
  const request = (uapi as unknown as Record<string, number | undefined>)[call];
  const { kernel } = fakeCdev(
    request === undefined ? {} : { failing: new Map([[request, errno]]) },
  );
  const node = NODES[call];
  if (node !== undefined) kernel.nodes.set(node, errno);
  if (call === "read sysfs") Object.assign(kernel, { realPath: () => fail(errno) });
  return kernel;
}

function refused(kernel: FakeKernel, options: OpenVfioOptions, name = ADDRESS): Error {
  try {
    open(kernel, name, options).close();
  } catch (error) {
    assert.equal(kernel.fds.size, 0, "everything is closed again");
    return error as Error;
  }
  assert.fail("it was opened");
}

function reasonsOf(error: Error): readonly Reason[] {
  assert.ok(error instanceof UnsupportedError || error instanceof OpenError, String(error));
  return error.reasons;
}

function wayOf(call: OpeningCall): "cdev" | "group" {
  return BY_CDEV.includes(call) ? "cdev" : "group";
}

function outcome(call: OpeningCall, errno: ErrnoName): { error: Error; told: string } {
  const name = call === "connect" ? `vfio-user:${SOCKET}` : ADDRESS;
  const error = refused(refusing(call, errno), { via: wayOf(call) }, name);
  const codes = error instanceof BusyError ? ["busy"] : reasonsOf(error).map(({ code }) => code);
  return { error, told: [explain(error, undefined).exitCode, ...codes].join(" ") };
}

const CALLS = Object.keys(OPENING_ERRORS) as OpeningCall[];

describe("every errno of every call that opens a device", () => {
  for (const call of CALLS) {
    it(`has a reason, a hint and an exit code: ${call}`, () => {
      const told: Record<string, string> = {};
      for (const errno of Object.keys(OPENING_ERRORS[call]) as ErrnoName[]) {
        const { error, told: line } = outcome(call, errno);
        told[errno] = line;
        const { message, hints } = explain(error, undefined);
        assert.match(message, /\w/);
        assert.ok(hints.length > 0, `${call} ${errno} has no hint`);
        assert.ok(isErrno(error.cause, errno), `${call} ${errno} is not the cause`);
        for (const text of [message, ...hints]) {
          assert.doesNotMatch(text, /undefined|null|(?<!fd:)\bN\b/);
        }
      }
      assert.deepEqual(told, EXPECTED[call]);
    });

    it(`is reported clearly if it is none that Linux is known to answer: ${call}`, () => {
      for (const errno of ["EXDEV", "ERANGE"] as const) {
        const { error, told } = outcome(call, errno);
        assert.ok(error instanceof OpenError);
        assert.match(told, /^1 (group|cdev|open)-refused$/);
        assert.match(error.message, new RegExp(`${errno}: Linux's own code is not known to`));
        assert.match(error.hint!.text, /dmesg/);
      }
    });
  }

  it("is in the table by its name", () => {
    for (const call of CALLS) {
      for (const errno of Object.keys(OPENING_ERRORS[call])) assert.ok(errno in ERRNO, errno);
    }
  });
});

describe("EPERM of an IOMMU", () => {
  const DIRECT = "0x000000007b800000 0x000000007fffffff direct\n";
  const RELAXABLE = "0x000000007b800000 0x000000007fffffff direct-relaxable\n";
  const MSI = "0x00000000fee00000 0x00000000feefffff msi\n";
  const REMAPPED = " 24: 0 IR-PCI-MSI-0000:00:02.0 0-edge\n  9: 4 IR-IO-APIC 9-fasteoi acpi\n";
  const PLAIN = " 24: 0 PCI-MSI-0000:00:02.0 0-edge\n  9: 4 IO-APIC 9-fasteoi acpi\n";

  const codes = (regions: string | null, interrupts: string, release = "6.1.0-50-amd64") => {
    const told = (["VFIO_SET_IOMMU", "VFIO_DEVICE_BIND_IOMMUFD"] as const).map((call) => {
      const kernel = refusing(call, "EPERM");
      kernel.texts.set("/proc/sys/kernel/osrelease", `${release}\n`);
      if (interrupts !== "") kernel.texts.set("/proc/interrupts", interrupts);
      const file = "/sys/kernel/iommu_groups/12/reserved_regions";
      if (regions === null) kernel.texts.delete(file);
      else kernel.texts.set(file, regions);
      return reasonsOf(refused(kernel, { via: wayOf(call) }));
    });
    return told.map((reasons) => reasons.map(({ code }) => code).join(" "));
  };
  const BOTH = [
    "group-refused firmware-region unsafe-interrupts",
    "cdev-refused firmware-region unsafe-interrupts",
  ];

  it("is of the interrupts if firmware keeps no memory", () => {
    assert.deepEqual(codes(MSI, PLAIN), ["unsafe-interrupts", "unsafe-interrupts"]);
    assert.deepEqual(codes(RELAXABLE + MSI, ""), ["unsafe-interrupts", "unsafe-interrupts"]);
  });

  it("is of the firmware if interrupts are remapped", () => {
    assert.deepEqual(codes(DIRECT + MSI, REMAPPED), ["firmware-region", "firmware-region"]);
  });

  it("has both causes named if both may be, or nothing can be seen", () => {
    assert.deepEqual(codes(DIRECT + MSI, PLAIN), BOTH);
    assert.deepEqual(codes(null, ""), BOTH);
  });

  it("is not of the firmware from 6.6 on, which answers EINVAL", () => {
    const interrupts = ["unsafe-interrupts", "unsafe-interrupts"];
    for (const text of [PLAIN, ""]) {
      assert.deepEqual(codes(DIRECT + MSI, text, "6.12.48"), interrupts);
    }
    assert.deepEqual(codes(DIRECT + MSI, REMAPPED, "6.12.48"), ["group-refused", "cdev-refused"]);
  });

  it("is not asserted if both are ruled out", () => {
    assert.deepEqual(codes(MSI, REMAPPED), ["group-refused", "cdev-refused"]);
  });

  it("never has an unsafe option as its only way out", () => {
    for (const call of ["VFIO_SET_IOMMU", "VFIO_DEVICE_BIND_IOMMUFD"] as const) {
      const kernel = refusing(call, "EPERM");
      kernel.texts.set("/proc/interrupts", PLAIN);
      const [{ hint }] = reasonsOf(refused(kernel, { via: wayOf(call) })) as [Reason];
      assert.match(hint, /^Turn interrupt remapping on: .* Only if that cannot be/);
    }
    const kernel = refusing("VFIO_SET_IOMMU", "EPERM");
    kernel.texts.set("/sys/kernel/iommu_groups/12/reserved_regions", DIRECT);
    kernel.texts.set("/proc/interrupts", REMAPPED);
    const [reason] = reasonsOf(refused(kernel, { via: "group" })) as [Reason];
    assert.match(reason.message, /firmware keeps 0x7b800000-0x7fffffff mapped/);
    assert.doesNotMatch(reason.hint, /unsafe/);
  });
});

describe("the firmware's memory, from Linux 6.6 on", () => {
  for (
    const call of [
      "VFIO_GROUP_SET_CONTAINER",
      "VFIO_DEVICE_BIND_IOMMUFD",
      "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
    ] as const
  ) {
    it(`makes ${call} EINVAL, and no other way is tried`, () => {
      const kernel = refusing(call, "EINVAL");
      kernel.texts.set("/proc/sys/kernel/osrelease", "6.12.48+deb13-amd64\n");
      kernel.texts.set(
        "/sys/kernel/iommu_groups/12/reserved_regions",
        "0x000000007b800000 0x000000007fffffff direct\n",
      );
      const via = wayOf(call) === "group" ? "group" : "auto";
      const codes = reasonsOf(refused(kernel, { via })).map(({ code }) => code);
      assert.deepEqual(codes, ["firmware-region"]);
      assert.ok(!kernel.log.includes(`open ${GROUP_PATH}`) || via === "group");
    });
  }
});

describe("both ways to open a device", () => {
  it("are both reported if both fail, by every class of error", () => {
    const cases: [(kernel: FakeKernel) => void, name: string, codes: string[]][] = [
      [(kernel) => kernel.nodes.set(GROUP_PATH, "EBUSY"), "BusyError", ["no-permission"]],
      [
        (kernel) => kernel.nodes.set(GROUP_PATH, "ENOMEM"),
        "OpenError",
        ["no-memory", "no-permission"],
      ],
      [
        (kernel) => kernel.links.delete(`${FOLDER}/iommu_group`),
        "UnsupportedError",
        ["no-iommu-group", "no-permission"],
      ],
    ];
    for (const [change, name, codes] of cases) {
      const kernel = refusing("open cdev", "EACCES");
      change(kernel);
      const error = refused(kernel, {}) as Error & { reasons: readonly Reason[] };
      assert.equal(error.name, name);
      assert.deepEqual(error.reasons.map(({ code }) => code), codes);
      const { hints } = explain(error, undefined);
      assert.ok(hints.some((hint) => hint.startsWith(`Cannot open ${CDEV_PATH}: EACCES`)));
    }
  });

  it("are not both tried if the same reason stands against either", () => {
    const kernel = refusing("VFIO_DEVICE_BIND_IOMMUFD", "EPERM");
    addPci(kernel, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 12, "ice");
    kernel.texts.set("/proc/sys/kernel/osrelease", "6.12.48\n");
    const reasons = reasonsOf(refused(kernel, {}));
    assert.deepEqual(reasons.map(({ code }) => code), ["group-not-viable"]);
    assert.ok(!kernel.log.includes(`open ${GROUP_PATH}`));
  });
});

describe("a device's own node that is refused", () => {
  const CDEV_CALLS = BY_CDEV.filter((call) => !(call in NODES));

  it("gives way to the group, by whichever call the kernel is found to lack the way", () => {
    for (const call of CDEV_CALLS) {
      for (const errno of ["ENOTTY", "EXDEV"] as const) {
        const kernel = refusing(call, errno);
        using device = open(kernel, ADDRESS);
        assert.equal(device.via, "group", `${call} ${errno}`);
        assert.match(device.whyNotCdev!.message, new RegExp(`^${call} of .* answers ${errno}: `));
      }
    }
  });

  it("is reported beside the group's refusal, if that comes too", () => {
    for (const call of CDEV_CALLS) {
      const kernel = refusing(call, "ENOTTY");
      kernel.nodes.set(GROUP_PATH, "EACCES");
      const [group, node] = reasonsOf(refused(kernel, {}));
      assert.equal(group!.code, "no-permission");
      assert.match(node!.message, new RegExp(`^${call} of .* answers ENOTTY: `));
    }
  });

  it("stays the error if the process or the machine lacks something that both ways need", () => {
    for (const call of CDEV_CALLS) {
      const kernel = refusing(call, "EMFILE");
      assert.deepEqual(reasonsOf(refused(kernel, {})).map(({ code }) => code), ["no-fds"]);
      assert.ok(!kernel.log.includes(`open ${GROUP_PATH}`));
    }
  });
});

describe("a mediated device", () => {
  const UUID = "aa618089-8b16-4d01-a136-25a0f3c73123";
  /** An mdev with a node, that is refused there; in a group, or in none. */
  const mdev = (call: OpeningCall, errno: ErrnoName, group: boolean): FakeKernel => {
    const kernel = refusing(call, errno);
    addMdev(kernel, UUID, { group: 3, driver: "vkit", type: "vkit-1", parent: "vkit_parent" });
    const folder = `/sys/devices/virtual/parent/${UUID}`;
    kernel.texts.set(`${folder}/vfio-dev/vfio7/dev`, "511:7\n");
    if (!group) kernel.links.delete(`${folder}/iommu_group`);
    return kernel;
  };
  const told = (kernel: FakeKernel): readonly Reason[] => {
    try {
      open(kernel, UUID).close();
    } catch (error) {
      return reasonsOf(error as Error);
    }
    assert.fail("it was opened");
  };

  it("has no causes that lie in an IOMMU", () => {
    const cases: [OpeningCall, ErrnoName, string[]][] = [
      ["VFIO_DEVICE_BIND_IOMMUFD", "EINVAL", ["cdev-refused", "busy", "driver-refuses"]],
      ["VFIO_DEVICE_BIND_IOMMUFD", "EPERM", ["cdev-refused"]],
      ["VFIO_DEVICE_ATTACH_IOMMUFD_PT", "EINVAL", ["cdev-refused"]],
      ["VFIO_DEVICE_ATTACH_IOMMUFD_PT", "EPERM", ["cdev-refused"]],
      ["VFIO_DEVICE_ATTACH_IOMMUFD_PT", "EBUSY", ["cdev-refused"]],
    ];
    for (const [call, errno, codes] of cases) {
      const reasons = told(mdev(call, errno, false));
      assert.deepEqual(reasons.map(({ code }) => code), codes, `${call} ${errno}`);
      for (const { message, hint } of reasons) {
        assert.doesNotMatch(message + hint, /firmware|coheren|cache|interrupt|IOMMU group/i);
      }
    }
  });

  it("is not said to lack a group, which it does not need", () => {
    for (const errno of ["EIO", "ENODEV", "ENOTTY", "EINVAL", "EXDEV"] as const) {
      const reasons = told(mdev("VFIO_DEVICE_BIND_IOMMUFD", errno, false));
      for (const { message, code } of reasons) {
        assert.notEqual(code, "no-iommu-group");
        assert.doesNotMatch(message, /group/);
      }
    }
    // Without a node of its own, it does.
    const kernel = mdev("VFIO_DEVICE_BIND_IOMMUFD", "EIO", false);
    kernel.texts.delete(`/sys/devices/virtual/parent/${UUID}/vfio-dev/vfio7/dev`);
    assert.deepEqual(told(kernel).map(({ code }) => code), ["no-iommu-group"]);
  });

  it("that no driver has is missing that driver, and nothing else", () => {
    const kernel = mdev("VFIO_DEVICE_BIND_IOMMUFD", "EIO", false);
    const folder = `/sys/devices/virtual/parent/${UUID}`;
    kernel.links.delete(`${folder}/driver`);
    kernel.texts.delete(`${folder}/vfio-dev/vfio7/dev`);
    assert.deepEqual(told(kernel).map(({ code }) => code), ["not-bound-to-vfio"]);
    const { reasons } = probe(UUID, { kernel, open: false });
    assert.deepEqual(reasons.map(({ code }) => code), ["not-bound-to-vfio"]);
  });
});

describe("several possible causes", () => {
  it("are sentences, in the message and each for itself", () => {
    const [all, ...each] = reasonsOf(outcome("VFIO_DEVICE_BIND_IOMMUFD", "EINVAL").error);
    assert.match(
      all!.message,
      /of 2 causes .*: \(1\) Another process .*; \(2\) The device's driver/,
    );
    for (const { message } of each) assert.match(message, /^Possible cause: [A-Z]/);
    const kernel = refusing("VFIO_SET_IOMMU", "EPERM");
    kernel.texts.delete("/sys/kernel/iommu_groups/12/reserved_regions");
    const [, firmware, interrupts] = reasonsOf(refused(kernel, { via: "group" }));
    assert.match(firmware!.message, /^Possible cause: The firmware keeps memory mapped/);
    assert.match(interrupts!.message, /^Possible cause: The IOMMU does not remap interrupts/);
  });

  it("are ruled out by the drivers of the group if EBUSY is another process's", () => {
    const kernel = refusing("VFIO_DEVICE_BIND_IOMMUFD", "EBUSY");
    addPci(kernel, "0000:3b:00.0", "/sys/devices/pci0000:3a/0000:3b:00.0", 12, "ice");
    const codes = reasonsOf(refused(kernel, { via: "cdev" })).map(({ code }) => code);
    assert.deepEqual(codes, ["cdev-refused", "busy", "dma-in-use"]);
    assert.ok(refused(refusing("VFIO_DEVICE_BIND_IOMMUFD", "EBUSY"), {}) instanceof BusyError);
  });
});

describe("too many open files", () => {
  const hint = (errno: ErrnoName, texts: Readonly<Record<string, string>>): string => {
    const kernel = refusing("open group", errno);
    for (const [file, text] of Object.entries(texts)) kernel.texts.set(file, text);
    const [reason] = reasonsOf(refused(kernel, { via: "group" }));
    return `${reason!.message}. ${reason!.hint}`;
  };
  const limits = (soft: string, hard: string): Record<string, string> => ({
    "/proc/self/limits": `Max processes   7  7  processes\n` +
      `Max open files            ${soft}                 ${hard}               files     \n`,
  });

  it("of a process have its limit raised, as far as it may raise it", () => {
    assert.match(
      hint("EMFILE", limits("1024", "4096")),
      /1024 \(RLIMIT_NOFILE\).*: ulimit -n 4096$/,
    );
    // What has reached the hard limit is raised by root alone, and never lowered.
    assert.match(
      hint("EMFILE", limits("65536", "65536")),
      /as root: ulimit -n 131072\..*LimitNOFILE/,
    );
    assert.match(hint("EMFILE", {}), /as root: ulimit -n 8192/);
    assert.doesNotMatch(hint("EMFILE", {}), /sysctl/);
  });

  it("of a system have the system's limit raised, by a command that does", () => {
    const max = { "/proc/sys/fs/file-max": "100000\n" };
    assert.match(hint("ENFILE", max), /100000 \(fs\.file-max\).*: sysctl -w fs\.file-max=200000$/);
    assert.match(hint("ENFILE", {}), /sysctl -w fs\.file-max="\$\(\( \$\(cat .*\) \* 2 \)\)"$/);
    assert.doesNotMatch(hint("ENFILE", max), /ulimit/);
    // It does not count for root, and systemd sets it to the highest number there is.
    const root = { ...max, "/proc/self/status": "Uid:\t0\t0\t0\t0\n" };
    const highest = { "/proc/sys/fs/file-max": "9223372036854775807\n" };
    for (const texts of [root, highest]) {
      assert.match(hint("ENFILE", texts), /no file left for it\. See how many .*file-nr/);
    }
  });
});

describe("a container's /dev", () => {
  const missing = (path: string, shown: string, via?: "cdev" | "group"): Reason => {
    const { kernel } = fakeCdev();
    kernel.texts.set(`${shown}/dev`, "10:1\n");
    kernel.nodes.delete(path);
    return reasonsOf(refused(kernel, { via }))[0]!;
  };

  it("that lacks a node which sysfs shows gets that as the reason, and how to pass the node in", () => {
    const cases = [
      ["/dev/iommu", "/sys/class/misc/iommu", "cdev", "no-iommufd"],
      [CDEV_PATH, `${FOLDER}/vfio-dev/vfio7`, "cdev", "no-cdev-node"],
      ["/dev/vfio/vfio", "/sys/class/misc/vfio", "group", "no-vfio"],
      [GROUP_PATH, "/sys/class/vfio/12", "group", "no-group-node"],
    ] as const;
    for (const [path, shown, via, code] of cases) {
      const reason = missing(path, shown, via);
      assert.equal(reason.code, code);
      assert.ok(reason.message.startsWith(`There is no ${path} here, though the kernel has`));
      assert.match(reason.hint, /lacks it: start the container with --device/);
      assert.ok(reason.hint.includes(`--device ${path}`));
      assert.doesNotMatch(reason.hint, /modprobe/);
    }
  });

  it("that lacks several gets all of them at once", () => {
    const { kernel } = fakeCdev();
    kernel.texts.set("/sys/class/misc/iommu/dev", "10:262\n");
    for (const path of ["/dev/iommu", CDEV_PATH]) kernel.nodes.delete(path);
    const [reason] = reasonsOf(refused(kernel, { via: "cdev" }));
    assert.ok(reason!.hint.includes(`--device /dev/iommu --device ${CDEV_PATH}`));
  });

  it("and a kernel that has none are distinguished", () => {
    const { kernel } = fakeCdev();
    kernel.nodes.delete("/dev/iommu");
    const [reason] = reasonsOf(refused(kernel, { via: "cdev" }));
    assert.equal(reason!.message, "There is no /dev/iommu");
    assert.match(reason!.hint, /^modprobe iommufd/);
  });

  it("is what a probe reports, too: what sysfs alone shows is not there", () => {
    const spec = "mlx5?cdev=1&fault=no-iommu-node&fault=no-device-node";
    for (const open of [true, false]) {
      const { access, reasons } = probe(`sim:${spec}`, { kernel: new SimKernel(spec), open });
      assert.deepEqual([access.cdev, access.iommufd], [null, null]);
      assert.deepEqual(reasons.map(({ code }) => code), ["no-group-node", "no-iommufd"]);
    }
    // One way is enough.
    const one = "mlx5?cdev=1&fault=no-iommu-node";
    const { reasons } = probe(`sim:${one}`, { kernel: new SimKernel(one), open: false });
    assert.deepEqual(reasons, []);
  });

  it("is reported with the other way if neither is there", () => {
    const { kernel } = fakeCdev();
    kernel.texts.set("/sys/class/misc/iommu/dev", "10:262\n");
    for (const path of ["/dev/iommu", GROUP_PATH]) kernel.nodes.delete(path);
    const codes = reasonsOf(refused(kernel, {})).map(({ code }) => code);
    assert.deepEqual(codes, ["no-group-node", "no-iommufd"]);
  });
});
