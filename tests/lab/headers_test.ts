import assert from "node:assert/strict";
import { it } from "node:test";
import { mendMakefile, realProgram } from "./headers.ts";

it("mendMakefile turns the folders of installed packages into those in the cache", () => {
  const text = "KBUILD_OUTPUT=/usr/src/linux-headers-7-amd64\ninclude /usr/src/x-common/Makefile\n";
  assert.equal(
    mendMakefile(text, "/cache/7"),
    "KBUILD_OUTPUT=/cache/7/usr/src/linux-headers-7-amd64\n" +
      "include /cache/7/usr/src/x-common/Makefile\n",
  );
});

it("realProgram is the program for amd64 if there are several, or the program itself", () => {
  const programs = ["k/modpost", "k/modpost.real-msb-64", "k/modpost.real-lsb-64", "k/fixdep"];
  assert.equal(realProgram("k/modpost", programs), "k/modpost.real-lsb-64");
  assert.equal(realProgram("k/fixdep", programs), "k/fixdep");
  assert.equal(realProgram("k/objtool", ["k/objtool", "k/objtool.real-x86"]), "k/objtool.real-x86");
});
