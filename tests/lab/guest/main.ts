/**
 * What runs in the guest: all cases, one after the other.
 *
 * @module
 */

import process from "node:process";
import { cases as driver } from "./cases/driver.ts";
import { runCases } from "./harness.ts";

const { passed, failed } = await runCases([...driver], process.argv[2] ?? "");
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
