// The commit protocol, by every interleaving: each message delivered, delayed or lost, each action
// failing, each side killed at each point, and each decision taken from outside, at any time.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DESTINATION } from "../../src/live/commit/destination.ts";
import type { Entry, JournalView, Side } from "../../src/live/commit/journal.ts";
import { failureOf, type Step } from "../../src/live/commit/machine.ts";
import { type Order, type Resolution, resolve } from "../../src/live/commit/resolve.ts";
import { SOURCE } from "../../src/live/commit/source.ts";

/** A device, as the outside sees it. */
type DeviceIs = "running" | "stopped" | "reset" | "gone";

interface SideState {
  readonly state: string;
  /** Actions that are still to be done. */
  readonly actions: readonly string[];
  readonly alive: boolean;
  readonly device: DeviceIs;
  readonly journal: readonly Entry[];
  /** Messages on their way to it. */
  readonly inbox: readonly string[];
  /** An order that stands in its journal and was not seen yet. */
  readonly order: Order | null;
  /** It knows that the connection is gone. */
  readonly noticed: boolean;
}

interface World {
  readonly source: SideState;
  readonly destination: SideState;
  readonly link: boolean;
  /** How many more things may go wrong. */
  readonly budget: number;
  /** Whether an action of a device failed: then neither may run in the end. */
  readonly deviceFailed: boolean;
  /** The destination's device has run at some time, and was not reset since. */
  readonly ran: boolean;
}

const TABLES: Readonly<Record<Side, Readonly<Record<string, Readonly<Record<string, unknown>>>>>> =
  {
    source: SOURCE,
    destination: DESTINATION,
  };

const OTHER = { source: "destination", destination: "source" } as const;

const WAITING: Readonly<Record<Side, readonly string[]>> = {
  source: ["done", "back", "doubt", "lost"],
  destination: ["running", "refused", "doubt", "stuck"],
};

/** States in which a side has no more to say. */
const ENDED = ["done", "back", "lost", "running", "refused", "stuck"];

function start(budget: number): World {
  const side = (state: string, device: DeviceIs): SideState => ({
    state,
    actions: [],
    alive: true,
    device,
    journal: [],
    inbox: [],
    order: null,
    noticed: false,
  });
  return {
    source: side("moving", "running"),
    destination: side("receiving", "stopped"),
    link: true,
    budget,
    deviceFailed: false,
    ran: false,
  };
}

function set(world: World, side: Side, change: Partial<SideState>): World {
  return { ...world, [side]: { ...world[side], ...change } };
}

/** The world after a side took an event; null if the event has no step there. */
function take(world: World, side: Side, event: string): World | null {
  const step = TABLES[side][world[side].state]![event] as Step<string, string> | undefined;
  if (step === undefined) return null;
  return set(world, side, { state: step.to, actions: step.actions });
}

function view(world: World, side: Side): JournalView {
  const { journal, alive } = world[side];
  return {
    id: "0".repeat(32),
    side,
    process: { pid: 1, started: "1", boot: "b" },
    entries: journal,
    alive,
  };
}

/** The worlds after the first action of a side. */
function* perform(world: World, side: Side): Generator<[move: string, next: World]> {
  const at = world[side];
  const [action, ...rest] = at.actions as [string, ...string[]];
  const [kind, word] = action.split(" ") as [string, string];
  const left = set(world, side, { actions: rest });
  const fail = (from: World, costs: number): World => {
    const failed = { ...from, budget: from.budget - costs };
    return take(failed, side, failureOf(action as `send ${string}`)) ??
      set(failed, side, { actions: rest });
  };
  if (kind === "send") {
    const other = OTHER[side];
    if (!world.link) return yield [`${side} cannot ${action}`, fail(world, 0)];
    return yield [
      `${side}: ${action}`,
      set(left, other, { inbox: [...world[other].inbox, word] }),
    ];
  }
  if (kind === "journal") {
    const written = set(left, side, { journal: [...at.journal, word as Entry] });
    yield [`${side}: ${action}`, written];
    if (world.budget === 0) return;
    yield [`${side}: ${action} fails`, fail(world, 1)];
    // It failed, and is on the disk all the same.
    const there = set(world, side, { journal: [...at.journal, word as Entry] });
    return yield [`${side}: ${action} fails, yet stands`, fail(there, 1)];
  }
  const device = action === "run" ? "running" : "reset";
  const ran = side === "destination" ? device === "running" : world.ran;
  yield [`${side}: ${action}`, { ...set(left, side, { device }), ran }];
  if (world.budget === 0) return;
  const failed = { ...world, deviceFailed: true };
  yield [`${side}: ${action} fails`, fail(failed, 1)];
  // The driver said no, and the device works all the same.
  if (action === "run") {
    yield [`${side}: run fails, yet it runs`, fail({ ...set(failed, side, { device }), ran }, 1)];
  }
}

