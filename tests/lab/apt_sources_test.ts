import assert from "node:assert/strict";
import { it } from "node:test";
import { debianMirror, formatSource, parseDeb822Sources, parseSourcesList } from "./apt_sources.ts";

it("parseSourcesList reads deb lines with options and comments, and nothing else", () => {
  const text = [
    "# deb http://old.example/debian buster main",
    "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib # ours",
    "deb-src http://mirror.example/debian bookworm main",
    "",
    "deb http://mirror.example/security bookworm-security main",
  ].join("\n");
  assert.deepEqual(parseSourcesList(text), [
    {
      uris: ["http://mirror.example/debian"],
      suites: ["bookworm"],
      components: ["main", "contrib"],
      signedBy: "/usr/share/keyrings/a.gpg",
    },
    {
      uris: ["http://mirror.example/security"],
      suites: ["bookworm-security"],
      components: ["main"],
      signedBy: null,
    },
  ]);
});

it("parseDeb822Sources reads paragraphs, continued lines, and leaves out what is disabled", () => {
  const text = [
    "Types: deb deb-src",
    "# a comment",
    "URIs: http://a.example/debian",
    " http://b.example/debian",
    "Suites: trixie trixie-updates",
    "Components: main",
    "Signed-By: /usr/share/keyrings/a.gpg",
    "",
    "Enabled: no",
    "Types: deb",
    "URIs: http://c.example/debian",
    "Suites: sid",
    "Components: main",
    "",
    "Types: deb",
    "URIs: http://d.example/debian",
    "Suites: sid",
    "Components: main",
    "Signed-By:",
    " -----BEGIN PGP PUBLIC KEY BLOCK-----",
  ].join("\n");
  assert.deepEqual(parseDeb822Sources(text), [
    {
      uris: ["http://a.example/debian", "http://b.example/debian"],
      suites: ["trixie", "trixie-updates"],
      components: ["main"],
      signedBy: "/usr/share/keyrings/a.gpg",
    },
    {
      uris: ["http://d.example/debian"],
      suites: ["sid"],
      components: ["main"],
      signedBy: null,
    },
  ]);
});

it("debianMirror passes over archives of security updates and of others", () => {
  const sources = parseSourcesList([
    "deb http://others.example/apt bookworm stable",
    "deb http://mirror.example/security bookworm-security main",
    "deb http://mirror.example/debian bookworm main",
  ].join("\n"));
  const mirror = debianMirror(sources);
  assert.equal(mirror?.uris[0], "http://mirror.example/debian");
  assert.equal(debianMirror(sources.slice(0, 2)), null);
});

it("formatSource asks the same mirror, with the same key, for another suite", () => {
  const [signed, unsigned] = parseSourcesList(
    "deb [signed-by=/a.gpg] http://m.example bookworm main\ndeb http://m.example bookworm main",
  );
  assert.equal(
    formatSource(signed!, "trixie"),
    "deb [signed-by=/a.gpg] http://m.example trixie main\n",
  );
  assert.equal(formatSource(unsigned!, "trixie"), "deb http://m.example trixie main\n");
});
