/**
 * What somebody may change of a checkpoint who means harm, as plain data.
 */

import { crc32 } from "node:zlib";
import {
  DATA_META_SIZE,
  FRAME_DATA,
  FRAME_HEAD,
  FRAME_OPTIONAL,
  FRAME_TAIL,
  FRAME_ZSTD,
} from "../../src/checkpoint/frames/constants.ts";
import { compressed, concat, content, type Frame, type Parts } from "./_forge.ts";
import { Random } from "./_random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** One change; `frame` is any number, and stands for one of the frames that there are then. */
export type Edit =
  | { readonly edit: "drop" | "repeat" | "split" | "merge"; readonly frame: number }
  | { readonly edit: "swap"; readonly frame: number; readonly other: number }
  | { readonly edit: "insert"; readonly frame: number; readonly seed: number }
  | {
    readonly edit: "field";
    readonly frame: number;
    readonly field: "type" | "flags" | "device" | 8 | 12 | 16 | 20 | 24 | 28;
    readonly value: number;
  }
  | {
    readonly edit: "meta" | "body";
    readonly frame: number;
    readonly at: number;
    readonly width: 1 | 2 | 4;
    readonly value: number;
  }
  | {
    readonly edit: "length";
    readonly frame: number;
    readonly part: "meta" | "body";
    readonly by: number;
  }
  | { readonly edit: "zstd"; readonly frame: number; readonly how: ZstdTrick }
  | {
    readonly edit: "json";
    readonly last: boolean;
    readonly path: readonly number[];
    readonly value: unknown;
  }
  | { readonly edit: "text"; readonly last: boolean; readonly how: TextTrick }
  | { readonly edit: "preamble"; readonly at: number; readonly value: number };

const ZSTD_TRICKS = [
  ...["plain", "again", "twice", "empty behind", "skippable before", "skippable behind"] as const,
  ...["cut", "no content", "bomb", "wide window", "other content", "byte behind"] as const,
] as const;
type ZstdTrick = (typeof ZSTD_TRICKS)[number];

const TEXT_TRICKS = [
  ...["empty", "no object", "deep", "double key", "byte order mark", "bad utf-8"] as const,
  ...["prototype", "long", "space", "comma", "number"] as const,
] as const;
type TextTrick = (typeof TEXT_TRICKS)[number];

const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, 1, -1, 0.5, 65, 65535, 65536, 2 ** 32, 2 ** 53, 1e308, "", "v1", "v2"],
  ...["sha256", "x".repeat(300), "\u001b]0;owned\u0007", "a\u202eb", "1", [], {}, [[]], [null]],
  ...[{ type: 1, subtype: 1 }, "9999-99-99T99:99:99.999Z", "2026-01-01T00:00:00.000Z", "pci"],
];

/** A random change. */
export function makeEdit(random: Random): Edit {
  const frame = random.below(1000);
  const last = random.chance(0.5);
  switch (random.below(12)) {
    case 0:
      return { edit: random.pick(["drop", "repeat", "split", "merge"]), frame };
    case 1:
      return { edit: "swap", frame, other: random.below(1000) };
    case 2:
      return { edit: "insert", frame, seed: random.u32() };
    case 3:
    case 4: {
      const field = random.pick(["type", "flags", "device", 8, 12, 16, 20, 24, 28] as const);
      const value = field === "flags"
        ? random.below(8)
        : field === "device"
        ? random.few(0, 70)
        : random.edge();
      return { edit: "field", frame, field, value };
    }
    case 5:
    case 6:
      return {
        edit: random.chance(0.8) ? "meta" : "body",
        frame,
        at: random.chance(0.8) ? random.few(0, 24) : random.below(2000),
        width: random.pick([1, 2, 4]),
        value: random.chance(0.5) ? random.few(0, 300) : random.edge(),
      };
    case 7:
      return {
        edit: "length",
        frame,
        part: random.pick(["meta", "body"]),
        by: random.pick([-1, 1]) * random.pick([1, 4, 8, 16, 1000, 70_000]),
      };
    case 8:
      return { edit: "zstd", frame, how: random.pick(ZSTD_TRICKS) };
    case 9:
    case 10: {
      const path = Array.from({ length: random.few(1, 3) }, () => random.below(1000));
      return { edit: "json", last, path, value: random.pick(VALUES) };
    }
    default:
      return random.chance(0.7)
        ? { edit: "text", last, how: random.pick(TEXT_TRICKS) }
        : { edit: "preamble", at: random.below(16), value: random.below(256) };
  }
}

