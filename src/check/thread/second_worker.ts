/**
 * The Worker of the second thread: it waits in shared memory for commands, and never returns to its
 * event loop.
 */

import { type Parent, serveParent } from "../../base/thread.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { libcKernel } from "../../kernel/libc/libc_kernel.ts";
import { interruptThread } from "../../kernel/process/interrupt.ts";
import { blockSignals } from "../../kernel/process/signal_mask.ts";
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  vfioDeviceFeature,
  vfioDeviceFeatureMigState,
} from "../../uapi/mod.ts";
import { SysError } from "../../kernel/sys_error.ts";
import { joinDevice } from "../../vfio_user/mod.ts";
import { COMMANDS, type StartRequest, WORD } from "./second_thread.ts";

const READ_BYTES = 65536;

/** What it calls. */
type Calls = Pick<Kernel, "ioctl" | "read">;

function serve({ memory, connection }: StartRequest, parent: Parent<"ready">): void {
  blockSignals();
  const kernel = connection === null ? libcKernel() : joinDevice(connection);
  const words = new Int32Array(memory);
  parent.post("ready");
  for (;;) {
    Atomics.wait(words, WORD.command, COMMANDS.none);
    const command = Atomics.exchange(words, WORD.command, COMMANDS.none);
    if (command === COMMANDS.getStates) getStates(kernel, words);
    else if (command === COMMANDS.readAll) readAll(kernel, words);
    else if (command === COMMANDS.interrupt) interrupt(words);
    else continue;
    Atomics.store(words, WORD.done, 1);
    Atomics.notify(words, WORD.done);
  }
}

function getStates(kernel: Calls, words: Int32Array): void {
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
  const argument = vfioDeviceFeature.pack({ flags, data: vfioDeviceFeatureMigState.pack({}) });
  while (Atomics.load(words, WORD.stop) === 0) {
    Atomics.add(words, WORD.calls, 1);
    try {
      kernel.ioctl(words[WORD.fd]!, VFIO_DEVICE_FEATURE, argument);
      const { device_state } = vfioDeviceFeatureMigState.unpack(argument, vfioDeviceFeature.size);
      if (device_state > VFIO_DEVICE_STATE_PRE_COPY_P2P) Atomics.add(words, WORD.wrong, 1);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      Atomics.add(words, WORD.wrong, 1);
      Atomics.store(words, WORD.errno, error.errno);
    }
  }
}

function interrupt(words: Int32Array): void {
  while (Atomics.load(words, WORD.stop) === 0) {
    interruptThread(words[WORD.fd]!);
    Atomics.add(words, WORD.calls, 1);
    // In between the other thread gets on with its work.
    Atomics.wait(words, WORD.stop, 0, 0.1);
  }
}

function readAll(kernel: Calls, words: Int32Array): void {
  const buffer = new Uint8Array(READ_BYTES);
  try {
    for (;;) {
      Atomics.add(words, WORD.calls, 1);
      const bytes = kernel.read(words[WORD.fd]!, buffer, "once");
      if (bytes === 0) return;
      Atomics.add(words, WORD.bytes, bytes);
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    Atomics.store(words, WORD.errno, error.errno);
  }
}

serveParent<StartRequest, "ready">(serve);
