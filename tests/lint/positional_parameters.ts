/**
 * A rule for `deno lint`: how many positional parameters a function may have. A call with more is
 * hard to read: values that belong together go into an object, whose keys say what they are; those
 * that stay the same are bound once, by a class or a closure.
 *
 * @module
 */

/** More than these want names. */
export const MOST_PARAMETERS = 4;

/** Files with functions that have more, and why. */
export const EXCEPTIONS: Readonly<Record<string, string>> = {
  "src/kernel/libc/symbols.ts": "libc's own functions",
  "src/kernel/libc/calls_with_errno.ts": "libc's own functions",
  "src/kernel/libc/load_in_deno.ts": "libc's own functions",
  "src/sim/state/pages.ts": "called for each page: an object would be allocated for each",
  "src/trace/_access_place.ts": "called for each traced read and write",
  "src/trace/event.ts": "called for each traced read and write",
  "src/trace/file/trace_file.ts": "called for each traced read and write",
  "src/trace/trace_kernel.ts": "called for each traced read and write",
};

/** The folder of the project. */
const ROOT = decodeURI(new URL("../../", import.meta.url).pathname);
const HELD = /^(?:src|cli)\/|^mod\.ts$/;

const plugin: Deno.lint.Plugin = {
  name: "vfiokit",
  rules: {
    "positional-parameters": {
      create(context): Deno.lint.LintVisitor {
        const file = context.filename.startsWith(ROOT) ? context.filename.slice(ROOT.length) : "";
        if (!HELD.test(file) || Object.hasOwn(EXCEPTIONS, file)) return {};
        const check = (node: Deno.lint.Node & { readonly params: readonly unknown[] }): void => {
          if (node.params.length <= MOST_PARAMETERS) return;
          context.report({
            node,
            message: `${node.params.length} positional parameters are hard to read in a call`,
            hint: `Have at most ${MOST_PARAMETERS}: put what belongs together into an object`,
          });
        };
        return {
          ArrowFunctionExpression: check,
          FunctionDeclaration: check,
          FunctionExpression: check,
          TSDeclareFunction: check,
          TSEmptyBodyFunctionExpression: check,
          TSFunctionType: check,
          TSMethodSignature: check,
        };
      },
    },
  },
};

export default plugin;
