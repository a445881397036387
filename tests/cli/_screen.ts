/** What a terminal shows of what was written to it. */

/** The lines that are on the screen in the end, and those that have left it at the top. */
export function screenLines(written: string): string[] {
  const lines: string[][] = [[]];
  let [row, column] = [0, 0];
  // deno-lint-ignore no-control-regex
  for (const [part, count, action] of written.matchAll(/\x1b\[\??(\d*)([A-Za-z])|[^]/gu)) {
    const line = lines[row]!;
    if (part === "\r") column = 0;
    else if (part === "\n") {
      row += 1;
      lines[row] ??= [];
    } else if (action === "A") row = Math.max(0, row - Number(count));
    else if (action === "K") line.length = Math.min(line.length, column);
    else if (action === "J") {
      line.length = Math.min(line.length, column);
      lines.length = row + 1;
    } else if (action === undefined) {
      while (line.length < column) line.push(" ");
      line[column++] = part;
    } else if (action !== "h" && action !== "l") {
      throw new Error(`What is ${JSON.stringify(part)}?`);
    }
  }
  return lines.map((line) => line.join("").trimEnd());
}
