/**
 * Whether a checkpoint is of the devices at hand.
 */

import type { Hint } from "../../base/vfiokit_error.ts";
import type { DeviceIdentity } from "../../checkpoint/metadata/device_identity.ts";
import type { Device } from "../../migration/device.ts";
import type { DecodedHeader } from "../../checkpoint/metadata/header.ts";
import { checkIdentity } from "./check_identity.ts";
import { IdentityError } from "./identity_error.ts";

const FORCE: Hint = {
  text: "Where the two are compatible all the same, the driver can be left to decide",
  remedy: "force",
};

/**
 * Refuses a checkpoint that is not of these devices, each compared with the one
 * that was saved in its place. `force` takes other kinds of devices, but
 * neither another number of them nor the other protocol.
 *
 * @throws {IdentityError} With what differs, of all of them.
 */
export function demandIdentity(
  { devices: saved }: DecodedHeader,
  devices: readonly Device[],
  force: boolean,
): void {
  if (saved.length !== devices.length) {
    const given = devices.length === 1 ? "1 was given" : `${devices.length} were given`;
    const held = saved.length === 1 ? "1 device" : `${saved.length} devices`;
    throw new IdentityError([`it holds ${held}, and ${given}`], "it does not fit");
  }
  const several = devices.length > 1;
  const differences: string[] = [];
  let impossible = false;
  devices.forEach(({ name, description: { identity } }, number) => {
    const found = checkIdentity(saved[number]!, identity!);
    if (!several) differences.push(...found);
    else if (found.length > 0) differences.push(`device ${number} (${name}): ${found.join(", ")}`);
    // The protocols share no stream: what one gave means nothing to the other.
    impossible ||= saved[number]!.protocol !== identity!.protocol;
  });
  if (differences.length === 0 || (force && !impossible)) return;
  const hint = impossible
    ? "It cannot be forced: v1 and v2 share no stream, so a driver of the same protocol is needed"
    : FORCE;
  if (!several) throw new IdentityError(differences, undefined, hint);
  const order = fittingOrder(saved, devices);
  if (order === null) {
    const what = "it is of other devices than those that were given in their places";
    throw new IdentityError(differences, what, hint);
  }
  const names = order.map(({ name }) => name).join(", ");
  throw new IdentityError(
    [`they were saved as ${names}`],
    "the checkpoint has these devices in another order",
    {
      text: `Give them in the order in which they were saved: ${names}`,
      remedy: null,
    },
  );
}

/** The devices in the order in which they were saved; null if they are others. */
function fittingOrder(
  saved: readonly DeviceIdentity[],
  devices: readonly Device[],
): readonly Device[] | null {
  const left = [...devices];
  const order: Device[] = [];
  for (const one of saved) {
    const at = left.findIndex(({ description }) =>
      checkIdentity(one, description.identity!).length === 0
    );
    if (at < 0) return null;
    order.push(...left.splice(at, 1));
  }
  return order;
}