/** The worlds after a message has come to a side. */
function deliver(world: World, side: Side): [string, World] {
  const [message, ...inbox] = world[side].inbox as [string, ...string[]];
  const taken = set(world, side, { inbox });
  if (message !== "end") {
    const next = take(taken, side, message);
    // A message that has no place here would be a mistake of the peer.
    assert.ok(next !== null, `${side} gets "${message}" in ${world[side].state}`);
    return [`${side} gets "${message}"`, next];
  }
  return [`${side} has everything`, take(taken, side, "took-all") ?? taken];
}

/** Every world that can follow. */
function* moves(world: World): Generator<[move: string, next: World]> {
  for (const side of ["source", "destination"] as const) {
    const at = world[side];
    if (!at.alive) continue;
    if (at.actions.length > 0) {
      yield* perform(world, side);
    } else {
      if (at.state === "moving") {
        yield ["source: its device stops", {
          ...take(set(world, side, { device: "stopped" }), side, "stopped")!,
        }];
      }
      if (at.state === "starting") {
        yield ["destination: its device runs", take(world, side, "ran")!];
        continue;
      }
      if (world.link && ENDED.includes(at.state)) {
        // It closes the connection; what it sent before still comes.
        yield [`${side} ends`, set({ ...world, link: false }, side, { inbox: [] })];
      }
      if (at.inbox.length > 0) {
        yield deliver(world, side);
        const [first] = at.inbox;
        if (first === "end" && at.state === "receiving" && world.budget > 0) {
          const spent = {
            ...set(world, side, { inbox: at.inbox.slice(1) }),
            budget: world.budget - 1,
          };
          yield ["destination: its device refuses", take(spent, side, "failed")!];
        }
      } else if (!world.link && !at.noticed) {
        const noticed = set(world, side, { noticed: true });
        yield [
          `${side} notices that the connection is gone`,
          take(noticed, side, "cut") ?? noticed,
        ];
      }
      if (at.order !== null && at.state === "doubt") {
        const seen = set(world, side, { order: null });
        yield [`${side} is told to ${at.order}`, take(seen, side, `told-${at.order}`)!];
      }
      if (world.budget > 0) {
        const spent = { ...world, budget: world.budget - 1 };
        const next = take(spent, side, "give-up");
        if (next !== null && next[side].state !== at.state) yield [`${side} gives up`, next];
      }
    }
    if (world.budget > 0) {
      const spent = { ...world, budget: world.budget - 1, link: false };
      yield [
        `${side} is killed`,
        set(spent, side, { alive: false, device: "gone", actions: [], inbox: [] }),
      ];
    }
  }
  if (world.link && world.budget > 0) {
    // Of what is under way, any number of the first messages still comes.
    for (let one = 0; one <= world.source.inbox.length; one++) {
      for (let two = 0; two <= world.destination.inbox.length; two++) {
        let cut: World = { ...world, link: false, budget: world.budget - 1 };
        cut = set(cut, "source", { inbox: world.source.inbox.slice(0, one) });
        cut = set(cut, "destination", { inbox: world.destination.inbox.slice(0, two) });
        yield ["the connection breaks", cut];
      }
    }
  }
}

