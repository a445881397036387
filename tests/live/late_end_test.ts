import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import { describe, it } from "node:test";
import { newHeader } from "../../src/checkpoint/metadata/header.ts";
import { FrameSender, type FrameSink } from "../../src/live/frame_sender.ts";
import { LiveCopy } from "../../src/live/live_copy.ts";
import { Lockstep, type Member } from "../../src/transfer/lockstep.ts";
import { MIB, openSim } from "./_pair.ts";

const MAPS = [{ iova: MIB, size: 16n * 4096n }];
const SINK: FrameSink = { send: () => Promise.resolve() };

/** Is ended when all memory of a round was sent. */
class EndedSender extends FrameSender {
  constructor(members: readonly Member[], readonly ending: AbortController) {
    const identities = members.map(({ device }) => device.description.identity!);
    super(SINK, members, newHeader(identities));
  }

  override async sendMemory(member: Member, signal: AbortSignal): Promise<void> {
    await super.sendMemory(member, signal);
    this.ending.abort(new Error("a signal"));
    // So late that the device may have been brought back.
    await setTimeout(20);
  }
}

describe("a live copy that ends between memory and device data", () => {
  it("leaves a running device, and says so without a hint to reset it", async () => {
    const { device, kernel } = await openSim("mlx5?size=64KiB", MAPS);
    await using _ = device;
    const ending = new AbortController();
    using lockstep = new Lockstep("migrate", [device], ending.signal);
    using sender = new EndedSender(lockstep.members, ending);
    const copy = new LiveCopy(lockstep, sender, {});
    lockstep.touch();
    await copy.begin();
    const error = await copy.round().then(() => assert.fail("it went on"), (error) => error);
    const failure = await lockstep.failure(error);
    assert.match(failure.message, /interrupted; the device is running/);
    assert.equal(failure.hint, null);
    await setTimeout(50);
    assert.equal((await device.state()).state, "running");
    assert.equal(kernel.devices[0]!.running, true);
  });
});
