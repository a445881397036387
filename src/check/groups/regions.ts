/**
 * A device's regions: what their info says, and that it can be true.
 *
 * @module
 */

import {
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
  VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
  vfioDeviceMigrationInfo,
  vfioRegionInfo,
  vfioRegionInfoCapType,
} from "../../uapi/mod.ts";
import { answered, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import { CapabilityError, walkCapabilities } from "../../vfio/device/capability_chain.ts";
import type { Region } from "../../vfio/device/region.ts";
import { rule } from "../rules.ts";

const group = "regions";
const PAGE = 4096n;
/** Bytes for a region's info with its capabilities. */
const ROOM = 4096;
const READ_WRITE = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

/** Every region that has bytes; fails where one's description cannot be true. */
function regions(context: CheckContext): Region[] {
  const { device } = context;
  const found: Region[] = [];
  for (let index = 0; index < device.numRegions; index += 1) {
    try {
      const region = device.regionOrNull(index);
      if (region !== null && region.size > 0n) found.push(region);
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      const contents = error instanceof CapabilityError && error.defect === "contents";
      context.expect(
        false,
        `region ${index} has an info that can be true`,
        error.message,
        contents ? 121 : 98,
      );
    }
  }
  context.step(`VFIO_DEVICE_GET_REGION_INFO → ${found.length} regions of ${device.numRegions}`);
  return found;
}

/**
 * The size and flags of the migration region as they stand in its info, whatever else is wrong
 * there; null if there is none.
 */
function migrationRegion(context: CheckContext): { flags: number; size: bigint } | null {
  const { device, kernel } = context;
  for (let index = 0; index < device.numRegions; index += 1) {
    const bytes = new Uint8Array(ROOM);
    bytes.set(vfioRegionInfo.pack({ index }));
    new DataView(bytes.buffer).setUint32(0, ROOM, true);
    const { errno } = attempt(() =>
      kernel.ioctl(device.fd.number, VFIO_DEVICE_GET_REGION_INFO, bytes)
    );
    const { argsz, flags, cap_offset, size } = vfioRegionInfo.unpack(bytes);
    if (errno !== null || (flags & VFIO_REGION_INFO_FLAG_CAPS) === 0) continue;
    const info = bytes.subarray(0, Math.min(ROOM, Math.max(argsz, vfioRegionInfo.size)));
    if (isMigration(info, cap_offset)) {
      context.step(`region ${index}: ${size} bytes, flags 0x${flags.toString(16)}`);
      return { flags, size };
    }
  }
  return null;
}

function isMigration(info: Uint8Array<ArrayBuffer>, capOffset: number): boolean {
  try {
    return walkCapabilities(info, capOffset, "the region", vfioRegionInfo.size)
      .filter(({ id, bytes }) =>
        id === VFIO_REGION_INFO_CAP_TYPE && bytes.length >= vfioRegionInfoCapType.size
      )
      .map(({ bytes }) => vfioRegionInfoCapType.unpack(bytes))
      .some(({ type, subtype }) =>
        type === VFIO_REGION_TYPE_MIGRATION_DEPRECATED &&
        subtype === VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED
      );
  } catch (error) {
    if (error instanceof CapabilityError) return false;
    throw error;
  }
}

function refusedInfo(context: CheckContext, index: number, argsz: number): void {
  const bytes = vfioRegionInfo.pack({ index });
  new DataView(bytes.buffer).setUint32(0, argsz, true);
  const answer = attempt(() =>
    context.kernel.ioctl(context.device.fd.number, VFIO_DEVICE_GET_REGION_INFO, bytes)
  );
  context.step(`VFIO_DEVICE_GET_REGION_INFO of ${index}, argsz ${argsz} → ${answered(answer)}`);
  context.expect(
    answer.errno === "EINVAL",
    "it fails with EINVAL",
    answer.errno ?? "it succeeded",
  );
}

/** The checks of a device's regions. */
export const REGION_CHECKS: readonly Check[] = [
  defineCheck({
    id: "device.regions.argsz-short",
    group,
    rules: [rule(122)],
    run: (context) => refusedInfo(context, 0, vfioRegionInfo.size - 1),
  }),
  defineCheck({
    id: "device.regions.unknown-index",
    group,
    rules: [rule(122)],
    run: (context) => refusedInfo(context, context.device.numRegions, vfioRegionInfo.size),
  }),
  defineCheck({
    id: "device.regions.capabilities",
    group,
    rules: [rule(98)],
    run: (context) => void regions(context),
  }),
  defineCheck({
    id: "device.regions.migration",
    group,
    rules: [rule(97)],
    run: (context) => {
      const region = migrationRegion(context);
      if (region === null) return context.skip("the device has no migration region");
      const { flags, size } = region;
      context.expect(
        (flags & READ_WRITE) === READ_WRITE,
        "its flags have READ and WRITE",
        `they are 0x${flags.toString(16)}`,
      );
      const registers = vfioDeviceMigrationInfo.size;
      context.expect(
        size > BigInt(registers),
        `more than the ${registers} bytes of its registers`,
        `${size} bytes`,
      );
    },
  }),
  defineCheck({
    id: "device.regions.apart",
    group,
    rules: [rule(123), rule(98)],
    run: (context) => {
      const sorted = regions(context).sort((a, b) => a.offset < b.offset ? -1 : 1);
      sorted.slice(1).forEach((region, index) => {
        const before = sorted[index]!;
        context.expect(
          before.offset + before.size <= region.offset,
          `region ${before.index} ends before region ${region.index} begins`,
          `it ends at 0x${(before.offset + before.size).toString(16)}, and the other begins at ` +
            `0x${region.offset.toString(16)}`,
        );
      });
    },
  }),
  defineCheck({
    id: "device.regions.sparse-areas",
    group,
    rules: [rule(121), rule(98)],
    run: (context) => {
      const sparse = regions(context).filter((region) => region.sparse !== null);
      if (sparse.length === 0) context.skip("no region has sparse areas");
      for (const { index, sparse: areas } of sparse) {
        areas!.forEach(({ offset, size }, number) => {
          context.expect(
            (offset | size) % PAGE === 0n,
            `area ${number} of region ${index} is aligned to whole pages`,
            `it has 0x${size.toString(16)} bytes at 0x${offset.toString(16)}`,
          );
          context.prefer(
            size > 0n,
            `area ${number} of region ${index} is not empty`,
            "it has 0 bytes",
          );
        });
      }
    },
  }),
];
