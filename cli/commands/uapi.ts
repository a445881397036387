/**
 * `vfiokit uapi`: request numbers, constants and layouts.
 *
 * @module
 */

import { describeUapi, type StructDescription } from "../../src/uapi/mod.ts";
import type { Context } from "../context.ts";
import { hex } from "../output/format.ts";
import { table } from "../output/table.ts";
import { UsageError } from "../usage_error.ts";
import type { UapiArgs } from "../specs/uapi_demo_man.ts";

/** Runs `uapi`. */
export function run({ name }: UapiArgs, context: Context): Promise<number> {
  const { schema: _, ...known } = describeUapi(name);
  const { ioctls, constants, structs, notes } = known;
  if (name !== undefined && [ioctls, constants, structs].every(isEmpty)) {
    throw new UsageError(`Cannot find "${name}": all names are printed by "vfiokit uapi"`);
  }
  context.set(known);
  const noted = (key: string): string => key in notes ? `  (${notes[key]})` : "";
  for (const [key, value] of Object.entries(ioctls)) context.print(`${key} ${value}${noted(key)}`);
  for (const [key, value] of Object.entries(constants)) {
    context.print(`${key} ${value} ${hex(value)}${noted(key)}`);
  }
  for (const [key, layout] of Object.entries(structs)) {
    context.print(...structLines(key, layout, noted(key)));
  }
  return Promise.resolve(0);
}

function structLines(name: string, layout: StructDescription, note: string): string[] {
  const { size, fields, later } = layout;
  const lines = [`struct ${name}, ${size} bytes${note}`, ...fieldTable(fields)];
  if (later === undefined) return lines;
  return [...lines, `  ${later.size} bytes since ${later.since}:`, ...fieldTable(later.fields)];
}

function fieldTable(fields: StructDescription["fields"]): string[] {
  return table(
    [{ head: "offset", align: "right" }, { head: "size", align: "right" }, { head: "type" }, {
      head: "field",
    }],
    fields.map(({ name, offset, size, type }) => [String(offset), String(size), type, name]),
  );
}

function isEmpty(names: object): boolean {
  return Object.keys(names).length === 0;
}
