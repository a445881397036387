/**
 * Bugs of save fds, and of the data that they give.
 */

import { sleepSync } from "../../kernel/process/sleep_sync.ts";
import type { DeviceModel } from "../device/device_model.ts";
import type { Bytes } from "../os/bytes.ts";
import { refuse } from "../os/refusal.ts";
import { STOP, STOP_COPY } from "../v2/v2_states.ts";
import type { SaveFile } from "../v2/v2_save_file.ts";
import { override } from "./_override.ts";
import {
  onArc,
  onDeviceFile,
  onResumeFile,
  onSaveFile,
  onSetState,
  outlives,
  type Plant,
  v2Of,
} from "./_points.ts";
import { uselessFile } from "./_v2_state_bugs.ts";

/** Bytes of a small read. */
const SMALL = 16;
/** Bytes that a device reads at least, and gives only in part. */
const AT_LEAST = 64;
/** How many saves a driver has memory for, if it never gives any back. */
const SAVES = 100;
/** One read of so many is interrupted. */
const INTERRUPTED = 10;
/** How much later each save begins, in milliseconds. */
const SLOWER_MS = 5;

type Read = (into: Bytes) => number;

/** Changes the read of each save fd; `make` is called per fd. */
function onRead(
  device: DeviceModel,
  make: (file: SaveFile) => (clean: Read, into: Bytes) => number,
): void {
  onSaveFile(device, (file) => {
    const change = make(file);
    override(file, "read", (clean) => (into) => change(clean, into));
  });
}

/** Changes what a read in STOP_COPY does at the end of the data. */
const atEnd = (make: () => (into: Bytes) => number): Plant => (device) =>
  onRead(device, () => {
    const end = make();
    return (clean, into) => {
      const length = clean(into);
      const ended = length === 0 && into.length > 0 && device.deviceState === STOP_COPY;
      return ended ? end(into) : length;
    };
  });

/** Gives bytes that no device has. */
function junk(into: Bytes): number {
  const length = Math.min(SMALL, into.length);
  into.fill(0, 0, length);
  return length;
}

/** Changes the reads of a save fd after its state was left. */
const afterwards = (read: (into: Bytes) => number): Plant => (device) =>
  onRead(device, (file) => (clean, into) => file.enabled ? clean(into) : read(into));

export const V2_SAVE_BUGS = {
  "fd-positions": (device) =>
    onSaveFile(device, (file) => {
      file.pread = (_at: number, into: Bytes): number => file.read(into);
    }),
  "fd-leaks": (device) => {
    let leak = (): void => {};
    onDeviceFile(device, (_file, install) => {
      leak = () => void install(uselessFile(v2Of(device)));
    });
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      leak();
      return clean(stopped);
    });
  },
  "saves-run-out": (device) => {
    let saves = 0;
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      saves += 1;
      return saves > SAVES ? refuse("ENOMEM") : clean(stopped);
    });
  },
  "end-fails": atEnd(() => () => refuse("EIO")),
  "end-repeats": atEnd(() => {
    let ended = false;
    return (into) => {
      if (ended) return junk(into);
      ended = true;
      return 0;
    };
  }),
  "end-enomsg": atEnd(() => () => refuse("ENOMSG")),
  "end-unpolled": (device) =>
    onSaveFile(device, (file) => {
      let ended = false;
      override(file, "read", (clean) => (into) => {
        const length = clean(into);
        ended = length === 0;
        return length;
      });
      override(file, "poll", (clean) => (events) => ended ? 0 : clean(events));
    }),
  "read-loses-rest": (device) =>
    onRead(device, () => (clean, into) => {
      if (into.length >= AT_LEAST) return clean(into);
      const whole = new Uint8Array(AT_LEAST);
      const length = Math.min(clean(whole), into.length);
      into.set(whole.subarray(0, length));
      return length;
    }),
  "small-read-zeroed": (device) =>
    onRead(device, () => (clean, into) => {
      const length = clean(into);
      if (into.length < SMALL) into.fill(0, 0, length);
      return length;
    }),
  "changes-while-stopped": (device) =>
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      device.state.change(0);
      return clean(stopped);
    }),
  "old-fd-data": afterwards(junk),
  "old-fd-end": afterwards(() => 0),
  "old-fd-blocks": (device) => {
    let open = 0;
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      if (open > 0) refuse("EBUSY");
      return clean(stopped);
    });
    onSaveFile(device, (file) => {
      override(file, "hold", (clean) => () => {
        open += 1;
        clean();
      });
      override(file, "drop", (clean) => () => {
        open -= 1;
        clean();
      });
    });
  },
  "poll-silent": (device) =>
    onSaveFile(
      device,
      (file) =>
        override(file, "poll", (clean) => (events) =>
          device.deviceState === STOP_COPY ? 0 : clean(events)),
    ),
  "first-read-eagain": (device) =>
    onRead(device, () => {
      let first = true;
      return (clean, into) => {
        if (!first) return clean(into);
        first = false;
        return refuse("EAGAIN");
      };
    }),
  "eintr-loses": (device) =>
    onRead(device, () => {
      let reads = 0;
      return (clean, into) => {
        reads += 1;
        const length = clean(into);
        return reads % INTERRUPTED === 0 ? refuse("EINTR") : length;
      };
    }),
  "early-close": (device) => {
    let closedEarly = false;
    onSaveFile(device, (file) => {
      let ended = false;
      override(file, "read", (clean) => (into) => {
        const length = clean(into);
        ended ||= length === 0;
        return length;
      });
      override(file, "drop", (clean) => () => {
        closedEarly = !ended && file.enabled;
        clean();
      });
    });
    onArc(
      device,
      (from, to, clean) =>
        from === STOP_COPY && to === STOP && closedEarly ? refuse("EIO") : clean(),
    );
  },
  "save-fd-written": (device) =>
    onSaveFile(device, (file) => {
      file.write = (from: Bytes): number => from.length;
    }),
  "resume-fd-read": (device) =>
    onResumeFile(device, (file) => {
      file.read = (): number => 0;
    }),
  "refusal-ends-fd": (device) =>
    onSetState(device, (from, _target, clean) => {
      try {
        return clean();
      } catch (error) {
        if (from === STOP_COPY) v2Of(device).endData();
        throw error;
      }
    }),
  "same-state-ends-fd": (device) =>
    onSetState(device, (from, target, clean) => {
      if (from === STOP_COPY && target === STOP_COPY) v2Of(device).endData();
      return clean();
    }),
  "fd-outlives-close": (device) => outlives(device, "close", junk),
  "sessions-slower": (device) => {
    let saves = 0;
    override(v2Of(device), "openSave", (clean) => (stopped) => {
      sleepSync(SLOWER_MS * saves);
      saves += 1;
      return clean(stopped);
    });
  },
  "stop-copy-headless": (device) =>
    onSaveFile(device, (file, stopped) => {
      if (stopped) file.read(new Uint8Array(AT_LEAST));
    }),
  "precopy-loses": (device) =>
    onSaveFile(device, (file) =>
      override(file, "stop", (clean) => () => {
        const { state } = device;
        for (let page = state.nextDirty(0); page >= 0; page = state.nextDirty(page)) {
          state.clean(page, state.dirtyRun(page, state.pages));
        }
        clean();
      })),
} as const satisfies Record<string, Plant>;
