/**
 * A device's regions: what their info says, and that it can be true.
 *
 * @module
 */

import { VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo } from "../../uapi/mod.ts";
import { answered, attempt } from "../attempt.ts";
import type { CheckContext } from "../context.ts";
import { type Check, defineCheck } from "../define.ts";
import { AnswerError } from "../../vfio/device/answer_error.ts";
import type { Region } from "../../vfio/device/region.ts";
import { rule } from "../rules.ts";

const group = "regions";
const PAGE = 4096n;

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
      context.expect(false, `region ${index} has an info that can be true`, error.message, 98);
    }
  }
  context.step(`VFIO_DEVICE_GET_REGION_INFO → ${found.length} regions of ${device.numRegions}`);
  return found;
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
