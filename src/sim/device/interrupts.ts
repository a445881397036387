/**
 * The interrupts of a simulated device: VFIO_DEVICE_GET_IRQ_INFO and VFIO_DEVICE_SET_IRQS, checked
 * in the order of vfio-pci.
 */

import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_REQ_IRQ_INDEX,
  vfioIrqInfo,
  vfioIrqSet,
} from "../../uapi/mod.ts";
import type { OpenFile } from "../os/open_file.ts";
import { EventFile } from "../os/outside.ts";
import { refuse } from "../os/refusal.ts";
import { type Argument, fromUser, toUser } from "../os/user.ts";

const DATA = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD;
const ACTIONS = VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK |
  VFIO_IRQ_SET_ACTION_TRIGGER;
const HEADER = vfioIrqSet.size;
const U32_MAX = 0xffff_ffff;

/** The vectors of MSI-X. */
export const MSIX_VECTORS = 4;
/** How many interrupts there are of each kind that a device can raise, of which it uses one. */
const RAISED: ReadonlyMap<number, number> = new Map([
  [VFIO_PCI_INTX_IRQ_INDEX, 1],
  [VFIO_PCI_MSI_IRQ_INDEX, 1],
  [VFIO_PCI_MSIX_IRQ_INDEX, MSIX_VECTORS],
]);

/** A device's interrupts, by index. */
export class Interrupts {
  readonly #raises: boolean;
  /** The eventfd of each interrupt that is in use; null for one that signals nothing. */
  readonly #eventfds = new Map<number, (EventFile | null)[]>();
  /** Whether the device asserts INTx, which is level-triggered. */
  #asserted = false;
  /** Whether INTx is masked: by its user, or as it was signalled. */
  #masked = false;
  /** The eventfd that unmasks INTx when it is signalled; null if none does. */
  #unmask: EventFile | null = null;
  /** Whether the command register keeps the device from asserting INTx. */
  #disabled = false;

  /** @param raises Whether the device raises interrupts: by INTx, MSI or MSI-X. */
  constructor(raises: boolean) {
    this.#raises = raises;
  }

