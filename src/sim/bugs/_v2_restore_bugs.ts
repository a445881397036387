/**
 * Bugs of restoring a v2 device.
 */

import type { DeviceModel } from "../device/device_model.ts";
import type { Bytes } from "../os/bytes.ts";
import { Refusal, refuse } from "../os/refusal.ts";
import { LAST } from "../state/save_stream.ts";
import type { ResumeFile } from "../v2/v2_resume_file.ts";
import { override } from "./_override.ts";
import { VFIO_MIG_GET_PRECOPY_INFO } from "../../uapi/mod.ts";
import { RESUMING, RUNNING, RUNNING_P2P } from "../v2/v2_states.ts";
import { onArc, onResumeFile, type Plant, refusalOf, tolerated, v2Of } from "./_points.ts";

/** Bytes of the smallest write that a device takes. */
const SMALLEST = 16;
/** Bytes of the largest write that a device takes whole. */
const LARGEST = 4096;
/** How many restores a driver has memory for, if it never gives any back. */
const RESTORES = 100;
/** Data is damaged at its head if a write among its first bytes is refused. */
const HEAD = 1 << 16;

/** The bytes that were written to a resume fd. */
function counted(file: ResumeFile): () => number {
  let bytes = 0;
  override(file, "write", (clean) => (from) => {
    const length = clean(from);
    bytes += length;
    return length;
  });
  return () => bytes;
}

/** Makes the step to STOP succeed in some cases in which the data is not complete. */
function acceptIf(file: ResumeFile, accepts: () => boolean): void {
  override(file, "finish", (clean) => () => {
    if (accepts()) refusalOf(clean);
    else clean();
  });
}

/** Ignores data from the first write on that is refused, in some cases. */
function ignoreFrom(file: ResumeFile, wrong: (from: Bytes) => boolean): void {
  let ignores = false;
  override(file, "write", (clean) => (from) => {
    if (ignores) return from.length;
    try {
      return clean(from);
    } catch (error) {
      if (!(error instanceof Refusal) || !wrong(from)) throw error;
      ignores = true;
      return from.length;
    }
  });
  acceptIf(file, () => ignores);
}

/** Takes a state of another size, and what follows it, without loading it. */
function takeForeign(file: ResumeFile): void {
  let foreign = false;
  override(file, "matches", () => () => true);
  override(file.load, "take", (clean) => (...transaction) => {
    const result = clean(...transaction);
    foreign ||= result.foreign === true;
    if (!foreign) return result;
    file.load.complete = false;
    return { taken: true };
  });
  acceptIf(file, () => foreign);
}

/** Checks the data, and loads none of it. */
function ignoreData(file: ResumeFile): void {
  file.load.take = ({ view }, at) => {
    file.load.complete = (view.getUint32(at + 16, true) & LAST) !== 0;
    return { taken: true };
  };
}

const onEach = (change: (file: ResumeFile, device: DeviceModel) => void): Plant => (device) =>
  onResumeFile(device, (file) => change(file, device));

export const V2_RESTORE_BUGS = {
  "restore-spoils": onEach((file, device) =>
    override(file, "finish", (clean) => () => {
      clean();
      device.state.change(0);
    })
  ),
  "write-sixteen": onEach((file) =>
    override(
      file,
      "write",
      (clean) => (from) => from.length < SMALLEST ? refuse("EINVAL") : clean(from),
    )
  ),
  "write-loses-rest": onEach((file) =>
    override(file, "write", (clean) => (from) => {
      clean(from.subarray(0, LARGEST));
      return from.length;
    })
  ),
  "cut-accepted": onEach((file) => {
    const written = counted(file);
    acceptIf(file, () => written() > 0);
  }),
  "nothing-accepted": onEach((file) => {
    const written = counted(file);
    acceptIf(file, () => written() === 0);
  }),
  "damage-accepted": onEach((file) => {
    const written = counted(file);
    ignoreFrom(file, (from) => written() + from.length <= HEAD);
  }),
  "excess-accepted": onEach((file) => ignoreFrom(file, () => file.load.complete)),
  "foreign-accepted": onEach(takeForeign),
  "refused-write-forgotten": onEach((file) => {
    let refused = false;
    override(file, "write", (clean) => (from) => {
      try {
        return clean(from);
      } catch (error) {
        refused = true;
        throw error;
      }
    });
    acceptIf(file, () => refused);
  }),
  "late-write": onEach((file) =>
    override(file, "write", (clean) => (from) => file.enabled ? clean(from) : from.length)
  ),
  "restore-ignored": onEach(ignoreData),
  "restores-run-out": (device) => {
    let begun = 0;
    override(v2Of(device), "openResume", (clean) => () => {
      begun += 1;
      return begun > RESTORES ? refuse("ENOMEM") : clean();
    });
  },
  "reset-keeps-data": (device) => {
    let written: Bytes[] = [];
    let kept: Bytes[] = [];
    override(device, "reset", (clean) => () => {
      if (device.deviceState === RESUMING) kept = written;
      clean();
    });
    onResumeFile(device, (file) => {
      for (const bytes of kept) tolerated(() => file.write(bytes), 0);
      kept = [];
      written = [];
      override(file, "write", (clean) => (from) => {
        written.push(from.slice());
        return clean(from);
      });
    });
  },
  "run-undoes-restore": (device) => {
    let restored = false;
    onArc(device, (from, to, clean) => {
      const file = clean();
      if (from === RESUMING) restored = true;
      else if (restored && (to === RUNNING || to === RUNNING_P2P)) {
        restored = false;
        device.state.change(0);
      }
      return file;
    });
  },
  "resume-precopy-info": onEach((file) =>
    override(
      file,
      "ioctl",
      (clean) => (request) => request === VFIO_MIG_GET_PRECOPY_INFO ? 0 : clean(request),
    )
  ),
} as const satisfies Record<string, Plant>;
