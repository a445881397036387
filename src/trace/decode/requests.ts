// An ioctl in words: the request by its name, the struct by its fields.

import { FIONBIO } from "../../kernel/kernel.ts";
import * as uapi from "../../uapi/mod.ts";
import type { TraceFields, TraceValue } from "../event.ts";
import type { FileKind, RegionFacts } from "./traced_files.ts";
import { extensionName, featureName, flagNames, hex, v2StateName } from "./names.ts";
import { changedFields, structFields, type StructLayout } from "./struct_fields.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** An ioctl's arguments in words. */
export interface DecodedRequest {
  readonly request: string;
  readonly feature?: string;
  readonly args?: TraceFields;
  readonly answer?: TraceFields;
  readonly state?: string;
}

/** A request's name and, if its argument is a struct, the codec and the prefix of its flags' names. */
type RequestLayout =
  | readonly [request: string]
  | readonly [request: string, codec: uapi.StructCodec<object>, flags: string | null];
type Requests = Readonly<Record<number, RequestLayout>>;

/** Requests of containers. Their numbers are also those of requests of devices. */
const CONTAINER: Requests = {
  [uapi.VFIO_IOMMU_GET_INFO]: ["VFIO_IOMMU_GET_INFO", uapi.vfioIommuType1Info, "VFIO_IOMMU_INFO_"],
  [uapi.VFIO_IOMMU_MAP_DMA]: [
    "VFIO_IOMMU_MAP_DMA",
    uapi.vfioIommuType1DmaMap,
    "VFIO_DMA_MAP_FLAG_",
  ],
  [uapi.VFIO_IOMMU_UNMAP_DMA]: [
    "VFIO_IOMMU_UNMAP_DMA",
    uapi.vfioIommuType1DmaUnmap,
    "VFIO_DMA_UNMAP_FLAG_",
  ],
  [uapi.VFIO_IOMMU_ENABLE]: ["VFIO_IOMMU_ENABLE"],
  [uapi.VFIO_IOMMU_DISABLE]: ["VFIO_IOMMU_DISABLE"],
  [uapi.VFIO_IOMMU_DIRTY_PAGES]: [
    "VFIO_IOMMU_DIRTY_PAGES",
    uapi.vfioIommuType1DirtyBitmap,
    "VFIO_IOMMU_DIRTY_PAGES_FLAG_",
  ],
};

/** All others. */
const OTHERS: Requests = {
  [uapi.VFIO_GET_API_VERSION]: ["VFIO_GET_API_VERSION"],
  [uapi.VFIO_CHECK_EXTENSION]: ["VFIO_CHECK_EXTENSION"],
  [uapi.VFIO_SET_IOMMU]: ["VFIO_SET_IOMMU"],
  [uapi.VFIO_GROUP_GET_STATUS]: [
    "VFIO_GROUP_GET_STATUS",
    uapi.vfioGroupStatus,
    "VFIO_GROUP_FLAGS_",
  ],
  [uapi.VFIO_GROUP_SET_CONTAINER]: ["VFIO_GROUP_SET_CONTAINER"],
  [uapi.VFIO_GROUP_UNSET_CONTAINER]: ["VFIO_GROUP_UNSET_CONTAINER"],
  [uapi.VFIO_GROUP_GET_DEVICE_FD]: ["VFIO_GROUP_GET_DEVICE_FD"],
  [uapi.VFIO_DEVICE_GET_INFO]: [
    "VFIO_DEVICE_GET_INFO",
    uapi.vfioDeviceInfo,
    "VFIO_DEVICE_FLAGS_",
  ],
  [uapi.VFIO_DEVICE_GET_REGION_INFO]: [
    "VFIO_DEVICE_GET_REGION_INFO",
    uapi.vfioRegionInfo,
    "VFIO_REGION_INFO_FLAG_",
  ],
  [uapi.VFIO_DEVICE_GET_IRQ_INFO]: [
    "VFIO_DEVICE_GET_IRQ_INFO",
    uapi.vfioIrqInfo,
    "VFIO_IRQ_INFO_",
  ],
  [uapi.VFIO_DEVICE_RESET]: ["VFIO_DEVICE_RESET"],
  [uapi.VFIO_DEVICE_FEATURE]: ["VFIO_DEVICE_FEATURE"],
  [uapi.VFIO_DEVICE_BIND_IOMMUFD]: [
    "VFIO_DEVICE_BIND_IOMMUFD",
    uapi.vfioDeviceBindIommufd,
    "VFIO_DEVICE_BIND_FLAG_",
  ],
  [uapi.VFIO_DEVICE_ATTACH_IOMMUFD_PT]: [
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
    uapi.vfioDeviceAttachIommufdPt,
    null,
  ],
  [uapi.VFIO_DEVICE_DETACH_IOMMUFD_PT]: [
    "VFIO_DEVICE_DETACH_IOMMUFD_PT",
    uapi.vfioDeviceDetachIommufdPt,
    null,
  ],
  [uapi.VFIO_MIG_GET_PRECOPY_INFO]: [
    "VFIO_MIG_GET_PRECOPY_INFO",
    uapi.vfioPrecopyInfo,
    "VFIO_PRECOPY_INFO_",
  ],
  [uapi.IOMMU_GET_HW_INFO]: ["IOMMU_GET_HW_INFO", uapi.iommuHwInfo, null],
  [uapi.IOMMU_HWPT_SET_DIRTY_TRACKING]: [
    "IOMMU_HWPT_SET_DIRTY_TRACKING",
    uapi.iommuHwptSetDirtyTracking,
    "IOMMU_HWPT_DIRTY_TRACKING_",
  ],
  [FIONBIO]: ["FIONBIO"],
};

