/**
 * Reading apt's sources, to find the Debian mirror that a machine is set to use.
 *
 * @module
 */

/** One entry of sources.list, or one paragraph of a .sources file. */
export interface AptSource {
  /** The mirrors. */
  readonly uris: readonly string[];
  /** The suites. */
  readonly suites: readonly string[];
  /** The components. */
  readonly components: readonly string[];
  /** The keyring that signs it; null where apt's own keys do. */
  readonly signedBy: string | null;
}

/** The releases whose main archive serves as a mirror for any suite. */
const CODENAMES: readonly string[] = [
  ...["bullseye", "bookworm", "trixie", "forky", "duke", "sid"],
  ...["oldoldstable", "oldstable", "stable", "testing", "unstable"],
];

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

/** Reads the one-line format: `deb [options] uri suite component…`. */
export function parseSourcesList(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.replace(/#.*/, "").trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(.*)$/.exec(line);
    if (match === null) continue;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(match[1] ?? "")?.[1] ?? null;
    sources.push({
      uris: [match[2] ?? ""],
      suites: [match[3] ?? ""],
      components: words(match[4]),
      signedBy,
    });
  }
  return sources;
}

function parseParagraph(paragraph: string): Map<string, string> {
  const fields = new Map<string, string>();
  let name = "";
  for (const line of paragraph.split("\n")) {
    if (line.startsWith("#")) continue;
    const match = /^([A-Za-z-]+):(.*)$/.exec(line);
    if (match !== null) {
      name = (match[1] ?? "").toLowerCase();
      fields.set(name, (match[2] ?? "").trim());
    } else if (/^\s/.test(line) && name !== "") {
      fields.set(name, `${fields.get(name)}\n${line.trim()}`);
    }
  }
  return fields;
}

/** Reads the deb822 format of .sources files. */
export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const paragraph of text.split(/\n[ \t]*\n/)) {
    const fields = parseParagraph(paragraph);
    if (!words(fields.get("types")).includes("deb")) continue;
    if (/^(no|false|off|0)$/i.test(fields.get("enabled") ?? "")) continue;
    const signedBy = fields.get("signed-by") ?? "";
    sources.push({
      uris: words(fields.get("uris")),
      suites: words(fields.get("suites")),
      components: words(fields.get("components")),
      // A key may stand in the field itself; apt's own keys serve then.
      signedBy: signedBy.startsWith("/") ? signedBy : null,
    });
  }
  return sources;
}

/** The first source that is a Debian main archive; null where there is none. */
export function debianMirror(sources: readonly AptSource[]): AptSource | null {
  return sources.find((source) =>
    source.uris.length > 0 && source.components.includes("main") &&
    source.suites.some((suite) => CODENAMES.includes(suite.replace(/\/$/, "")))
  ) ?? null;
}

/** A sources.list line for a suite's main component on the same mirror. */
export function formatSource(mirror: AptSource, suite: string): string {
  const options = mirror.signedBy === null ? "" : `[signed-by=${mirror.signedBy}] `;
  return `deb ${options}${mirror.uris[0]} ${suite} main\n`;
}
