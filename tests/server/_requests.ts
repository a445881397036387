/** The payloads of a client's requests. */

import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  vfioDeviceFeatureMigState,
  vfioIrqSet,
  vfioRegionInfo,
} from "../../src/uapi/mod.ts";
import {
  vfioUserDmaMap,
  vfioUserMigData,
  vfioUserRegionAccess,
} from "../../src/vfio_user/wire/structs.ts";
import { joined } from "../_joined.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** VERSION, without capabilities. */
export function versionPayload(): Bytes {
  return joined(Uint8Array.of(0, 0, 1, 0), new TextEncoder().encode('{"capabilities":{}}\0'));
}

/** REGION_READ. */
export function regionRead(region: number, offset: number, count: number): Bytes {
  return vfioUserRegionAccess.pack({ region, offset: BigInt(offset), count });
}

/** REGION_WRITE. */
export function regionWrite(region: number, offset: number, data: Uint8Array): Bytes {
  const access = vfioUserRegionAccess.pack({ region, offset: BigInt(offset), count: data.length });
  return joined(access, data);
}

/** DEVICE_GET_REGION_INFO. */
export function regionInfo(index: number, argsz: number = vfioRegionInfo.size): Bytes {
  return vfioRegionInfo.pack({ argsz, index });
}

/** DEVICE_FEATURE. */
export function feature(flags: number, data: Uint8Array, argsz = 8 + data.length): Bytes {
  const head = new Uint8Array(8);
  const view = new DataView(head.buffer);
  view.setUint32(0, argsz, true);
  view.setUint32(4, flags, true);
  return joined(head, data);
}

/** MIG_DEVICE_STATE: asks for a state. */
export function setState(state: number): Bytes {
  const data = vfioDeviceFeatureMigState.pack({ device_state: state, data_fd: -1 });
  return feature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, data);
}

/** MIG_DEVICE_STATE: asks which it is. */
export const GET_STATE: Bytes = feature(
  VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  vfioDeviceFeatureMigState.pack({}),
);

/** The state and data_fd in a reply. */
export function stateOf(payload: Bytes): { device_state: number; data_fd: number } {
  return vfioDeviceFeatureMigState.unpack(payload, 8);
}

/** MIG_DATA_READ. */
export function dataRead(size: number): Bytes {
  return vfioUserMigData.pack({ argsz: 8 + size, size });
}

/** MIG_DATA_WRITE. */
export function dataWrite(data: Uint8Array): Bytes {
  return joined(vfioUserMigData.pack({ argsz: 8 + data.length, size: data.length }), data);
}

/** DMA_MAP. */
export function dmaMap(addr: bigint, size: bigint, offset = 0n, flags = 3): Bytes {
  return vfioUserDmaMap.pack({ flags, offset, addr, size });
}

/** DEVICE_SET_IRQS, whose eventfds go with the message. */
export function setIrqs(flags: number, index: number, count: number): Bytes {
  return vfioIrqSet.pack({ flags, index, count });
}
