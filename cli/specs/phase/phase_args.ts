/**
 * The arguments of every phase.
 *
 * @module
 */

import {
  argument,
  type InferValue,
  message,
  metavar,
  object,
  type Parser,
  text,
} from "../../optique.ts";
import { drive, quiet } from "../options.ts";
import { device } from "../value_parsers.ts";

/** The arguments of every phase; `object` takes them together with a phase's own. */
export const phaseArgs = {
  device: argument(device(), {
    description: [
      text("The device: fd:3 under vfiokit with, or any other name (see vfiokit probe)."),
    ],
  }),
  ...drive,
  ...quiet,
};

/** What every phase prints for arguments that do not parse. */
export const phaseObject = {
  errors: { endOfInput: message`Expected a ${metavar("DEVICE")}.` },
};

const common = object(phaseArgs, phaseObject);

/** The parsed arguments of every phase. */
export type PhaseArgs = InferValue<typeof common>;

/** The arguments of a phase without further ones. */
export const plainPhase: Parser<"sync", PhaseArgs, unknown> = common;
