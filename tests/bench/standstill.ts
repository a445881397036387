/**
 * How long devices stand still while they are saved.
 */

import { timed } from "./_command.ts";
import { interleave } from "./_measure.ts";
import type { Row } from "./_row.ts";
import { type Runtime, script } from "./_runtime.ts";

const DEVICES = 8;
const MOST_RATIO = 1.15;

/** Eight devices whose driver takes its time, against one. */
export async function standstillRow(
  folder: string,
  runtime: Runtime,
  rounds: number,
): Promise<Row> {
  const milliseconds = async (devices: number): Promise<number> => {
    const words = script(runtime, "./_standstill.ts", String(devices), `${folder}/slow.vfk`);
    return (await timed(words)).seconds * 1000;
  };
  const pair = await interleave(rounds, {
    theirs: () => milliseconds(1),
    ours: () => milliseconds(DEVICES),
  });
  const ratio = pair.ours / pair.theirs;
  return {
    what: `${runtime.name}: ${DEVICES} slow devices stand still`,
    ...pair,
    yardstick: "one",
    unit: "ms",
    compared: ratio.toFixed(2),
    target: `≤ ${MOST_RATIO}`,
    met: ratio <= MOST_RATIO,
    note: null,
  };
}