/** The worlds after somebody had the migration resolved. */
function* resolved(world: World, insistOnSource: boolean): Generator<[move: string, next: World]> {
  const verdict = resolve(view(world, "source"), view(world, "destination"), { insistOnSource });
  if (verdict.kind !== "decided") return;
  let next = world;
  for (const side of ["source", "destination"] as const) {
    const order = verdict[side];
    if (order !== null && next[side].order === null) {
      next = set(next, side, { order, journal: [...next[side].journal, order] });
    }
  }
  if (next !== world) yield ["it is resolved", next];
}

interface Explored {
  /** Every world, with the way to it. */
  readonly worlds: ReadonlyMap<string, { world: World; from: string | null; move: string }>;
  /** The worlds from which nothing goes on by itself. */
  readonly ends: readonly string[];
}

function explore(budget: number, resolving: boolean): Explored {
  const first = start(budget);
  const firstKey = JSON.stringify(first);
  const worlds = new Map([[firstKey, { world: first, from: null as string | null, move: "" }]]);
  const open = [firstKey];
  const ends: string[] = [];
  while (open.length > 0) {
    const key = open.pop()!;
    const { world } = worlds.get(key)!;
    let steps = 0;
    const follow = (move: string, next: World): void => {
      const nextKey = JSON.stringify(next);
      if (worlds.has(nextKey)) return;
      worlds.set(nextKey, { world: next, from: key, move });
      open.push(nextKey);
    };
    for (const [move, next] of moves(world)) {
      if (next.budget === world.budget) steps++;
      follow(move, next);
    }
    if (resolving) { for (const [move, next] of resolved(world, false)) follow(move, next); }
    if (steps === 0) ends.push(key);
  }
  return { worlds, ends };
}

/** The way to a world, for a message. */
function way({ worlds }: Explored, key: string): string {
  const steps: string[] = [];
  for (let at: string | null = key; at !== null;) {
    const { from, move }: { from: string | null; move: string } = worlds.get(at)!;
    if (from !== null) steps.unshift(move);
    at = from;
  }
  return `\n  ${steps.join("\n  ")}\n`;
}

/** Follows a world's own course, and resolves it whenever it has come to rest, to its end. */
function settle(world: World): [World, Resolution] {
  for (;;) {
    const quiet = [...moves({ ...world, budget: 0 })];
    if (quiet.length > 0) {
      world = { ...quiet[0]![1], budget: world.budget };
      continue;
    }
    // A destination that refused has nothing to wait for: its process ends.
    const { state, alive } = world.destination;
    if (alive && ["refused", "stuck"].includes(state)) {
      world = set(world, "destination", { alive: false });
    }
    const [next] = [...resolved(world, true)];
    if (next === undefined) {
      return [world, resolve(view(world, "source"), view(world, "destination"))];
    }
    world = next[1];
  }
}

const running = (world: World): Side[] =>
  (["source", "destination"] as const).filter((side) => world[side].device === "running");

/** How many things may go wrong, at any time. More than four show no new kinds of worlds. */
const BUDGET = 4;

