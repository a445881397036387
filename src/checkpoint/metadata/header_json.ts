/**
 * A header from JSON that came from outside.
 */

import { readChainLink } from "./chain_link.ts";
import type { DeviceIdentity } from "./device_identity.ts";
import { FieldError, Fields, parseFields } from "./json_fields.ts";
import { MAX_DEVICES } from "../frames/constants.ts";
import type { DecodedHeader } from "./header.ts";

function readIdentity(fields: Fields): DeviceIdentity {
  const id = (key: string): number => fields.count(key, 0xffff);
  const text = (key: string): string => fields.text(key);
  const region = (key: string): { type: number; subtype: number } => {
    const pair = fields.fields(key);
    return { type: pair.count("type", 0xffffffff), subtype: pair.count("subtype", 0xffffffff) };
  };
  return {
    protocol: fields.word("protocol", ["v1", "v2"]),
    bus: fields.text("bus"),
    driver: fields.nullable("driver", text),
    vendorId: fields.nullable("vendorId", id),
    deviceId: fields.nullable("deviceId", id),
    subsystemVendorId: fields.nullable("subsystemVendorId", id),
    subsystemId: fields.nullable("subsystemId", id),
    mdevType: fields.nullable("mdevType", text),
    ...(fields.value("vgpuType") === undefined ? {} : { vgpuType: fields.text("vgpuType") }),
    region: fields.nullable("region", region),
  };
}

function readDate(fields: Fields): string {
  const created = fields.text("created");
  const pattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;
  if (!pattern.test(created) || Number.isNaN(Date.parse(created))) {
    throw new FieldError(`${fields.name("created")} is not a time in UTC`);
  }
  return created;
}

function readPageSize(fields: Fields): number {
  const size = fields.count("iovaPageSize");
  if (size === 0 || !Number.isInteger(Math.log2(size))) {
    throw new FieldError(`${fields.name("iovaPageSize")} is not a power of two`);
  }
  return size;
}

function readHeader(fields: Fields): DecodedHeader {
  const devices = fields.list("devices", MAX_DEVICES).map(readIdentity);
  if (devices.length === 0) throw new FieldError("devices is empty");
  return {
    tool: fields.text("tool"),
    created: readDate(fields),
    complete: fields.flag("complete"),
    digest: fields.nullable("digest", (key) => fields.word(key, ["sha256"])),
    iovaPageSize: fields.nullable("iovaPageSize", () => readPageSize(fields)),
    devices,
    ...(fields.value("link") === undefined
      ? {}
      : { link: readChainLink(fields.fields("link"), devices.length) }),
  };
}

/** A header from a HEAD frame; throws FieldError. */
export function parseHeader(bytes: Uint8Array): DecodedHeader {
  return readHeader(parseFields(bytes));
}

/**
 * A header as it goes into a HEAD frame: checked as a reader will check it, and
 * without fields that the format does not have.
 */
export function checkHeader(header: DecodedHeader): DecodedHeader {
  return readHeader(new Fields(header));
}
