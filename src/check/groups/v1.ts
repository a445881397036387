/**
 * The v1 protocol: the migration region, device_state, the other registers, and the data.
 *
 * @module
 */

import { MAP_SHARED, PROT_READ } from "../../kernel/kernel.ts";
import { answered } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck, type Needs } from "../define.ts";
import type { Safety } from "../safety.ts";
import { rule } from "../rules.ts";
import { difference, foreignBytes, streamOf } from "../state_bytes.ts";
import {
  ERROR,
  PRE_COPY,
  REGISTER,
  type Register,
  REGISTERS,
  RESUMING,
  RUNNING,
  STOP,
  STOP_AND_COPY,
  v1StateName,
  type V1Transaction,
} from "../v1/v1_device.ts";
import type { Stream } from "../v2/v2_device.ts";

const group = "v1";
const needs: Needs = { protocol: "v1" };
const PAGE = 4096n;
/** How long the device may take to have data for pre-copy, in iterations. */
const PRECOPY_ITERATIONS = 64;
/** A pattern for bits 3 to 31 of device_state. */
const RESERVED_MASK = 0xffff_fff8;

export function v1Check(
  id: string,
  numbers: readonly [number, ...number[]],
  run: (context: CheckContext) => void,
  { safety = "default", ...more }: Needs & { readonly safety?: Safety } = {},
): Check {
  const [first, ...others] = numbers;
  return defineCheck({
    id: `v1.${id}`,
    group,
    safety,
    rules: [rule(first), ...others.map(rule)],
    needs: { ...needs, ...more },
    run,
  });
}

function expectState(context: CheckContext, state: number, broken?: number): void {
  const after = context.v1.state();
  context.expect(
    after === state,
    `device_state reads ${v1StateName(state)}`,
    `it reads ${v1StateName(after)}`,
    broken,
  );
}

/** Asks for a state; the write has to succeed, and the register to read it. */
function go(context: CheckContext, state: number, broken?: number): void {
  const from = context.v1.state();
  const errno = context.v1.set(state);
  context.expect(
    errno === null,
    `${v1StateName(from)} to ${v1StateName(state)} succeeds`,
    `the write failed with ${errno}`,
    broken,
  );
  expectState(context, state, 117);
}

/** Writes to device_state what has to be refused; the state has to stay. */
function expectRefused(context: CheckContext, state: number, broken?: number): void {
  const { v1 } = context;
  const before = v1.state();
  const errno = v1.set(state);
  context.expect(errno !== null, `writing ${v1StateName(state)} fails`, "it succeeds", broken);
  expectState(context, before, broken);
}

/** The data of transactions, one after the other. */
export function bytesOf(transactions: readonly V1Transaction[]): Stream {
  return streamOf(...transactions.map(({ data }) => data));
}

/** The part of the region where the data of the next transaction is; skips if there is none. */
function placed(context: CheckContext): { offset: bigint; size: bigint } {
  const { v1 } = context;
  v1.enter(STOP_AND_COPY);
  if (v1.value(REGISTER.pending_bytes) === 0n) context.skip("the device has no data to save");
  return { offset: v1.value(REGISTER.data_offset), size: v1.value(REGISTER.data_size) };
}

/** Reads a register several times; the answers have to be the same. */
function expectRepeatable(context: CheckContext, register: Register, times: number): bigint {
  const { v1 } = context;
  const first = v1.value(register);
  for (let turn = 1; turn < times; turn += 1) {
    const { value: again, errno } = v1.read(register);
    context.prefer(errno === null, `${register.name} can be read again`, `it fails: ${errno}`);
    if (errno !== null) break;
    context.expect(
      again === first,
      `${register.name} reads ${first} each time`,
      `it reads ${again}`,
    );
  }
  context.step(`read ${register.name} ${times} times → ${first}`);
  return first;
}