/** The names of all other requests that src/uapi has; iommufd's have structs of the same name. */
const NAMED: Requests = Object.fromEntries(
  Object.entries(uapi.IOCTLS).map(([name, number]) => {
    const codec = uapi.STRUCTS[name.toLowerCase()];
    return [number, codec === undefined ? [name] : [name, codec, `${name}_`]];
  }),
);

/** The struct of a feature. */
const FEATURES: Readonly<Record<number, StructLayout>> = {
  [uapi.VFIO_DEVICE_FEATURE_MIGRATION]: {
    codec: uapi.vfioDeviceFeatureMigration,
    flags: "VFIO_MIGRATION_",
  },
  [uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE]: {
    codec: uapi.vfioDeviceFeatureMigState,
    flags: null,
  },
  [uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_START]: {
    codec: uapi.vfioDeviceFeatureDmaLoggingControl,
    flags: null,
  },
  [uapi.VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT]: {
    codec: uapi.vfioDeviceFeatureDmaLoggingReport,
    flags: null,
  },
  [uapi.VFIO_DEVICE_FEATURE_MIG_DATA_SIZE]: {
    codec: uapi.vfioDeviceFeatureMigDataSize,
    flags: null,
  },
};

/** Puts an ioctl into words; `after` is the argument as the kernel left it, null if it failed. */
export function decodeRequest(
  kind: FileKind | null,
  request: number,
  before: Bytes | number,
  after: Bytes | null,
): DecodedRequest {
  const bytes = typeof before === "number" ? null : before;
  const [name, codec, flags] = requestsOf(kind, request, bytes)[request] ?? [hex(request)];
  if (name === "VFIO_DEVICE_FEATURE" && bytes !== null) return feature(bytes, after);
  const shape = codec === undefined ? null : { codec, flags: flags ?? null };
  const args = bytes === null
    ? numberArgument(name, before as number)
    : shape === null
    ? bytesArgument(name, bytes)
    : fields(shape, name, bytes);
  const left = shape === null || after === null ? null : fields(shape, name, after);
  const answer = left === null || args === null ? null : changedFields(args, left);
  const given = args !== null && name.includes("_GET_") ? withoutRoom(args) : args;
  return { request: name, ...(given && { args: given }), ...(answer && { answer }) };
}

/** The arguments of a request without the fields that are zero, as room for the answer is. */
function withoutRoom(args: TraceFields): TraceFields {
  const isRoom = (name: string, value: TraceValue): boolean =>
    name !== "index" &&
    (value === 0 || value === "0x0" || Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(args).filter(([name, value]) => !isRoom(name, value)));
}

/** A number that requests of several kinds of file have means what the file is. */
function requestsOf(kind: FileKind | null, request: number, bytes: Bytes | null): Requests {
  const known = OTHERS[request] === undefined ? NAMED : OTHERS;
  if (CONTAINER[request] === undefined || kind === "device") return known;
  if (kind !== null || bytes === null || bytes.length < 8) return CONTAINER;
  // An fd that other code opened: a feature has GET, SET or PROBE in its flags.
  const flags = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  const isFeature = request === uapi.VFIO_DEVICE_FEATURE && flags >= uapi.VFIO_DEVICE_FEATURE_GET;
  return isFeature ? known : CONTAINER;
}

function fields(layout: StructLayout, name: string, bytes: Bytes): TraceFields | null {
  const found = structFields(layout, bytes);
  if (found === null) return null;
  const inside = PAYLOADS[name];
  if (inside === undefined || bytes.length <= layout.codec.size) return found;
  return { ...found, ...structFields(inside, bytes.subarray(layout.codec.size)) };
}

/** What may follow a request's struct. */
const PAYLOADS: Readonly<Record<string, StructLayout>> = {
  VFIO_IOMMU_UNMAP_DMA: { codec: uapi.vfioBitmap, flags: null },
  VFIO_IOMMU_DIRTY_PAGES: { codec: uapi.vfioIommuType1DirtyBitmapGet, flags: null },
};

