/**
 * Bugs of pre-copy: the precopy info, and reads that find no data.
 */

import { POLLIN } from "../../kernel/kernel.ts";
import {
  VFIO_MIG_GET_PRECOPY_INFO,
  VFIO_PRECOPY_INFO_REINIT,
  type VfioPrecopyInfo,
  vfioPrecopyInfo,
} from "../../uapi/mod.ts";
import { PAGE } from "../state/pages.ts";
import { Refusal, refuse } from "../os/refusal.ts";
import { override } from "./_override.ts";
import { PRE_COPY_P2P, STOP_COPY } from "../v2/v2_states.ts";
import { onPrecopyInfo, onSaveFile, type Plant, tolerated, v2Of } from "./_points.ts";

const PAGE_BYTES = BigInt(PAGE);
const UNKNOWN_FLAG = 1 << 1;
/** What a driver drops of pre-copy that was not read: so many bytes, so often. */
const DROPPED = 1 << 20;
const DROPS = 16;
/** How many pre-copies a driver has memory for, if it never gives any back. */
const PRECOPIES = 100;

/** Changes the precopy info if the driver reports new initial data. */
const atReinit = (change: Partial<VfioPrecopyInfo>): Plant => (device) =>
  onPrecopyInfo(
    device,
    () => ({ flags }) => (flags & VFIO_PRECOPY_INFO_REINIT) === 0 ? {} : change,
  );

