/**
 * What makes a checkpoint a link of a chain: a full one, or one that builds on another.
 *
 * @module
 */

import type { IovaMapping } from "../../vfio/dma/iova.ts";
import { PAGE_UNIT } from "../frames/page_frame.ts";
import { FieldError, type Fields } from "./json_fields.ts";

/** The memory that a device's DMA reaches. */
export interface LinkMemory {
  /** Its ranges, by ascending iova, in whole pages of 4096 bytes. */
  readonly ranges: readonly IovaMapping[];
}

/** A checkpoint's place in a chain. */
export interface ChainLink {
  /** The chain: the id of its first link, which is a full checkpoint. */
  readonly chain: string;
  /** The id of this checkpoint: 32 random hex digits. */
  readonly id: string;
  /** Its number among the checkpoints of its folder. */
  readonly number: number;
  /** The checkpoint whose memory this one changes; null for a full one. */
  readonly previous: { readonly id: string; readonly number: number } | null;
  /** The memory of each device, in the order of the devices. */
  readonly memory: readonly LinkMemory[];
}

/** Most ranges of one device; a HEAD frame has no room for more. */
const MAX_RANGES = 1024;

/** Reads a link of so many devices; throws FieldError. */
export function readChainLink(fields: Fields, devices: number): ChainLink {
  const link: ChainLink = {
    chain: readId(fields, "chain"),
    id: readId(fields, "id"),
    number: fields.count("number"),
    previous: fields.nullable("previous", (key) => {
      const previous = fields.fields(key);
      return { id: readId(previous, "id"), number: previous.count("number") };
    }),
    memory: fields.list("memory", devices).map((device) => ({
      ranges: readRanges(device, MAX_RANGES),
    })),
  };
  const { chain, id, number, previous, memory } = link;
  const wrong = memory.length !== devices
    ? `${fields.name("memory")} is not of ${devices} devices`
    : (chain === id) !== (previous === null)
    ? `${fields.name("previous")} does not fit its chain`
    : previous !== null && previous.number >= number
    ? `${fields.name("previous")} comes after it`
    : null;
  if (wrong !== null) throw new FieldError(wrong);
  return link;
}

function readId(fields: Fields, key: string): string {
  const id = fields.text(key, 32);
  if (!/^[0-9a-f]{32}$/.test(id)) throw new FieldError(`${fields.name(key)} is not 32 hex digits`);
  return id;
}

/** Reads a device's `ranges`: whole pages that ascend and do not overlap; throws FieldError. */
export function readRanges(device: Fields, most: number): IovaMapping[] {
  const unit = BigInt(PAGE_UNIT);
  let end = 0n;
  return device.list("ranges", most).map((range) => {
    const [iova, size] = [range.address("iova"), range.address("size")];
    const whole = iova % unit === 0n && size % unit === 0n && size > 0n;
    if (!whole || iova < end || iova + size > 1n << 64n) {
      throw new FieldError(`${device.name("ranges")} are not in order, or not in whole pages`);
    }
    end = iova + size;
    return { iova, size };
  });
}
