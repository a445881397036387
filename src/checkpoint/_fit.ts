/**
 * Whether a checkpoint is of the devices at hand.
 */

import type { Device } from "../migration/device.ts";
import type { DecodedHeader } from "./header.ts";
import { checkIdentity } from "./identity.ts";
import { IdentityError } from "./identity_error.ts";

/**
 * Refuses a checkpoint that is not of these devices, each compared with the one
 * that was saved in its place. `force` takes other kinds of devices, but
 * neither another number of them nor the other protocol.
 *
 * @throws {IdentityError} With what differs, of all of them.
 */
export function demandFit(
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
    const who = several ? `device ${number}, ${name}: ` : "";
    const found = checkIdentity(saved[number]!, identity!);
    differences.push(...found.map((difference) => who + difference));
    // The protocols share no stream: what one gave means nothing to the other.
    impossible ||= saved[number]!.protocol !== identity!.protocol;
  });
  if (differences.length === 0 || (force && !impossible)) return;
  throw several
    ? new IdentityError(differences, "it is of other devices, or in another order than given")
    : new IdentityError(differences);
}