function numberArgument(name: string, value: number): TraceFields | null {
  if (name === "VFIO_CHECK_EXTENSION" || name === "VFIO_SET_IOMMU") {
    return { extension: extensionName(value) };
  }
  return value === 0 ? null : { value };
}

function bytesArgument(name: string, bytes: Bytes): TraceFields | null {
  if (name === "VFIO_GROUP_GET_DEVICE_FD") return { device: untilNul(bytes) };
  if (bytes.length !== 4) return null;
  const value = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
  return name === "VFIO_GROUP_SET_CONTAINER" ? { container: value } : { value };
}

function untilNul(bytes: Bytes): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

const OPERATIONS = uapi.VFIO_DEVICE_FEATURE_GET | uapi.VFIO_DEVICE_FEATURE_SET |
  uapi.VFIO_DEVICE_FEATURE_PROBE;

function feature(before: Bytes, after: Bytes | null): DecodedRequest {
  const request = "VFIO_DEVICE_FEATURE";
  if (before.length < FEATURE_HEAD.size) return { request };
  const { argsz, flags } = FEATURE_HEAD.unpack(before);
  const number = flags & uapi.VFIO_DEVICE_FEATURE_MASK;
  const undefinedBits = (flags & ~(OPERATIONS | uapi.VFIO_DEVICE_FEATURE_MASK)) >>> 0;
  const operation = flagNames("VFIO_DEVICE_FEATURE_", flags & OPERATIONS);
  if (undefinedBits !== 0) operation.push(hex(undefinedBits));
  const layout = FEATURES[number];
  const fieldsOf = (bytes: Bytes | null): TraceFields | null =>
    layout === undefined || bytes === null
      ? null
      : structFields(layout, bytes.subarray(FEATURE_HEAD.size));
  const given = fieldsOf(before);
  const left = fieldsOf(after);
  const sets = (flags & uapi.VFIO_DEVICE_FEATURE_SET) !== 0;
  const args = given === null || sets ? given : withoutRoom(given);
  const answer = given === null || left === null ? null : changedFields(given, left);
  const state = (sets ? given : left)?.["device_state"];
  return {
    request,
    feature: featureName(number),
    args: { argsz, operation, ...withStateName(args) },
    ...(answer !== null && { answer: withStateName(answer)! }),
    ...(typeof state === "number" && { state: v2StateName(state) }),
  };
}

function withStateName(fields: TraceFields | null): TraceFields | null {
  const state = fields?.["device_state"];
  return typeof state === "number" ? { ...fields, device_state: v2StateName(state) } : fields;
}

/** struct vfio_device_feature without its data: argsz is whatever the caller says. */
const FEATURE_HEAD: uapi.StructCodec<{ argsz: number; flags: number }> = uapi.struct(
  "vfio_device_feature",
  { argsz: "u32", flags: "u32" },
);

/** The region that VFIO_DEVICE_GET_REGION_INFO was answered about; null if that is none. */
export function regionFacts(answer: Bytes): RegionFacts | null {
  if (answer.length < uapi.vfioRegionInfo.size) return null;
  const { index, size, offset, flags, cap_offset } = uapi.vfioRegionInfo.unpack(answer);
  const typed = (flags & uapi.VFIO_REGION_INFO_FLAG_CAPS) === 0 ? null : typeOf(answer, cap_offset);
  return {
    index,
    start: Number(offset),
    size: Number(size),
    type: typed?.type ?? null,
    subtype: typed?.subtype ?? null,
  };
}

/** The most capabilities that are looked at: a chain may lead round in a circle. */
const MAX_CAPABILITIES = 32;

function typeOf(answer: Bytes, first: number): uapi.VfioRegionInfoCapType | null {
  let at = first;
  for (let count = 0; count < MAX_CAPABILITIES; count++) {
    if (at < uapi.vfioRegionInfo.size || at + uapi.vfioInfoCapHeader.size > answer.length) break;
    const { id, next } = uapi.vfioInfoCapHeader.unpack(answer, at);
    const isType = id === uapi.VFIO_REGION_INFO_CAP_TYPE;
    if (isType && at + uapi.vfioRegionInfoCapType.size <= answer.length) {
      return uapi.vfioRegionInfoCapType.unpack(answer, at);
    }
    at = next;
  }
  return null;
}

/** The data fd that VFIO_DEVICE_FEATURE was answered with; null if there is none. */
export function dataFd(before: Bytes, after: Bytes): number | null {
  const size = FEATURE_HEAD.size + uapi.vfioDeviceFeatureMigState.size;
  if (before.length < size || after.length < size) return null;
  const { flags } = FEATURE_HEAD.unpack(before);
  const wanted = uapi.VFIO_DEVICE_FEATURE_SET | uapi.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
  if (flags !== wanted) return null;
  const { data_fd } = uapi.vfioDeviceFeatureMigState.unpack(after, FEATURE_HEAD.size);
  return data_fd < 0 ? null : data_fd;
}