/** Makes a change. */
export function apply(parts: Parts, edit: Edit): void {
  const { frames } = parts;
  if (edit.edit === "preamble") {
    parts.preamble[edit.at] = edit.value;
    // Its own sum is put right, unless that is what was changed.
    const view = new DataView(parts.preamble.buffer);
    if (edit.at < 12) view.setUint32(12, crc32(parts.preamble.subarray(0, 12)), true);
    return;
  }
  if (frames.length === 0) return;
  if (edit.edit === "json" || edit.edit === "text") {
    const type = edit.last ? FRAME_TAIL : FRAME_HEAD;
    const frame = frames.find((one) => one.type === type);
    if (frame === undefined) return;
    frame.meta = edit.edit === "json"
      ? changedJson(frame.meta, edit.path, edit.value)
      : changedText(frame.meta, edit.how);
    return;
  }
  const at = edit.frame % frames.length;
  const frame = frames[at]!;
  switch (edit.edit) {
    case "drop":
      frames.splice(at, 1);
      return;
    case "repeat":
      frames.splice(at, 0, { ...frame, lies: new Map(frame.lies) });
      return;
    case "swap": {
      const other = edit.other % frames.length;
      [frames[at], frames[other]] = [frames[other]!, frame];
      return;
    }
    case "insert":
      frames.splice(at, 0, strangeFrame(new Random(edit.seed)));
      return;
    case "split":
      return split(frames, at);
    case "merge":
      return merge(frames, at);
    case "field":
      if (edit.field === "type") frame.type = edit.value;
      else if (edit.field === "flags") frame.flags = edit.value;
      else if (edit.field === "device") frame.device = edit.value;
      else frame.lies.set(edit.field, edit.value);
      return;
    case "meta":
    case "body": {
      const bytes = frame[edit.edit];
      for (let index = 0; index < edit.width && bytes.length > 0; index++) {
        bytes[(edit.at + index) % bytes.length] = edit.value >>> (8 * index);
      }
      return;
    }
    case "length": {
      const bytes = frame[edit.part];
      const length = Math.max(0, bytes.length + edit.by);
      frame[edit.part] = concat([bytes, new Uint8Array(70_000)]).slice(0, length);
      return;
    }
    case "zstd":
      return zstdTrick(frame, edit.how);
  }
}

function strangeFrame(random: Random): Frame {
  return {
    type: random.chance(0.4) ? 0x2e57454e : random.pick([FRAME_DATA, FRAME_HEAD, FRAME_TAIL]),
    flags: random.chance(0.7) ? FRAME_OPTIONAL : random.below(8),
    device: random.few(0, 3),
    meta: random.bytes(random.few(0, 100)),
    body: random.bytes(random.few(0, 5000)),
    lies: new Map(),
  };
}

/** A DATA frame in two, the first of which says that its transaction goes on. */
function split(frames: Frame[], at: number): void {
  const frame = frames[at]!;
  if (frame.type !== FRAME_DATA || frame.meta.length !== DATA_META_SIZE + 4) return;
  const bytes = content(frame);
  const half = bytes.length >> 1;
  if (half === 0) return;
  const part = (bytes: Bytes, more: number): Frame => {
    const meta = frame.meta.slice();
    const view = new DataView(meta.buffer);
    view.setUint8(1, more);
    view.setUint32(DATA_META_SIZE, bytes.length, true);
    return { ...frame, flags: frame.flags & ~FRAME_ZSTD, meta, body: bytes, lies: new Map() };
  };
  const more = frame.meta[1]!;
  frames.splice(at, 1, part(bytes.slice(0, half), 1), part(bytes.slice(half), more));
}

