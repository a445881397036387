/**
 * The data section of a v1 migration region: trapped, mapped or partitioned.
 *
 * Areas that the driver declares as mappable are mapped and copied; the rest, and areas that fail
 * to map, go through pread and pwrite.
 */

import { cleanly } from "../../base/cleanup.ts";
import {
  type Kernel,
  MAP_SHARED,
  type Mapping,
  PROT_READ,
  PROT_WRITE,
} from "../../kernel/kernel.ts";
import type { DriverNotes } from "../../vfio/notes/driver_notes.ts";
import type { Region } from "../../vfio/device/region.ts";
import { RegionIo } from "../protocol/data_io.ts";

type Buffer = Uint8Array;

/** Bytes `start` up to `end` of the region. */
export interface Area {
  readonly start: number;
  readonly end: number;
}

const PAGE = 4096;

/**
 * The areas of a region that mmap may reach: sorted, without holes inside,
 * overlaps merged, empty ones dropped, cut to the region and to whole pages.
 */
export function mappableAreas(region: Pick<Region, "size" | "mappable" | "sparse">): Area[] {
  if (!region.mappable) return [];
  const size = Number(region.size);
  const listed = region.sparse ?? [{ offset: 0n, size: region.size }];
  const areas = listed
    .map(({ offset, size: length }) => ({
      start: Math.ceil(Number(offset) / PAGE) * PAGE,
      end: Math.floor(Math.min(Number(offset) + Number(length), size) / PAGE) * PAGE,
    }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const area of areas) {
    const last = merged.at(-1);
    if (last !== undefined && area.start <= last.end) last.end = Math.max(last.end, area.end);
    else merged.push({ ...area });
  }
  return merged;
}

/**
 * Bytes from `offset` to the end of the area that the driver declares there, whether or not this
 * process could map it. If no area is declared there, the data section extends to the region's end.
 */
export function declaredRoom(
  region: Pick<Region, "size" | "mappable" | "sparse">,
  offset: number,
): number {
  const areas = region.mappable ? region.sparse ?? [] : [];
  const ends = areas
    .map((area) => ({ start: Number(area.offset), end: Number(area.offset + area.size) }))
    .filter(({ start, end }) => start <= offset && offset < end)
    .map(({ end }) => end);
  const end = ends.length > 0 ? Math.max(...ends) : Number(region.size);
  return Math.max(0, end - offset);
}

/** Reads and writes the data section, each byte by the fastest way. */
export class V1DataSection implements Disposable {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #io: RegionIo;
  readonly #base: number;
  readonly #notes: DriverNotes;
  readonly #areas: readonly (Area & { readonly mapping: Mapping })[];

  /** Maps the declared areas; an area whose mmap fails is accessed by pread and pwrite. */
  constructor(kernel: Kernel, fd: number, region: Region, notes: DriverNotes) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#io = new RegionIo(kernel, fd, notes);
    this.#base = Number(region.offset);
    this.#notes = notes;
    const areas = [];
    for (const area of mappableAreas(region)) {
      const mapping = this.#map(area, region);
      if (mapping !== null) areas.push({ ...area, mapping });
    }
    this.#areas = areas;
  }

  #map(area: Area, region: Region): Mapping | null {
    const prot = (region.readable ? PROT_READ : 0) | (region.writable ? PROT_WRITE : 0);
    try {
      return this.#kernel.mmap(area.end - area.start, {
        fd: this.#fd,
        offset: this.#base + area.start,
        prot,
        flags: MAP_SHARED,
      });
    } catch (error) {
      // The reason does not matter: pread reaches every byte that mmap does.
      const { message } = error as Error;
      this.#notes.add("mmap-failed", () => `${message}; pread and pwrite are used`);
      return null;
    }
  }

  /** Checks a data_offset against the header's rules. */
  noteOffset(offset: number): void {
    if (offset % PAGE === 0) return;
    if (!this.#areas.some(({ start, end }) => start <= offset && offset < end)) return;
    this.#notes.add("data-offset-unaligned", () => `data_offset was ${offset}, in a mapped area`);
  }

  /** Calls `mapped` or `trapped` for each part of a range that lies inside or outside a mapping. */
  #split(
    offset: number,
    data: Buffer,
    mapped: (mapping: Mapping, at: number, part: Buffer) => void,
    trapped: (part: Buffer, at: number) => void,
  ): void {
    const end = offset + data.length;
    for (let at = offset; at < end;) {
      const area = this.#areas.find((candidate) => candidate.end > at);
      const inside = area !== undefined && area.start <= at;
      const until = Math.min(end, area === undefined ? end : inside ? area.end : area.start);
      const part = until - at === data.length ? data : data.subarray(at - offset, until - offset);
      if (inside) mapped(area.mapping, at - area.start, part);
      else trapped(part, this.#base + at);
      at = until;
    }
  }

  /** Fills `into` from `offset` of the region; the caller has checked the bounds. */
  read(offset: number, into: Buffer): void {
    this.#split(
      offset,
      into,
      (mapping, at, part) => mapping.read(at, part),
      (part, at) => this.#io.preadFull(part, at),
    );
  }

  /** Writes `from` to `offset` of the region; the caller has checked the bounds. */
  write(offset: number, from: Buffer): void {
    this.#split(
      offset,
      from,
      (mapping, at, part) => mapping.write(at, part),
      (part, at) => this.#io.pwriteFull(part, at),
    );
  }

  [Symbol.dispose](): void {
    cleanly(() => {
      using closing = new DisposableStack();
      for (const { mapping } of this.#areas) closing.use(mapping);
    });
  }
}
