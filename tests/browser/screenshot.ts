/** Makes docs/dirty-report.png: deno run -A tests/browser/screenshot.ts */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectFile } from "../cli/_cli.ts";
import { Page } from "./_chromium.ts";
import { writeReport } from "./_report_file.ts";

const folder = mkdtempSync(join(tmpdir(), "vfiokit-report-"));
try {
  const file = join(folder, "report.html");
  writeReport(file);
  await using page = await Page.open(file, { width: 1000, height: 900, scheme: "light" });
  writeFileSync(projectFile("docs/dirty-report.png"), await page.screenshot());
} finally {
  rmSync(folder, { recursive: true });
}