export const V2_PRECOPY_BUGS = {
  "precopy-info-missing": (device) =>
    onSaveFile(device, (file) => {
      file.ioctl = () => refuse("ENOTTY");
    }),
  "precopy-info-once": (device) =>
    onSaveFile(device, (file) => {
      let asked = false;
      override(file, "ioctl", (clean) => (request, arg) => {
        if (request === VFIO_MIG_GET_PRECOPY_INFO && asked) refuse("EINVAL");
        const result = clean(request, arg);
        asked = true;
        return result;
      });
    }),
  "precopy-info-argsz": (device) =>
    onSaveFile(device, (file) =>
      override(file, "ioctl", (clean) => (request, arg) => {
        if (request !== VFIO_MIG_GET_PRECOPY_INFO || typeof arg === "number") {
          return clean(request, arg);
        }
        const whole = new Uint8Array(vfioPrecopyInfo.size);
        whole.set(arg.subarray(0, whole.length));
        new DataView(whole.buffer).setUint32(0, whole.length, true);
        const result = clean(request, whole);
        arg.set(whole.subarray(4, arg.length), 4);
        return result;
      })),
  "precopy-info-anywhere": (device) =>
    onSaveFile(
      device,
      (file) =>
        override(file, "ioctl", (clean) => (request, arg) =>
          request === VFIO_MIG_GET_PRECOPY_INFO && file.enabled && !v2Of(device).preCopying
            ? 0
            : clean(request, arg)),
    ),
  "fd-ioctl": (device) =>
    onSaveFile(
      device,
      (file) =>
        override(file, "ioctl", (clean) => (request, arg) =>
          request === VFIO_MIG_GET_PRECOPY_INFO ? clean(request, arg) : 0),
    ),
  "initial-zero": (device) =>
    onPrecopyInfo(device, () => ({ initial_bytes, dirty_bytes }) => ({
      initial_bytes: 0n,
      dirty_bytes: initial_bytes + dirty_bytes,
    })),
  "initial-grows": (device) =>
    onPrecopyInfo(device, () => {
      let asked = 0n;
      return ({ initial_bytes }) => {
        const more = asked * PAGE_BYTES;
        asked += 1n;
        return { initial_bytes: initial_bytes + more };
      };
    }),
  "initial-stays": (device) =>
    onPrecopyInfo(device, () => {
      let first: bigint | null = null;
      return ({ initial_bytes }) => {
        first ??= initial_bytes;
        return { initial_bytes: initial_bytes === 0n ? 0n : first };
      };
    }),
  "initial-never-zero": (device) =>
    onPrecopyInfo(
      device,
      () => ({ initial_bytes }) => initial_bytes === 0n ? { initial_bytes: PAGE_BYTES } : {},
    ),
  "dirty-first": (device) =>
    onPrecopyInfo(device, () => {
      let asked = false;
      return ({ dirty_bytes }) => {
        const more = asked ? 0n : PAGE_BYTES;
        asked = true;
        return { dirty_bytes: dirty_bytes + more };
      };
    }),
  "drained-end": (device) =>
    onSaveFile(device, (file) =>
      override(file, "read", (clean) => (into) => {
        try {
          return clean(into);
        } catch (error) {
          if (error instanceof Refusal && error.code === "ENOMSG") return 0;
          throw error;
        }
      })),
  "drained-polled": (device) =>
    onSaveFile(
      device,
      (file) =>
        override(file, "poll", (clean) => (events) =>
          v2Of(device).preCopying && file.enabled ? events & POLLIN : clean(events)),
    ),
  "change-unpolled": (device) =>
    onSaveFile(device, (file) => {
      let drained = false;
      override(file, "read", (clean) => (into) => {
        try {
          return clean(into);
        } catch (error) {
          drained ||= error instanceof Refusal && error.code === "ENOMSG";
          throw error;
        }
      });
      override(file, "poll", (clean) => (events) => drained && file.enabled ? 0 : clean(events));
    }),
  "precopy-flags": (device) =>
    onPrecopyInfo(device, () => ({ flags }) => ({ flags: flags | UNKNOWN_FLAG })),
  "reinit-dirty": atReinit({ dirty_bytes: PAGE_BYTES }),
  "reinit-empty": atReinit({ initial_bytes: 0n }),
  "precopy-once": (device) => {
    let precopied = false;
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      if (!stopped && precopied) refuse("EBUSY");
      precopied ||= !stopped;
      return clean(stopped);
    });
  },
  "precopy-drops-unread": (device) =>
    onSaveFile(device, (file, stopped) => {
      if (stopped) return;
      override(file, "stop", (clean) => () => {
        const into = new Uint8Array(DROPPED);
        for (let reads = 0; reads < DROPS; reads += 1) {
          if (tolerated(() => file.read(into), 0) === 0) break;
        }
        clean();
      });
    }),
  "precopy-goes-on": (device) => {
    let before = 0;
    onSaveFile(device, (file, stopped) => {
      if (stopped) return;
      const skipped = new Uint8Array(before);
      before = 0;
      if (skipped.length > 0) tolerated(() => file.read(skipped), 0);
      override(file, "read", (clean) => (into) => {
        const length = clean(into);
        before += length;
        return length;
      });
    });
  },
  "precopy-end-enomsg": (device) =>
    onSaveFile(device, (file, stopped) => {
      if (stopped) return;
      override(file, "read", (clean) => (into) => {
        const length = clean(into);
        const ended = length === 0 && into.length > 0 && device.deviceState === STOP_COPY;
        return ended ? refuse("ENOMSG") : length;
      });
    }),
  "precopy-p2p-dead-fd": (device) =>
    onSaveFile(
      device,
      (file) =>
        override(file, "read", (clean) => (into) =>
          device.deviceState === PRE_COPY_P2P ? refuse("ENODEV") : clean(into)),
    ),
  "precopies-run-out": (device) => {
    let begun = 0;
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      if (!stopped) begun += 1;
      return !stopped && begun > PRECOPIES ? refuse("ENOMEM") : clean(stopped);
    });
  },
  "precopy-stops-dma": (device) =>
    override(device, "writesMemory", (clean) => () => clean() && !v2Of(device).preCopying),
  "precopy-counts-half": (device) =>
    onPrecopyInfo(device, () => ({ initial_bytes, dirty_bytes }) => ({
      initial_bytes: initial_bytes / 2n,
      dirty_bytes: dirty_bytes / 2n,
    })),
  "precopy-counts-more": (device) =>
    onPrecopyInfo(
      device,
      () => ({ initial_bytes, dirty_bytes }) =>
        initial_bytes === 0n ? { dirty_bytes: dirty_bytes + PAGE_BYTES } : {},
    ),
} as const satisfies Record<string, Plant>;
