/**
 * What to do about a reason, in the command line's words: the library knows no options.
 *
 * @module
 */

import type { Reason } from "../../mod.ts";

/** The options that a reason's hint is about, by its code. */
const OPTIONS: Readonly<Record<string, string>> = {
  "no-cdev": "--via group",
  "no-container": "--container-fd N",
  "no-ioas": "--iommufd-fd N --ioas ID",
  "no-type1-container": "--via group, --tracker device",
  "vf-token": "--vf-token UUID",
};

/** The hint of a reason, with the option that it is about; empty where nothing is to be done. */
export function reasonHint({ code, hint }: Reason): string {
  const option = OPTIONS[code];
  return hint === "" || option === undefined ? hint : `${hint} (${option})`;
}
