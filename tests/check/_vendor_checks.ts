/** Checks as a vendor would add them. */

import process from "node:process";
import { type Check, defineCheck } from "../../src/check/mod.ts";

const SOURCE = { number: null, source: "manual", judges: "driver" } as const;

const CHECKS: readonly Check[] = [
  defineCheck({
    id: "acme.state-size",
    group: "acme",
    rules: [{ ...SOURCE, text: "A state has 64 KiB at least." }],
    run: (context) => {
      const { bytes } = context.v2.save();
      context.expect(bytes >= 65536, "65536 bytes at least", `${bytes} bytes`);
    },
  }),
  defineCheck({
    id: "acme.never",
    group: "acme",
    rules: [{ ...SOURCE, text: "It never passes." }],
    run: (context) => context.expect(false, "nothing", "something"),
  }),
  defineCheck({
    id: "acme.stops",
    group: "acme-stops",
    rules: [{ ...SOURCE, text: "It can be stopped." }],
    run: (context) => {
      context.v2.enter(1);
      (globalThis as { abortCheck?: () => void }).abortCheck?.();
      context.step("after the abort");
    },
  }),
  defineCheck({
    id: "acme.ends-its-thread",
    group: "acme-ends",
    rules: [{ ...SOURCE, text: "It cannot be run." }],
    run: () => process.exit(3),
  }),
];

export default CHECKS;
