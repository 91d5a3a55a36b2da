import { expect, it } from "vitest";
import { fullest, levelOf, limits, middleOf, rangeOf, sliceAt, widthOf } from "./window";

it("turns level and width into a range and back", () => {
  const range = rangeOf(40, 400);
  expect(range).toEqual({ low: -160, high: 240 });
  expect([levelOf(range), widthOf(range)]).toEqual([40, 400]);
});

it("never lets the width reach zero", () => {
  expect(limits({ low: 5, high: 5 }).width.low).toBeGreaterThan(0);
  expect(limits({ low: -1000, high: 1000 }).step).toBe(4);
});

it("finds the slice of a place and the place of a slice", () => {
  for (let slice = 0; slice < 7; slice++) expect(sliceAt(middleOf(slice, 7), 7)).toBe(slice);
  expect([sliceAt(0, 7), sliceAt(1, 7)]).toEqual([0, 6]);
});

it("finds the slices with the most in them", () => {
  const data = new Uint8Array(4 * 3 * 2);
  const at = (x: number, y: number, z: number) => x + 4 * (y + 3 * z);
  for (const i of [at(2, 1, 1), at(2, 2, 1), at(3, 1, 1), at(0, 0, 0)]) data[i] = 1;
  expect(fullest(data, [4, 3, 2])).toEqual([2, 1, 1]);
  expect(fullest(new Uint8Array(24), [4, 3, 2])).toBeNull();
});