  /** How many there are of an index. Every vfio-pci device has one to ask for the device back. */
  #count(index: number): number {
    if (index === VFIO_PCI_REQ_IRQ_INDEX) return 1;
    return this.#raises ? RAISED.get(index) ?? 0 : 0;
  }

  /** The kind of interrupt that is in use; null if none is. */
  get #raised(): number | null {
    return [...RAISED.keys()].find((index) => this.#eventfds.has(index)) ?? null;
  }

  /** Whether INTx is pending: the bit in the status register. */
  get pending(): boolean {
    return this.#asserted;
  }

  /** The device has something to say: by a message, or else by INTx until it is acknowledged. */
  raise(vector: number): void {
    const raised = this.#raised;
    if (raised !== null && raised !== VFIO_PCI_INTX_IRQ_INDEX) {
      this.#signal(raised, vector);
      return;
    }
    this.#asserted = true;
    this.#deliver();
  }

  /** The device asserts INTx no more. */
  acknowledge(): void {
    this.#asserted = false;
  }

  /** PCI_COMMAND_INTX_DISABLE was written. */
  disable(disabled: boolean): void {
    this.#disabled = disabled;
    this.#deliver();
  }

  /** The device is opened or reset. */
  reset(): void {
    this.#asserted = false;
    this.#disabled = false;
  }

  /** Signals INTx if it is asserted and may be signalled. It is masked with that. */
  #deliver(): void {
    if (!this.#asserted || this.#masked || this.#disabled) return;
    if (!this.#eventfds.has(VFIO_PCI_INTX_IRQ_INDEX)) return;
    this.#masked = true;
    this.#signal(VFIO_PCI_INTX_IRQ_INDEX, 0);
  }

  /** VFIO_DEVICE_GET_IRQ_INFO. */
  info(arg: Argument): number {
    const { argsz, index } = fromUser(vfioIrqInfo, arg);
    if (argsz < vfioIrqInfo.size || index >= VFIO_PCI_NUM_IRQS) refuse("EINVAL");
    // Only PCI Express devices report errors, and this is not one.
    if (index === VFIO_PCI_ERR_IRQ_INDEX) refuse("EINVAL");
    const more = index === VFIO_PCI_INTX_IRQ_INDEX
      ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
      : VFIO_IRQ_INFO_NORESIZE;
    const flags = VFIO_IRQ_INFO_EVENTFD | more;
    toUser(vfioIrqInfo, arg, { argsz, flags, index, count: this.#count(index) });
    return 0;
  }

  /** VFIO_DEVICE_SET_IRQS; `file` finds the file of an fd. */
  set(arg: Argument, file: (fd: number) => OpenFile): number {
    if (typeof arg === "number" || arg.length < HEADER) return refuse("EFAULT");
    const view = new DataView(arg.buffer, arg.byteOffset, arg.length);
    const u32 = (field: "argsz" | "flags" | "index" | "start" | "count"): number =>
      view.getUint32(vfioIrqSet.offsetOf(field), true);
    const [argsz, flags, index] = [u32("argsz"), u32("flags"), u32("index")];
    const [start, count] = [u32("start"), u32("count")];
    if (argsz < HEADER || index >= VFIO_PCI_NUM_IRQS || count >= U32_MAX - start) refuse("EINVAL");
    if ((flags & ~(DATA | ACTIONS)) !== 0) refuse("EINVAL");
    if (start >= this.#count(index) || start + count > this.#count(index)) refuse("EINVAL");
    const size = sizeOfData(flags & DATA);
    if (argsz - HEADER < count * size) refuse("EINVAL");
    if (arg.length < HEADER + count * size) refuse("EFAULT");
    const action = flags & ACTIONS;
    if (action !== VFIO_IRQ_SET_ACTION_TRIGGER) {
      const masks = [VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK].includes(action);
      if (!masks || index !== VFIO_PCI_INTX_IRQ_INDEX) refuse("ENOTTY");
      if (this.#raised !== index || count !== 1) refuse("EINVAL");
      if (size === 4) {
        // Linux masks by none.
        if (action === VFIO_IRQ_SET_ACTION_MASK) refuse("ENOTTY");
        const fd = view.getInt32(HEADER, true);
        this.#unmaskBy(fd < 0 ? null : eventfd(file(fd)));
        return 0;
      }
      if (size === 0 || arg[HEADER] !== 0) this.#mask(action === VFIO_IRQ_SET_ACTION_MASK);
      return 0;
    }
    const ends = count === 0 && (flags & VFIO_IRQ_SET_DATA_NONE) !== 0;
    if (index === VFIO_PCI_INTX_IRQ_INDEX && count !== 1 && !ends) refuse("EINVAL");
    // One kind at a time.
    if (RAISED.has(index) && ![index, null].includes(this.#raised)) refuse("EINVAL");
    if ((flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0) {
      const fds = Array.from({ length: count }, (_, n) => view.getInt32(HEADER + n * 4, true));
      this.#use(index, start, fds.map((fd) => fd === -1 ? null : eventfd(file(fd))));
      return 0;
    }
    if (!this.#eventfds.has(index)) refuse("EINVAL");
    if (ends) this.#end(index);
    for (let n = 0; n < count; n += 1) {
      if (size === 0 || arg[HEADER + n] !== 0) this.#signal(index, start + n);
    }
    return 0;
  }

  #mask(masked: boolean): void {
    this.#masked = masked;
    this.#deliver();
  }

  /** INTx is unmasked whenever this eventfd is signalled. */
  #unmaskBy(eventfd: EventFile | null): void {
    if (eventfd !== null && this.#unmask !== null) refuse("EBUSY");
    this.#unmask?.watch(null);
    this.#unmask?.drop();
    this.#unmask = eventfd;
    eventfd?.hold();
    eventfd?.watch(() => this.#mask(false));
  }

  #use(index: number, start: number, eventfds: readonly (EventFile | null)[]): void {
    const used = this.#eventfds.get(index) ?? [];
    eventfds.forEach((eventfd, n) => {
      eventfd?.hold();
      used[start + n]?.drop();
      used[start + n] = eventfd;
    });
    const first = !this.#eventfds.has(index);
    this.#eventfds.set(index, used);
    if (first && index === VFIO_PCI_INTX_IRQ_INDEX) this.#mask(false);
  }

  #end(index: number): void {
    for (const eventfd of this.#eventfds.get(index) ?? []) eventfd?.drop();
    this.#eventfds.delete(index);
    if (index === VFIO_PCI_INTX_IRQ_INDEX) this.#unmaskBy(null);
  }

  /** Signals an interrupt, if it has an eventfd. */
  #signal(index: number, number: number): void {
    this.#eventfds.get(index)?.[number]?.signal();
  }

  /** The device is closed: nothing is signalled any more. */
  close(): void {
    for (const index of [...this.#eventfds.keys()]) this.#end(index);
  }
}

/** The bytes of data for each interrupt. */
function sizeOfData(flag: number): number {
  switch (flag) {
    case VFIO_IRQ_SET_DATA_NONE:
      return 0;
    case VFIO_IRQ_SET_DATA_BOOL:
      return 1;
    case VFIO_IRQ_SET_DATA_EVENTFD:
      return 4;
    default:
      return refuse("EINVAL");
  }
}

function eventfd(file: OpenFile): EventFile {
  return file instanceof EventFile ? file : refuse("EINVAL");
}
