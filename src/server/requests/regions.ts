/**
 * The regions of the device: REGION_READ, REGION_WRITE and REGION_WRITE_MULTI, and what
 * DEVICE_GET_REGION_INFO says of them.
 */

import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  vfioRegionInfo,
} from "../../uapi/mod.ts";
import { vfioUserRegionAccess, vfioUserWriteMulti } from "../../vfio_user/wire/structs.ts";
import type { OpenDevice } from "./open_device.ts";
import { refuse } from "./refuse.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const ACCESS = vfioUserRegionAccess.size;
/** The most bytes that are asked for of a region's info; its capabilities are a few hundred. */
const INFO_MOST = 65536;
/** A write of WRITE_MULTI: an access, and 8 bytes for the data. */
const MULTI_DATA = 8;
const MULTI_SIZE = ACCESS + MULTI_DATA;
const MULTI_HEAD = vfioUserWriteMulti.size;
/** The most writes of one message (VFIO_USER_MULTI_MAX of QEMU is 8). */
const MULTI_MOST = 64;

/** The regions, as one client sees them. */
export class Regions {
  readonly #device: OpenDevice;
  /** Whether the client sees the regions that vfio-pci has beyond its own: v1's migration region. */
  readonly #all: boolean;
  readonly #mostData: number;
  readonly #infos = new Map<number, { readonly size: bigint; readonly offset: bigint }>();

  constructor(device: OpenDevice, all: boolean, mostData: number) {
    this.#device = device;
    this.#all = all;
    this.#mostData = mostData;
  }

  /** How many there are. */
  get count(): number {
    const { numRegions } = this.#device.vfio;
    return this.#all ? numRegions : Math.min(numRegions, VFIO_PCI_NUM_REGIONS);
  }

  /** The struct vfio_region_info, with the capabilities if the client has room for them. */
  info(payload: Bytes): Bytes {
    if (payload.length < vfioRegionInfo.size) refuse("EINVAL");
    const view = new DataView(payload.buffer, payload.byteOffset, vfioRegionInfo.size);
    const argsz = view.getUint32(0, true);
    if (argsz < vfioRegionInfo.size) refuse("EINVAL");
    return this.#info(view.getUint32(vfioRegionInfo.offsetOf("index"), true), argsz);
  }

  #info(index: number, argsz: number): Bytes {
    if (index >= this.count) refuse("EINVAL");
    const argument = new Uint8Array(Math.min(argsz, INFO_MOST));
    argument.set(vfioRegionInfo.pack({ argsz: argument.length, index }));
    this.#device.ioctl(VFIO_DEVICE_GET_REGION_INFO, argument);
    const view = new DataView(argument.buffer);
    const flagsAt = vfioRegionInfo.offsetOf("flags");
    // Nothing here can be mapped: it is memory of this process only while the device lives in it.
    const flags = view.getUint32(flagsAt, true) & ~VFIO_REGION_INFO_FLAG_MMAP;
    view.setUint32(flagsAt, flags, true);
    const whole = (flags & VFIO_REGION_INFO_FLAG_CAPS) !== 0 &&
      view.getUint32(vfioRegionInfo.offsetOf("cap_offset"), true) !== 0;
    return argument.subarray(0, whole ? argument.length : vfioRegionInfo.size);
  }

  /** Where in the device's file an access is; refused if it leaves its region. */
  #at(index: number, offset: bigint, count: number): number {
    let info = this.#infos.get(index);
    if (info === undefined) {
      const answer = this.#info(index, vfioRegionInfo.size);
      const view = new DataView(answer.buffer);
      info = {
        size: view.getBigUint64(vfioRegionInfo.offsetOf("size"), true),
        offset: view.getBigUint64(vfioRegionInfo.offsetOf("offset"), true),
      };
      this.#infos.set(index, info);
    }
    if (offset + BigInt(count) > info.size) refuse("EINVAL");
    return Number(info.offset + offset);
  }

  /** REGION_READ. */
  read(payload: Bytes): Bytes {
    if (payload.length !== ACCESS) refuse("EINVAL");
    const { region, offset, count } = vfioUserRegionAccess.unpack(payload);
    if (count > this.#mostData) refuse("E2BIG");
    const { kernel, vfio } = this.#device;
    const answer = new Uint8Array(ACCESS + count);
    const into = answer.subarray(ACCESS);
    const done = kernel.pread(vfio.fd.number, into, this.#at(region, offset, count));
    vfioUserRegionAccess.pack({ region, offset, count: done }, answer);
    return answer.subarray(0, ACCESS + done);
  }

  /** REGION_WRITE. */
  write(payload: Bytes): Bytes {
    if (payload.length < ACCESS) refuse("EINVAL");
    const { region, offset, count } = vfioUserRegionAccess.unpack(payload);
    if (payload.length !== ACCESS + count) refuse("EINVAL");
    const done = this.#write(region, offset, payload.subarray(ACCESS));
    return vfioUserRegionAccess.pack({ region, offset, count: done });
  }

  #write(region: number, offset: bigint, from: Bytes): number {
    const { kernel, vfio } = this.#device;
    return kernel.pwrite(vfio.fd.number, from, this.#at(region, offset, from.length));
  }

  /** REGION_WRITE_MULTI: the first write that fails ends it. */
  writeMulti(payload: Bytes): Bytes {
    if (payload.length < MULTI_HEAD) refuse("EINVAL");
    const { wr_cnt: count } = vfioUserWriteMulti.unpack(payload);
    if (count > MULTI_MOST || payload.length !== MULTI_HEAD + Number(count) * MULTI_SIZE) {
      refuse("EINVAL");
    }
    for (let at = MULTI_HEAD; at < payload.length; at += MULTI_SIZE) {
      const write = vfioUserRegionAccess.unpack(payload, at);
      if (write.count > MULTI_DATA) refuse("EINVAL");
      const from = payload.subarray(at + ACCESS, at + ACCESS + write.count);
      this.#write(write.region, write.offset, from);
    }
    return payload.slice(0, MULTI_HEAD);
  }
}
