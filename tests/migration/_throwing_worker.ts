/** A device's thread over a kernel that throws what it is asked for. */

import { serveDevice } from "../../mod.ts";
import { DEVICE, ThrowingKernel } from "./_every_error.ts";

serveDevice(new ThrowingKernel(DEVICE));
