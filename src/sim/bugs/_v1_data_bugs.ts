/**
 * Bugs of the registers and the data section of a v1 device.
 */

import type { Bytes } from "../os/bytes.ts";
import { refuse } from "../os/refusal.ts";
import { PAGE } from "../state/pages.ts";
import type { DataSection } from "../v1/data_section.ts";
import { REGISTERS_SIZE } from "../v1/registers.ts";
import { PRE_COPY, RESUMING, RUNNING, STOP_AND_COPY } from "../v1/v1_states.ts";
import type { V1Region } from "../v1/v1_region.ts";
import { override } from "./_override.ts";
import { type Plant, regionOf } from "./_points.ts";

const PENDING_BYTES = 8;
const DATA_OFFSET = 16;
const RESERVED = 4;
const REGISTER = 8;
/** How far data lies behind the start of its page, in bytes. */
const SHIFT = 8;
/** How often a driver has memory for a state, if it never gives any back. */
const OFTEN = 100;

const onData = (change: (data: DataSection, region: V1Region) => void): Plant => (device) => {
  const region = regionOf(device);
  change(region.data, region);
};

/** Takes writes to a register that is read-only. */
const writable = (register: number): Plant => (device) =>
  override(
    regionOf(device),
    "pwrite",
    (clean) => (at, from) =>
      at === register && from.length === REGISTER ? from.length : clean(at, from),
  );

/** Changes what pending_bytes reads in stop-and-copy once nothing is left. */
const atEnd = (pending: (reads: number) => number): Plant => (device) => {
  const region = regionOf(device);
  let reads = 0;
  override(region.data, "readPending", (clean) => () => {
    const left = clean();
    if (left > 0 || (region.deviceState & 7) !== STOP_AND_COPY) {
      reads = 0;
      return left;
    }
    reads += 1;
    return pending(reads);
  });
};

/** Reads a register of 8 bytes by halves, too. */
function readHalf(clean: V1Region["pread"], at: number, into: Bytes): number {
  if (into.length !== REGISTER / 2 || at < PENDING_BYTES || at >= REGISTERS_SIZE) {
    return clean(at, into);
  }
  const whole = new Uint8Array(REGISTER);
  const start = at - at % REGISTER;
  clean(start, whole);
  into.set(whole.subarray(at - start, at - start + into.length));
  return into.length;
}

/** Places data 8 bytes later than the clean driver does. */
function shift(data: DataSection): void {
  override(data, "readOffset", (clean) => () => clean() + SHIFT);
  override(data, "read", (clean) => (at, into) => clean(at - SHIFT, into));
  override(data, "write", (clean) => (at, from) => clean(at - SHIFT, from));
  override(data, "readMapped", (clean) => (at, into) => clean(at - SHIFT, into));
  override(data, "writeMapped", (clean) => (at, from) => clean(at - SHIFT, from));
}

/** Every second data_size is 0; the data comes with the next one. */
function emptyTransactions(data: DataSection): void {
  let offset = 0;
  let pending = 0;
  let empty = false;
  let next = true;
  override(data, "readPending", (clean) => () => empty ? pending : pending = clean());
  override(data, "readOffset", (clean) => () => empty ? offset : offset = clean());
  override(data, "readSize", (clean) => () => {
    empty = next && !empty;
    next = !empty;
    return empty ? 0 : clean();
  });
}

/** Takes each transaction only when the next one ends, or the state is written. */
function takeLate(data: DataSection, region: V1Region): void {
  let late = (): void => {};
  const take = (): void => {
    const before = late;
    late = () => {};
    before();
  };
  override(data, "writeSize", (clean) => (size) => {
    take();
    late = () => clean(size);
  });
  override(region, "writeState", (clean) => (value) => {
    take();
    clean(value);
  });
}

/** Reading a register twice skips a transaction, whose data is lost. */
function skipsAt(data: DataSection, register: "readPending" | "readOffset"): void {
  let last: "readPending" | "readOffset" | null = null;
  let left = 0;
  const pending = data.readPending.bind(data);
  const offset = data.readOffset.bind(data);
  const skip = (): void => {
    if (register === "readOffset") pending();
    else {
      offset();
      data.readSize();
    }
  };
  const read = (name: "readPending" | "readOffset", clean: () => number): number => {
    if (data.load === null && last === name && name === register && left > 0) skip();
    last = name;
    return clean();
  };
  data.readPending = () => left = read("readPending", pending);
  data.readOffset = () => read("readOffset", offset);
}

