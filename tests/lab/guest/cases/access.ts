/**
 * Who may open a device: the token of a virtual function, and a user without
 * permission for the nodes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { probe } from "../../../../mod.ts";
import type { ProbeReport } from "../../../../src/vfio/mod.ts";
import { lacksCdevs } from "../cdev.ts";
import { withEdu } from "../edu.ts";
import { type Case, firstKernel } from "../harness.ts";
import { bun, expectExit, vfiokit, wholeJson } from "../programs.ts";
import { lacksVf, withVf } from "../sriov.ts";

interface Told {
  readonly codes: readonly string[];
  readonly via: string | null;
}

/** Why it cannot be opened or migrated. */
function told(name: string, vfToken?: string, via?: "group"): Told {
  const { reasons, access } = probe(name, { vfToken, via });
  // Where there are two ways to open it, each has its reason.
  return { codes: [...new Set(reasons.map(({ code }) => code))], via: access.via };
}

/** It was opened, and does not migrate: plain vfio-pci drives it. */
const OPENED = { codes: ["needs-variant-driver"], via: "group" };
const REFUSED = { codes: ["vf-token"], via: null };

const tokens: readonly Case[] = [
  {
    name: "vf token: a virtual function is opened with it, and not without it or by another",
    lacks: lacksVf,
    run: () => {
      const token = randomUUID();
      return withVf(token, async (address) => {
        assert.deepEqual(told(address, undefined, "group"), REFUSED);
        assert.deepEqual(told(address, randomUUID()), REFUSED);
        assert.deepEqual(told(address, token), OPENED);
        // Before 6.17 Linux asks for no token at the device's own node.
        if (lacksCdevs() === null) assert.deepEqual(told(address), { ...OPENED, via: "cdev" });
        const words = [...vfiokit(bun), "with", address, "--via", "group"];
        const { stderr } = await expectExit(3, [...words, "--", "true"]);
        assert.match(stderr, /wants a VF token.*--vf-token UUID/s);
        await expectExit(0, [...words, "--vf-token", token, "--", "true"]);
      });
    },
  },
  {
    name: "vf token: a device that is no virtual function takes none",
    run: () =>
      withEdu(async (address) => {
        await Promise.resolve();
        assert.deepEqual(told(address, randomUUID()), REFUSED);
        assert.deepEqual(told(address).codes, OPENED.codes);
      }),
  },
];

/** A user who has no permission for what root's are, which nodes are in the beginning. */
const nodes: readonly Case[] = firstKernel([
  {
    name: "permission: a user without it is told of the node, and what to do",
    run: () =>
      withEdu(async (address) => {
        const words = [...vfiokit(bun), "probe", address, "--json"];
        const { reasons } = wholeJson<ProbeReport>(await expectExit(3, words, { uid: 65534 }));
        assert.ok(reasons.every(({ code }) => code === "no-permission"), JSON.stringify(reasons));
        const told = reasons.map(({ message }) => message).join("\n");
        assert.match(told, /\/dev\/vfio\/\d+: EACCES/);
      }),
  },
]);

/** The cases. */
export const cases: readonly Case[] = [...tokens, ...nodes];
