/**
 * Bugs of the v2 state machine.
 */

import { refuse } from "../os/refusal.ts";
import {
  ERROR,
  isPreCopy,
  PRE_COPY,
  PRE_COPY_P2P,
  RESUMING,
  RUNNING,
  RUNNING_P2P,
  STOP,
  STOP_COPY,
} from "../v2/v2_states.ts";
import type { DataFile } from "../v2/v2_data_file.ts";
import type { V2Migration } from "../v2/v2_migration.ts";
import { override } from "./_override.ts";
import {
  onArc,
  onSaveFile,
  onSetState,
  type Plant,
  refusalOf,
  refuseArc,
  v2Of,
} from "./_points.ts";

const LAST_STATE = PRE_COPY_P2P;

/** How long a device that drifts stays in STOP, in milliseconds. */
const DRIFT_MS = 300;

/** Refuses a SET from one state to another. */
const refuseSet =
  (from: number, to: number, errno: "EINVAL" | "EIO" = "EINVAL"): Plant => (device) =>
    onSetState(
      device,
      (now, target, clean) => now === from && target === to ? refuse(errno) : clean(),
    );

/** Takes a SET that the clean driver refuses, without an arc. */
const acceptSet = (from: number, to: number): Plant => (device) => {
  const v2 = v2Of(device);
  onSetState(device, (now, target, clean) => {
    if (now !== from || target !== to) return clean();
    v2.enter(to);
    return null;
  });
};

/** The file of an arc is not given to the user. */
const withoutFile = (wrong: (from: number, to: number) => boolean): Plant => (device) =>
  onArc(device, (from, to, clean) => {
    const file = clean();
    return wrong(from, to) ? null : file;
  });

/** The arcs to a state give a file that is of no use. */
const strayFile = (state: number): Plant => (device) =>
  onArc(device, (_from, to, clean) => {
    const file = clean();
    return to === state ? file ?? uselessFile(v2Of(device)) : file;
  });

/** A data fd that was disabled right after it was opened. */
export function uselessFile(v2: V2Migration): DataFile {
  const file = v2.openResume();
  v2.endData();
  return file;
}

export const V2_STATE_BUGS = {
  "stop-copy-to-running": refuseSet(STOP_COPY, RUNNING),
  "resuming-to-stop-copy": refuseSet(RESUMING, STOP_COPY),
  "combined-refused": refuseSet(RUNNING, STOP_COPY),
  "error-accepted": (device) => {
    const v2 = v2Of(device);
    onSetState(device, (_from, target, clean) => {
      if (target !== ERROR) return clean();
      v2.endData();
      v2.enter(ERROR);
      return null;
    });
  },
  "unknown-state": (device) =>
    onSetState(device, (_from, target, clean) => target > LAST_STATE ? null : clean()),
  "missing-state": (device) => {
    const v2 = v2Of(device);
    onSetState(device, (_from, target, clean) => {
      const optional = target > RESUMING && target <= LAST_STATE;
      return optional && v2.hopTo(target) === null ? null : clean();
    });
  },
  "precopy-after-stop-copy": acceptSet(STOP_COPY, PRE_COPY),
  "refusal-with-eio": refuseSet(STOP_COPY, PRE_COPY, "EIO"),
  "refusal-stops": (device) => {
    const v2 = v2Of(device);
    onSetState(device, (from, target, clean) => {
      if (from !== STOP_COPY || target !== PRE_COPY) return clean();
      v2.endData();
      v2.enter(STOP);
      return refuse("EINVAL");
    });
  },
  "precopy-p2p-after-stop-copy": acceptSet(STOP_COPY, PRE_COPY_P2P),
  "same-state-refused": (device) =>
    onSetState(device, (from, target, clean) => from === target ? refuse("EINVAL") : clean()),
  "same-state-fd": (device) => {
    const v2 = v2Of(device);
    onSetState(
      device,
      (from, target, clean) =>
        from === STOP_COPY && target === STOP_COPY ? v2.openSave(true) : clean(),
    );
  },
  "state-lags": (device) => {
    const v2 = v2Of(device);
    let old: number | null = null;
    onSetState(device, (from, _target, clean) => {
      const file = clean();
      old = from;
      return file;
    });
    override(v2, "readState", (clean) => () => {
      const answer = old ?? clean();
      old = null;
      return answer;
    });
  },
  "running-stops-halfway": (device) =>
    onSetState(device, (from, target, clean) => {
      const file = clean();
      if (from === STOP_COPY && target === RUNNING) v2Of(device).enter(RUNNING_P2P);
      return file;
    }),
  "state-drifts": (device) => {
    const v2 = v2Of(device);
    let since = 0;
    override(v2, "enter", (clean) => (state) => {
      since = device.state.now;
      clean(state);
    });
    override(v2, "readState", (clean) => () => {
      const late = device.state.now - since > DRIFT_MS;
      if (v2.deviceState === STOP && late) v2.enter(RUNNING);
      return clean();
    });
  },
  "failed-restore-runs": (device) => {
    const v2 = v2Of(device);
    onArc(device, (from, _to, clean) => {
      if (from !== RESUMING) return clean();
      const errno = refusalOf(clean);
      if (errno === null) return null;
      v2.endData();
      v2.enter(RUNNING);
      return refuse(errno);
    });
  },
  "precopy-without-fd": withoutFile((from, to) => from === RUNNING && to === PRE_COPY),
  "precopy-p2p-without-fd": withoutFile((from, to) => from === RUNNING_P2P && to === PRE_COPY_P2P),
  "stop-copy-without-fd": withoutFile((from, to) => from === STOP && to === STOP_COPY),
  "resuming-without-fd": withoutFile((_from, to) => to === RESUMING),
  "resuming-gives-save-fd": (device) => {
    const v2 = v2Of(device);
    onArc(device, (_from, to, clean) => {
      if (to !== RESUMING) return clean();
      const save = v2.openSave(true);
      clean();
      return save;
    });
  },
  "stop-gives-fd": strayFile(STOP),
  "running-gives-fd": strayFile(RUNNING),
  "stop-copy-changes-fd": (device) => {
    const v2 = v2Of(device);
    onArc(device, (from, to, clean) => {
      if (!isPreCopy(from) || to !== STOP_COPY) return clean();
      v2.endData();
      return v2.openSave(true);
    });
  },
  "stop-copy-ends-fd": (device) => {
    let disable = (): void => {};
    onSaveFile(device, (file) => disable = () => file.disable());
    onArc(device, (from, to, clean) => {
      const file = clean();
      if (isPreCopy(from) && to === STOP_COPY) disable();
      return file;
    });
  },
  "precopy-p2p-changes-fd": (device) => {
    const v2 = v2Of(device);
    onArc(device, (from, to, clean) => {
      if (from !== PRE_COPY || to !== PRE_COPY_P2P) return clean();
      v2.endData();
      return v2.openSave(false);
    });
  },
  "p2p-to-precopy-p2p": refuseArc((from, to) => from === RUNNING_P2P && to === PRE_COPY_P2P),
  "precopy-to-precopy-p2p": refuseArc((from, to) => from === PRE_COPY && to === PRE_COPY_P2P),
  "precopy-p2p-to-precopy": refuseArc((from, to) => from === PRE_COPY_P2P && to === PRE_COPY),
  "p2p-stops-dma": (device) =>
    override(
      device,
      "writesMemory",
      (clean) => () => clean() && v2Of(device).deviceState !== RUNNING_P2P,
    ),
} as const satisfies Record<string, Plant>;