/** Two DATA frames in one. */
function merge(frames: Frame[], at: number): void {
  const [one, two] = [frames[at]!, frames[at + 1]];
  if (one.type !== FRAME_DATA || two?.type !== FRAME_DATA) return;
  const meta = concat([one.meta, two.meta.subarray(DATA_META_SIZE)]);
  const view = new DataView(meta.buffer);
  view.setUint32(4, (meta.length - DATA_META_SIZE) / 4, true);
  const body = concat([content(one), content(two)]);
  frames.splice(at, 2, {
    ...one,
    flags: one.flags & ~FRAME_ZSTD,
    ...{ meta, body },
    lies: new Map(),
  });
}

/** An empty zstd frame, as a compressor may append it (RFC 8878). */
const EMPTY = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00];
/** A skippable frame of 4 bytes. */
const SKIPPABLE = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
/** A frame whose header asks for a window of 2 TiB. */
const WIDE = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];

let bomb: Bytes | null = null;

function zstdTrick(frame: Frame, how: ZstdTrick): void {
  const plain = content(frame);
  const zipped = compressed(plain);
  const bytes = (): Uint8Array => {
    switch (how) {
      case "plain":
        return plain;
      case "again":
        return zipped;
      case "twice":
        return concat([compressed(plain.subarray(0, 10)), compressed(plain.subarray(10))]);
      case "empty behind":
        return concat([zipped, Uint8Array.from(EMPTY)]);
      case "skippable before":
        return concat([Uint8Array.from(SKIPPABLE), zipped]);
      case "skippable behind":
        return concat([zipped, Uint8Array.from(SKIPPABLE)]);
      case "cut":
        return zipped.subarray(0, -1);
      case "no content":
        return Uint8Array.from(EMPTY);
      case "bomb":
        return bomb ??= compressed(new Uint8Array(1 << 28));
      case "wide window":
        return Uint8Array.from(WIDE);
      case "other content":
        return compressed(plain.map((byte) => byte ^ 0xff));
      case "byte behind":
        return concat([zipped, new Uint8Array(1)]);
    }
  };
  frame.body = new Uint8Array(bytes());
  frame.flags |= FRAME_ZSTD;
}

/** The JSON with the value at a path, by the numbers of the keys, replaced; undefined drops it. */
function changedJson(meta: Bytes, path: readonly number[], value: unknown): Bytes {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder().decode(meta));
  } catch {
    return meta;
  }
  let at = root as Record<string, unknown>;
  for (const [depth, number] of path.entries()) {
    if (typeof at !== "object" || at === null) break;
    const keys = Object.keys(at);
    if (keys.length === 0) break;
    const key = keys[number % keys.length]!;
    const inner = at[key];
    const deeper = depth < path.length - 1 && typeof inner === "object" && inner !== null;
    if (deeper) at = inner as Record<string, unknown>;
    else {
      if (number % 7 === 0) delete at[key];
      else at[key] = value;
      break;
    }
  }
  return new TextEncoder().encode(JSON.stringify(root));
}

function changedText(meta: Bytes, how: TextTrick): Bytes {
  const text = new TextDecoder().decode(meta);
  const made = (text: string): Bytes => new TextEncoder().encode(text);
  switch (how) {
    case "empty":
      return made("");
    case "no object":
      return made("[1]");
    case "deep":
      return made("[".repeat(60_000));
    case "double key":
      return made(text.replace("{", '{"complete":false,"devices":[],'));
    case "byte order mark":
      return made(`\ufeff${text}`);
    case "bad utf-8":
      return concat([meta.subarray(0, 10), Uint8Array.from([0xc3, 0x28]), meta.subarray(10)]);
    case "prototype":
      return made(text.replace("{", '{"__proto__":{"complete":true},'));
    case "long":
      return made(text.replace("{", `{"x":"${"y".repeat(64_000)}",`));
    case "space":
      return made(`${text}${" ".repeat(1000)}`);
    case "comma":
      return made(text.replace(/}$/, ",}"));
    case "number":
      return made(text.replace(/\d+/, "1e999"));
  }
}
