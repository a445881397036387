/** Whether a page fits the width of a screen. */

import assert from "node:assert/strict";
import type { Page, View } from "./_chromium.ts";

/** The widths of a phone, a tablet and a desk, in pixels. */
export const WIDTHS = [360, 800, 1400];

/** Everything of the page that is wider than the screen: the document, or what is in it. */
const TOO_WIDE = `[...new Set([document.documentElement, document.body,
  ...document.querySelectorAll("section, figure, .chart, article")])]
  .filter((it) => it.scrollWidth > it.clientWidth)
  .map((it) => it.tagName + " " + it.id + ": " + it.scrollWidth + " in " + it.clientWidth)`;

/** Fails if a page that is open needs scrolling sideways at one of the widths. */
export async function assertFits(page: Page, scheme: View["scheme"]): Promise<void> {
  for (const width of WIDTHS) {
    await page.look({ width, height: 900, scheme, mobile: width === 360 });
    assert.deepEqual(await page.evaluate<string[]>(TOO_WIDE), [], `${width} pixels`);
    const [seen, colours] = await page.evaluate<[number, string[]]>(
      "[innerWidth, [getComputedStyle(document.body).color, " +
        "getComputedStyle(document.body).backgroundColor]]",
    );
    // A page that is too wide for a phone is zoomed out: it is wider than the screen then.
    assert.equal(seen, width);
    assert.notEqual(colours[0], colours[1]);
  }
}