/** Refuses a state after it was entered so often. */
const runsOut = (state: number): Plant => (device) => {
  let entered = 0;
  override(regionOf(device), "writeState", (clean) => (value) => {
    if ((value & 7) === state && entered >= OFTEN) refuse("ENOMEM");
    clean(value);
    if ((value & 7) === state) entered += 1;
  });
};

export const V1_DATA_BUGS = {
  "halves-readable": (device) =>
    override(regionOf(device), "pread", (clean) => (at, into) => readHalf(clean, at, into)),
  "byte-written": (device) => {
    const region = regionOf(device);
    override(region, "pwrite", (clean) => (at, from) => {
      if (at !== 0 || from.length !== 1) return clean(at, from);
      region.writeState(((region.deviceState & ~0xff) | from[0]!) >>> 0);
      return 1;
    });
  },
  "pending-writable": writable(PENDING_BYTES),
  "offset-writable": writable(DATA_OFFSET),
  "offset-outside": onData((data, { size }) =>
    override(data, "readOffset", (clean) => () => {
      clean();
      return size;
    })
  ),
  "size-outside": onData((data, { size }) =>
    override(data, "readSize", (clean) => () => {
      clean();
      return size;
    })
  ),
  "data-unaligned": onData(shift),
  "size-zero": onData(emptyTransactions),
  "pending-stays": atEnd(() => PAGE),
  "pending-returns": atEnd((reads) => reads % 2 === 0 ? PAGE : 0),
  "taken-late": onData(takeLate),
  "size-unchecked": onData((data, { size }) =>
    override(data, "writeSize", (clean) => (written) => {
      if (written <= size) return clean(written);
      data.complete = () => true;
    })
  ),
  "v1-precopy-loses": (device) =>
    override(regionOf(device).data, "saving", (clean) => (stopped) => {
      const { state } = device;
      for (let page = stopped ? state.nextDirty(0) : -1; page >= 0; page = state.nextDirty(page)) {
        state.clean(page, state.dirtyRun(page, state.pages));
      }
      clean(stopped);
    }),
  "v1-precopy-stops-dma": (device) => {
    const region = regionOf(device);
    override(
      device,
      "writesMemory",
      (clean) => () => clean() && (region.deviceState & 7) !== PRE_COPY,
    );
  },
  "v1-saves-run-out": runsOut(STOP_AND_COPY),
  "v1-restores-run-out": runsOut(RESUMING),
  "partial-accepted": onData((data) => {
    data.complete = () => true;
  }),
  "pending-drops": onData((data) => skipsAt(data, "readPending")),
  "offset-advances": onData((data) => skipsAt(data, "readOffset")),
  "size-once": onData((data) => {
    let read = false;
    override(data, "readOffset", (clean) => () => {
      const offset = clean();
      read = false;
      return offset;
    });
    override(data, "readSize", (clean) => () => {
      const size = clean();
      const answer = read ? 0 : size;
      read = true;
      return answer;
    });
  }),
  "offset-zero": onData((data) =>
    override(data, "readOffset", (clean) => () => {
      clean();
      return 0;
    })
  ),
  "reserved-stores": (device) => {
    const region = regionOf(device);
    const stored = new Uint8Array(4);
    override(region, "pwrite", (clean) => (at, from) => {
      if (at === RESERVED && from.length === stored.length) stored.set(from);
      return clean(at, from);
    });
    override(region, "pread", (clean) => (at, into) => {
      const length = clean(at, into);
      if (at === RESERVED && into.length === stored.length) into.set(stored);
      return length;
    });
  },
  "v1-restore-spoils": (device) => {
    const region = regionOf(device);
    override(region, "writeState", (clean) => (value) => {
      const restoring = (region.deviceState & 7) === RESUMING;
      clean(value);
      if (restoring && (region.deviceState & 7) === RUNNING) device.state.change(0);
    });
  },
} as const satisfies Record<string, Plant>;
