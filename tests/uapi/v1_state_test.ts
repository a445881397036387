import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { isError, setError, valid } from "../../src/uapi/v1_state.ts";

const register = fc.integer({ min: 0, max: 0xffff_ffff });

it("RESUMING with another bit is invalid; every other state is valid", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7].filter(valid), [0, 1, 2, 3, 4]);
});

it("only SAVING with RESUMING and without RUNNING is the error state", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7].filter(isError), [6]);
});

it("reserved bits don't matter to valid and isError", () => {
  fc.assert(fc.property(register, (state) => {
    assert.equal(valid(state), valid(state & 7));
    assert.equal(isError(state), isError(state & 7));
  }));
});

it("setError makes an error state that isn't valid, and preserves the reserved bits", () => {
  fc.assert(fc.property(register, (state) => {
    const error = setError(state);
    assert.ok(isError(error) && !valid(error));
    assert.equal(Math.floor(error / 8), Math.floor(state / 8));
  }));
});
