/**
 * A campaign's process: tries one seed after the other, and tells of each.
 */

import * as fs from "node:fs";
import process from "node:process";
import { kindOf } from "./_kinds.ts";
import { Random } from "./_random.ts";
import { keyOf, type Line, type Orders } from "./_report.ts";
import { shrink } from "./_shrink.ts";
import { attempt, listen } from "./_try.ts";

function tell(line: Line): void {
  fs.writeSync(1, JSON.stringify(line) + "\n");
}

/** Finds that are alike are made smaller once. */
const known = new Set<string>();

listen();
const orders = JSON.parse(process.argv.at(-1)!) as Orders;
const kinds = orders.kinds.map((order) => ({ ...order, kind: kindOf(order.name) }));

for (let tries = 0; tries < orders.most && Date.now() < orders.until; tries++) {
  const able = kinds.filter(({ next, end }) => next < end);
  if (able.length === 0) break;
  const turn = able.reduce((least, one) => one.ms < least.ms ? one : least);
  const { kind, next: seed } = turn;
  turn.next += 1;
  const plan = orders.plan ?? kind.make(new Random(seed));
  tell({ begin: { kind: kind.name, seed } });
  const begun = performance.now();
  const find = await attempt(kind, plan);
  const ms = performance.now() - begun;
  turn.ms += ms;
  if (find !== null) {
    tell({ shrinking: true });
    const key = keyOf(kind.name, find);
    const small = known.has(key) ? { plan, find } : await shrink(kind, plan, find);
    known.add(key).add(keyOf(kind.name, small.find));
    const cause = small.find.cause instanceof Error ? small.find.cause.stack ?? "" : "";
    tell({
      find: {
        kind: kind.name,
        seed,
        promise: small.find.promise,
        message: small.find.message,
        plan: JSON.stringify(small.plan),
        stack: cause,
      },
    });
  }
  tell({ end: { kind: kind.name, seed, ms } });
  // What hangs holds on to what it had: the next tries are another process's.
  if (find?.promise === "hang") break;
}

for (const { kind } of kinds) await kind.end?.();
process.exit(0);