/** A save in which registers are read again and again; it has to give what a plain one does. */
function repeated(context: CheckContext, which: "pending" | "place"): void {
  const { v1 } = context;
  const plain = bytesOf(v1.save());
  v1.enter(STOP_AND_COPY);
  const transactions: V1Transaction[] = [];
  for (;;) {
    const pending = which === "pending"
      ? expectRepeatable(context, REGISTER.pending_bytes, 3)
      : v1.value(REGISTER.pending_bytes);
    if (pending === 0n) break;
    const place = which === "pending" ? undefined : {
      offset: expectRepeatable(context, REGISTER.data_offset, 3),
      size: expectRepeatable(context, REGISTER.data_size, 3),
    };
    transactions.push(v1.transaction(pending, place));
  }
  const found = difference(plain, bytesOf(transactions));
  if (found === null) return;
  v1.enter(RUNNING);
  const differs = difference(plain, bytesOf(v1.save()));
  if (differs !== null) context.unclear(`two saves differ anyway: ${differs}`);
  context.expect(false, "the save gives the same bytes as one without", found);
}

/** Brings the device to the error state; a driver goes there only if something failed. */
function reachError(context: CheckContext): boolean {
  const { v1 } = context;
  v1.set(STOP_AND_COPY);
  if (v1.state() === ERROR) return true;
  v1.set(RUNNING);
  v1.set(RESUMING);
  v1.give(foreignBytes(64));
  v1.set(RUNNING);
  return v1.state() === ERROR;
}

function resetCheck(name: string, state: number): Check {
  return v1Check(
    `reset.in-${name}`,
    [120],
    (context) => {
      if (state !== RUNNING) context.v1.enter(state);
      const errno = context.v1.reset();
      context.expect(errno === null, "VFIO_DEVICE_RESET succeeds", `it failed with ${errno}`);
      expectState(context, RUNNING);
    },
    { safety: "reset", resettable: true },
  );
}

function closeCheck(name: string, state: number): Check {
  return v1Check(
    `close.in-${name}`,
    [42],
    (context) => {
      // Some drivers read STOP after an open although the device runs; that has a separate check.
      const fresh = context.stateAtOpen ?? RUNNING;
      context.v1.enter(state);
      context.reopen();
      expectState(context, fresh);
    },
    { safety: "reset", closable: true },
  );
}

/** Writes that a read-only register has to refuse. */
function readOnly(context: CheckContext, register: Register): void {
  const answer = context.v1.write(register, 4096n);
  context.step(`write ${register.name} → ${answered(answer)}`);
  context.expect(answer.errno !== null, "it fails", "it succeeds");
}

const STATES: readonly (readonly [name: string, state: number])[] = [
  ["running", RUNNING],
  ["pre-copy", PRE_COPY],
  ["stop-and-copy", STOP_AND_COPY],
  ["stop", STOP],
  ["resuming", RESUMING],
];

/** Whether the driver leaves data_size at 0, as vGPUs do: the rules on data_size then say nothing. */
function sizeless(context: CheckContext): boolean {
  return placed(context).size === 0n && context.device.sysfs?.driver?.includes("vgpu") === true;
}