describe("the commit protocol", () => {
  const all = explore(BUDGET, true);

  it("never has two running devices", () => {
    for (const [key, { world }] of all.worlds) {
      assert.ok(running(world).length < 2, way(all, key));
    }
  });

  it("never lets the source run once the destination's device has worked", () => {
    for (const [key, { world }] of all.worlds) {
      assert.ok(!(world.ran && world.source.device === "running"), way(all, key));
    }
  });

  it("comes to an end that each living side knows", () => {
    assert.ok(all.ends.length > 10);
    for (const key of all.ends) {
      const { world } = all.worlds.get(key)!;
      for (const side of ["source", "destination"] as const) {
        const { alive, state } = world[side];
        assert.ok(
          !alive || WAITING[side].includes(state),
          `${side} is in ${state}${way(all, key)}`,
        );
      }
    }
  });

  it("ends with one running device if nothing goes wrong", () => {
    const good = explore(0, false);
    assert.equal(good.ends.length, 1);
    const { world } = good.worlds.get(good.ends[0]!)!;
    assert.deepEqual(running(world), ["destination"]);
    assert.deepEqual([world.source.state, world.destination.state], ["done", "running"]);
  });

  it("loses no state silently: if neither device runs, a living side says so, or none lives", () => {
    for (const key of all.ends) {
      const { world } = all.worlds.get(key)!;
      const { source, destination } = world;
      if (running(world).length > 0 || (!source.alive && !destination.alive)) continue;
      const says = (source.alive && ["doubt", "lost"].includes(source.state)) ||
        (destination.alive && ["doubt", "stuck", "refused"].includes(destination.state)) ||
        // The destination ran, and was killed afterwards, as any process may be.
        (source.state === "done" && !destination.alive);
      assert.ok(says, way(all, key));
    }
  });

  it("is resolved to one running device while a side that has the state lives", () => {
    let doubts = 0;
    for (const key of all.ends) {
      const { world } = all.worlds.get(key)!;
      if (world.deviceFailed || running(world).length > 0) continue;
      const inDoubt = (["source", "destination"] as const).filter((side) =>
        world[side].alive && world[side].state === "doubt"
      );
      if (inDoubt.length === 0) continue;
      doubts++;
      const [settled, verdict] = settle(world);
      const text = `${verdict.kind}: ${verdict.why}${way(all, key)}`;
      // A living process whose doubt could not be written is passed over, until it ends.
      if (inDoubt.some((side) => !world[side].journal.includes("doubt"))) continue;
      if (world.ran) {
        // The destination's device worked, and its process was killed: the source's state is an old
        // one, and runs again only because the caller here insists if "running" was not written.
        const known = world.destination.journal.includes("running");
        assert.equal(settled.source.state, known ? "done" : "back", text);
      } else if (world.source.journal.includes("back")) {
        // The source's device ran on, and its process was killed later: this state is an old one.
        assert.equal(settled.destination.state, "refused", text);
      } else {
        assert.equal(running(settled).length, 1, text);
      }
    }
    assert.ok(doubts > 10);
  });

  it("is undecided for resolving only while a living process is at work", () => {
    for (const key of all.ends) {
      const { world } = all.worlds.get(key)!;
      const verdict = resolve(view(world, "source"), view(world, "destination"));
      if (verdict.kind !== "under-way") continue;
      assert.ok(world.source.alive || world.destination.alive, way(all, key));
    }
  });
});

describe("a lost message", () => {
  /** The ends when the connection breaks as this message is under way, with and without resolving. */
  function outcomes(message: string): string[] {
    const found = new Set<string>();
    const seen = new Set<string>();
    const open: [World, lost: boolean][] = [[start(0), false]];
    while (open.length > 0) {
      const [world, lost] = open.pop()!;
      const key = JSON.stringify([world, lost]);
      if (seen.has(key)) continue;
      seen.add(key);
      for (const side of ["source", "destination"] as const) {
        if (world.link && world[side].inbox.includes(message)) {
          const inbox = world[side].inbox.slice(0, world[side].inbox.indexOf(message));
          open.push([set({ ...world, link: false }, side, { inbox }), true]);
        }
      }
      const next = [...moves(world)].map(([, each]): [World, boolean] => [each, lost]);
      open.push(...next);
      if (next.length === 0 && lost) {
        const [settled] = settle(world);
        found.add(
          `${world.source.state} / ${world.destination.state} / ${running(settled).join("")}`,
        );
      }
    }
    return [...found].sort();
  }

  const documented = fs.readFileSync(
    join(import.meta.dirname!, "../../docs/live-migration.md"),
    "utf8",
  );

  for (const message of ["end", "loaded", "commit", "running"]) {
    it(`has the outcome that the documentation says: ${message}`, () => {
      const rows = [
        ...documented.matchAll(/^\| `([a-z]+)` +\| ([a-z]+) +\| ([a-z]+) +\| (.*?) +\|$/gm),
      ];
      const row = rows.find(([, name]) => name === message);
      assert.ok(row !== undefined, `there is no row of "${message}"`);
      assert.deepEqual(outcomes(message), [`${row[2]} / ${row[3]} / ${row[4]}`]);
    });
  }
});
