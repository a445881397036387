/**
 * What an honest vfio-user server answers, request by request: a v2 device with one BAR.
 */

import { ERRNO } from "../../src/kernel/errno_names.ts";
import { libcKernel } from "../../src/kernel/libc/libc_kernel.ts";
import * as uapi from "../../src/uapi/mod.ts";
import * as wire from "../../src/vfio_user/wire/commands.ts";
import {
  vfioUserDeviceInfo,
  vfioUserDmaLoggingReport,
  vfioUserMigData,
  vfioUserRegionAccess,
} from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";
import { refusal, reply, type Scripted, version } from "../vfio_user/_scripted_server.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const DATA = 700;

/** The region with a BAR's registers, part of which can be mapped. */
function bar(): Bytes {
  const cap = uapi.vfioRegionInfoCapSparseMmap.pack({
    header: { id: uapi.VFIO_REGION_INFO_CAP_SPARSE_MMAP, version: 1, next: 0 },
    nr_areas: 1,
    areas: [{ offset: 0n, size: 4096n }],
  });
  return joined(
    uapi.vfioRegionInfo.pack({
      argsz: uapi.vfioRegionInfo.size + cap.length,
      flags: uapi.VFIO_REGION_INFO_FLAG_READ | uapi.VFIO_REGION_INFO_FLAG_WRITE |
        uapi.VFIO_REGION_INFO_FLAG_MMAP | uapi.VFIO_REGION_INFO_FLAG_CAPS,
      index: 0,
      cap_offset: uapi.vfioRegionInfo.size,
      size: 8192n,
    }),
    cap,
  );
}

/** The device: its state, and how much of its data was read. */
export class HonestServer implements Disposable {
  readonly #extended: boolean;
  readonly #memory = libcKernel().memfd("fuzz-region", 8192);
  #state = uapi.VFIO_DEVICE_STATE_RUNNING;
  #read = 0;

  /** `extended`: whether it speaks vfiokit's extension. */
  constructor(extended: boolean) {
    this.#extended = extended;
  }

  /** The reply to a request. */
  answer(id: number, command: number, payload: Bytes): Scripted {
    switch (command) {
      case wire.VFIO_USER_VERSION:
        return version(this.#extended ? { vfiokit: { version: 1, bus: "pci", driver: "x" } } : {});
      case wire.VFIO_USER_DEVICE_GET_INFO: {
        const flags = uapi.VFIO_DEVICE_FLAGS_RESET | uapi.VFIO_DEVICE_FLAGS_PCI;
        const info = { flags, num_regions: 9, num_irqs: 5 };
        return reply(id, command, vfioUserDeviceInfo.pack(info));
      }
      case wire.VFIO_USER_DEVICE_GET_REGION_INFO:
        return this.#region(id, command, payload);
      case wire.VFIO_USER_DEVICE_GET_IRQ_INFO:
        return reply(id, command, payload);
      case wire.VFIO_USER_REGION_READ: {
        const { count } = vfioUserRegionAccess.unpack(payload);
        return reply(id, command, joined(payload, new Uint8Array(count).fill(0x5a)));
      }
      case wire.VFIO_USER_REGION_WRITE:
        return reply(id, command, payload.slice(0, vfioUserRegionAccess.size));
      case wire.VFIO_USER_DEVICE_FEATURE:
        return this.#feature(id, command, payload);
      case wire.VFIO_USER_MIG_DATA_READ: {
        const { size } = vfioUserMigData.unpack(payload);
        const count = Math.min(size, DATA - this.#read);
        this.#read += count;
        const head = vfioUserMigData.pack({ argsz: 8 + count, size: count });
        return reply(id, command, joined(head, new Uint8Array(count).fill(7)));
      }
      case wire.VFIOKIT_MIG_PRECOPY_INFO: {
        const left = BigInt(DATA - this.#read);
        return reply(id, command, uapi.vfioPrecopyInfo.pack({ initial_bytes: left }));
      }
      case wire.VFIO_USER_DMA_UNMAP:
        return reply(id, command, payload);
      default:
        return reply(id, command);
    }
  }

  #region(id: number, command: number, payload: Bytes): Scripted {
    const { index, argsz } = uapi.vfioRegionInfo.unpack(payload);
    const whole = bar();
    if (index !== 0) {
      const size = index === uapi.VFIO_PCI_CONFIG_REGION_INDEX ? 256n : 0n;
      const flags = uapi.VFIO_REGION_INFO_FLAG_READ;
      return reply(id, command, uapi.vfioRegionInfo.pack({ index, size, flags }));
    }
    if (argsz < whole.length) return reply(id, command, whole.slice(0, uapi.vfioRegionInfo.size));
    return reply(id, command, whole, [this.#memory]);
  }

  #feature(id: number, command: number, payload: Bytes): Scripted {
    const view = new DataView(payload.buffer, payload.byteOffset);
    const [argsz, flags] = [view.getUint32(0, true), view.getUint32(4, true)];
    const feature = flags & uapi.VFIO_DEVICE_FEATURE_MASK;
    if ((flags & uapi.VFIO_DEVICE_FEATURE_PROBE) !== 0) {
      return feature > 8 ? refusal(id, command, ERRNO.ENOTTY) : reply(id, command, payload);
    }
    const answer = (data: Uint8Array): Scripted =>
      reply(id, command, uapi.vfioDeviceFeature.pack({ flags, data }));
    switch (feature) {
      case uapi.VFIO_DEVICE_FEATURE_MIGRATION: {
        const own = uapi.VFIO_MIGRATION_STOP_COPY | uapi.VFIO_MIGRATION_PRE_COPY;
        return answer(uapi.vfioDeviceFeatureMigration.pack({ flags: BigInt(own) }));
      }
      case uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: {
        const codec = uapi.vfioDeviceFeatureMigState;
        const set = (flags & uapi.VFIO_DEVICE_FEATURE_SET) !== 0;
        const before = this.#state;
        if (set) this.#state = codec.unpack(payload, 8).device_state;
        const begins = set && before !== uapi.VFIO_DEVICE_STATE_PRE_COPY &&
          [3, 4, 6].includes(this.#state);
        if (begins) this.#read = 0;
        return answer(codec.pack({ device_state: this.#state, data_fd: begins ? 0 : -1 }));
      }
      case uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: {
        const head = 8 + vfioUserDmaLoggingReport.size;
        return answer(joined(payload.slice(8), new Uint8Array(argsz - head).fill(1)));
      }
      default:
        return answer(payload.slice(8));
    }
  }

  [Symbol.dispose](): void {
    libcKernel().close(this.#memory);
  }
}