/** The checks of protocol v1. */
export const V1_CHECKS: readonly Check[] = [
  v1Check(
    "running-at-open",
    [99],
    (context) => {
      const state = context.stateAtOpen;
      context.step("open the device, read device_state");
      const seen = state === null ? "it failed" : `it reads ${v1StateName(state)}`;
      context.expect(state === RUNNING || state === STOP, "device_state reads RUNNING", seen);
      context.prefer(state === RUNNING, "device_state reads RUNNING", seen);
    },
    { safety: "default", closable: true },
  ),
  v1Check("reserved-bits", [100], (context) => {
    const { v1 } = context;
    const before = v1.raw() & RESERVED_MASK;
    for (const state of [STOP_AND_COPY, RUNNING]) {
      v1.enter(state);
      const after = v1.raw() & RESERVED_MASK;
      context.prefer(
        after === before,
        `bits 3 to 31 stay 0x${(before >>> 0).toString(16)}`,
        `they are 0x${(after >>> 0).toString(16)}`,
      );
    }
  }),
  v1Check("states", [118, 117], (context) => {
    for (const state of [STOP, RUNNING, STOP_AND_COPY, STOP, RUNNING, STOP_AND_COPY, RUNNING]) {
      go(context, state);
    }
  }),
  v1Check("read-back", [117], (context) => {
    const { v1 } = context;
    for (const state of [STOP_AND_COPY, RUNNING]) {
      if (v1.set(state) !== null) continue;
      expectState(context, state);
    }
  }),
  v1Check("refused-101b", [101], (context) => expectRefused(context, 5), { safety: "destructive" }),
  v1Check("refused-111b", [101], (context) => expectRefused(context, 7), { safety: "destructive" }),
  v1Check(
    "error-left-by-reset-alone",
    [102],
    (context) => {
      const { v1 } = context;
      if (!reachError(context)) context.skip("no way into the error state was found");
      for (const state of [RUNNING, STOP, STOP_AND_COPY]) expectRefused(context, state, 102);
      const errno = v1.reset();
      context.expect(errno === null, "VFIO_DEVICE_RESET succeeds", `it failed with ${errno}`);
      expectState(context, RUNNING);
    },
    { safety: "destructive", resettable: true },
  ),
  v1Check("register-widths", [103], (context) => {
    const { v1 } = context;
    for (const [offset, width] of [[0, 2], [0, 8], [8, 4], [16, 4], [24, 4]] as const) {
      const answer = v1.pread(offset, width);
      context.step(`read ${width} bytes at ${offset} → ${answered(answer)}`);
      context.prefer(
        answer.errno !== null,
        `a read of ${width} bytes at ${offset} is refused`,
        "it succeeds",
      );
    }
    // What is written is what is there, in case that the driver takes it.
    const low = new Uint8Array([v1.raw() & 0xff]);
    const answer = v1.pwrite(0, low);
    context.step(`write 1 byte of device_state → ${answered(answer)}`);
    context.prefer(answer.errno !== null, "a write of 1 byte is refused", "it succeeds");
  }),
  v1Check("pending-bytes.read-only", [104], (context) => readOnly(context, REGISTER.pending_bytes)),
  v1Check("data-offset.read-only", [104], (context) => readOnly(context, REGISTER.data_offset)),
  v1Check("data.inside-region", [105, 113], (context) => {
    const { offset, size } = placed(context);
    const { region } = context.v1;
    context.step(`data_offset ${offset}, data_size ${size}, region ${region.size}`);
    context.expect(offset !== 0n, "data_offset is not 0", "it is 0", 113);
    context.expect(
      offset >= BigInt(REGISTERS),
      `the data begins behind the ${REGISTERS} bytes of registers`,
      `data_offset is ${offset}`,
      113,
    );
    context.expect(
      offset < region.size && offset + size <= region.size,
      `the data ends at ${region.size} at most`,
      `it ends at ${offset + size}`,
    );
  }),
  v1Check("data.offset-not-zero", [113], (context) => {
    const { offset } = placed(context);
    context.expect(offset !== 0n, "data_offset is not 0", "it is 0");
  }),
  v1Check("data.page-aligned", [106], (context) => {
    const { offset } = placed(context);
    const { mappable, sparse } = context.v1.region;
    if (!mappable) context.skip("the region cannot be mapped");
    const areas = sparse ?? [{ offset: 0n, size: context.v1.region.size }];
    const area = areas.find((one) => one.offset <= offset && offset < one.offset + one.size);
    context.step(`data_offset ${offset}`);
    context.expect(
      area === undefined || offset % PAGE === 0n,
      "data in an area that can be mapped begins at a whole page",
      `data_offset is ${offset}`,
    );
  }),
  v1Check("data.mapped", [142], (context) => {
    const { kernel, device, v1 } = context;
    const { mappable, sparse, offset: begin, size: whole } = v1.region;
    if (!mappable) context.skip("the region cannot be mapped");
    const { offset, size } = placed(context);
    const end = offset + size;
    const area = (sparse ?? [{ offset: 0n, size: whole }])
      .find((one) => one.offset <= offset && end <= one.offset + one.size);
    if (area === undefined || size === 0n) {
      return context.skip("the first transaction lies in no area that can be mapped");
    }
    const read = v1.pread(Number(offset), Number(size));
    context.expect(read.errno === null, "the data can be read by pread", `${read.errno}`);
    const mapped = new Uint8Array(read.value!.length);
    using memory = kernel.mmap(Number(area.size), {
      fd: device.fd.number,
      offset: begin + area.offset,
      prot: PROT_READ,
      flags: MAP_SHARED,
    });
    memory.read(Number(offset - area.offset), mapped);
    context.step(`map ${area.size} bytes at ${area.offset}, read ${mapped.length} of them`);
    const found = difference(streamOf(read.value!), streamOf(mapped));
    context.expect(found === null, "both give the same bytes", found ?? "");
  }),
  v1Check("data.size-not-zero", [107], (context) => {
    const { v1 } = context;
    if (sizeless(context)) context.skip("the driver leaves data_size at 0");
    v1.enter(RUNNING);
    v1.enter(STOP_AND_COPY);
    for (let turn = 0; turn < PRECOPY_ITERATIONS; turn += 1) {
      const pending = v1.value(REGISTER.pending_bytes);
      if (pending === 0n) return;
      const offset = v1.value(REGISTER.data_offset);
      const size = v1.value(REGISTER.data_size);
      context.prefer(
        size !== 0n,
        `data_size is not 0 while ${pending} bytes are pending`,
        "it is 0",
      );
      if (size === 0n) return;
      v1.transaction(pending, { offset, size });
    }
  }),
  v1Check("data.ends", [108], (context) => {
    const { v1 } = context;
    let fell = 0;
    const transactions: V1Transaction[] = [];
    v1.enter(STOP_AND_COPY);
    let last: bigint | null = null;
    for (let stuck = 0;;) {
      const pending = v1.value(REGISTER.pending_bytes);
      if (pending === 0n) break;
      stuck = last !== null && pending >= last ? stuck + 1 : 0;
      context.expect(
        stuck < PRECOPY_ITERATIONS,
        "pending_bytes falls as data is read",
        `it is ${pending} for ${stuck} iterations`,
      );
      last = pending;
      fell += 1;
      // A driver that announces what it does not have has nothing to place either.
      const { value: offset } = v1.read(REGISTER.data_offset);
      if (offset === null) {
        context.expect(false, "what is pending can be read", "data_offset cannot be read");
      }
      const size = v1.value(REGISTER.data_size);
      transactions.push(v1.transaction(pending, { offset: offset!, size }));
    }
    context.step(`read to the end in ${fell} iterations`);
    for (let turn = 0; turn < 3; turn += 1) {
      const pending = v1.value(REGISTER.pending_bytes);
      context.expect(pending === 0n, "pending_bytes stays 0 at the end", `it is ${pending}`);
    }
  }),
  v1Check("pending-bytes.repeated", [111], (context) => repeated(context, "pending")),
  v1Check("data-place.repeated", [112], (context) => repeated(context, "place")),
  v1Check("reserved-register", [114], (context) => {
    const { v1 } = context;
    const before = v1.read(REGISTER.reserved);
    context.step(`read reserved → ${before.errno ?? before.value}`);
    context.expect(
      before.errno !== null || before.value === 0n,
      "it reads 0, or is refused",
      `it reads ${before.value}`,
    );
    const written = v1.write(REGISTER.reserved, 0x5a5a_5a5an);
    context.step(`write reserved → ${answered(written)}`);
    const after = v1.read(REGISTER.reserved);
    context.expect(
      after.errno !== null || after.value === 0n,
      "it still reads 0, or is refused",
      `it reads 0x${after.value?.toString(16)}`,
    );
  }),
  v1Check("precopy.enter", [115], (context) => {
    go(context, PRE_COPY, 115);
    const pending = context.v1.value(REGISTER.pending_bytes);
    context.step(`pending_bytes → ${pending}`);
    go(context, RUNNING, 116);
  }),
  v1Check("precopy.leave-early", [116], (context) => {
    for (const state of [RUNNING, STOP_AND_COPY]) {
      go(context, PRE_COPY, 115);
      context.v1.iterate();
      go(context, state);
      if (state !== RUNNING) go(context, RUNNING, 118);
    }
  }),
  ...STATES.map(([name, state]) => resetCheck(name, state)),
  ...STATES.filter(([, state]) => state !== RUNNING)
    .map(([name, state]) => closeCheck(name, state)),
];
