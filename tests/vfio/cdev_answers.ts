/**
 * Asks a kernel every call on a device's own character device and on /dev/iommu
 * of which the answer is known, as type1_answers.ts does those of type1:
 *
 *     cdev_answers.ts DEVICE [--hardware] [--dma FILE]
 *
 * Exit code 0: all as expected; 1: not.
 *
 * @module
 */

import { askedDevice, printRows } from "../dirty/_answers.ts";
import { askCases } from "../dirty/type1_cases/case.ts";
import { CDEV_CASES, CdevAsker } from "./cdev_cases/mod.ts";

const { sysfs, ...host } = askedDevice("6.12");
if (sysfs.cdev === null) throw new TypeError(`Cannot ask about ${sysfs.name}: it has no node`);
for (const group of CDEV_CASES) {
  using asker = new CdevAsker({ ...host, node: sysfs.cdev });
  printRows(askCases(group, host, asker));
}
