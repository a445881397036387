/**
 * The interrupts of the device: DEVICE_GET_IRQ_INFO, and DEVICE_SET_IRQS with a client's eventfds.
 */

import { type Kernel, POLLIN, POLLOUT } from "../../kernel/kernel.ts";
import { SysError } from "../../kernel/sys_error.ts";
import {
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_NUM_IRQS,
  vfioIrqInfo,
  vfioIrqSet,
} from "../../uapi/mod.ts";
import type { OpenDevice } from "./open_device.ts";
import { refuse } from "./refuse.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const HEAD = vfioIrqSet.size;
/** MSI-X has at most so many. */
const MOST = 2048;
/** What readlink says of an eventfd. */
const EVENTFD = "anon_inode:[eventfd]";

/** The interrupts, as one client sees them. */
export class Interrupts {
  readonly #device: OpenDevice;
  readonly #own: Kernel;
  /** The indexes that the client has eventfds at. */
  readonly #used = new Set<number>();
  /** The client's eventfds that the device waits for, and what it does then. */
  readonly #awaited = new Map<number, () => void>();

  /** @param own The kernel of this process, which has the client's fds. */
  constructor(device: OpenDevice, own: Kernel) {
    this.#device = device;
    this.#own = own;
  }

  /** DEVICE_GET_IRQ_INFO. */
  info(payload: Bytes): Bytes {
    if (payload.length < vfioIrqInfo.size) refuse("EINVAL");
    const argument = payload.slice(0, vfioIrqInfo.size);
    this.#device.ioctl(VFIO_DEVICE_GET_IRQ_INFO, argument);
    return argument;
  }

  /** DEVICE_SET_IRQS; takes the eventfds out of `fds`. */
  set(payload: Bytes, fds: number[]): void {
    if (payload.length < HEAD) refuse("EINVAL");
    const { flags, index, count } = vfioIrqSet.unpack(sized(payload.subarray(0, HEAD)));
    if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) === 0) {
      if (fds.length > 0) refuse("EINVAL");
      this.#call(index, sized(payload));
      return;
    }
    // Fewer fds than interrupts: those without one signal nothing.
    if (payload.length !== HEAD || fds.length > count || count > MOST) refuse("EINVAL");
    const { kernel } = this.#device;
    const argument = new Uint8Array(HEAD + count * 4);
    argument.set(payload);
    const view = new DataView(argument.buffer);
    const opened: number[] = [];
    try {
      for (let n = 0; n < count; n += 1) {
        const fd = fds.length > 0 ? this.#eventfd(fds) : -1;
        if (fd >= 0) opened.push(fd);
        view.setInt32(HEAD + n * 4, fd, true);
      }
      this.#call(index, sized(argument));
      this.#used.add(index);
    } finally {
      // The device holds those that it uses.
      for (const fd of opened) kernel.close(fd);
    }
  }

  #call(index: number, argument: Bytes): void {
    if (index >= VFIO_PCI_NUM_IRQS) refuse("EINVAL");
    this.#device.ioctl(VFIO_DEVICE_SET_IRQS, argument);
  }

  /** An eventfd of the simulated kernel that stands for the client's next one. */
  #eventfd(fds: number[]): number {
    const sim = this.#device.sim ?? refuse("ENOTTY");
    const own = this.#own;
    if (own.readLink(`/proc/self/fd/${fds[0]!}`) !== EVENTFD) refuse("EINVAL");
    const fd = fds.shift()!;
    const one = new Uint8Array(8);
    one[0] = 1;
    return sim.eventfd({
      signal: () => {
        // A counter that is full signals already, and a write would wait.
        if ((own.poll(fd, POLLOUT, 0) & POLLOUT) !== 0) own.write(fd, one);
      },
      watch: (signalled) => {
        if (signalled === null) this.#awaited.delete(fd);
        else this.#awaited.set(fd, signalled);
      },
      released: () => own.close(fd),
    });
  }

  /** The client's eventfds that are waited for. */
  get awaited(): readonly number[] {
    return [...this.#awaited.keys()];
  }

  /** One of them can be read. */
  signalled(fd: number): void {
    const own = this.#own;
    // The client has it as well, and may have read it: a read would wait then.
    if ((own.poll(fd, POLLIN, 0) & POLLIN) === 0) return;
    own.read(fd, new Uint8Array(8));
    this.#awaited.get(fd)?.();
  }

  /** The client is gone: none of its eventfds is signalled any more. */
  close(): void {
    for (const index of this.#used) {
      try {
        this.#call(
          index,
          vfioIrqSet.pack({ flags: VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index }),
        );
      } catch (error) {
        // A device that is gone uses none.
        if (!(error instanceof SysError)) throw error;
      }
    }
    this.#used.clear();
  }
}

/** A copy whose argsz is its length. A client's argsz may count its fds, too. */
function sized(argument: Bytes): Bytes {
  const copy = argument.slice();
  new DataView(copy.buffer).setUint32(0, copy.length, true);
  return copy;
}
