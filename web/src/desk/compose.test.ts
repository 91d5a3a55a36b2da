import { describe, expect, it } from "vitest";
import { above, colour, level, outline, paint, pixel, tally, veil } from "./compose";

describe("thresholds", () => {
  it("counts p equal to the threshold as above it", () => {
    expect([...above(Uint8Array.of(127, 128, 129), 128 / 255, 3)]).toEqual([0, 3, 3]);
    expect(level(0.5)).toBe(128);
    expect([...above(Uint8Array.of(0, 255), 1, 1)]).toEqual([0, 1]);
    expect([...above(Uint8Array.of(0, 255), 0, 1)]).toEqual([1, 1]);
  });

  it("paints later regions over earlier ones", () => {
    const planes = [
      { plane: Uint8Array.of(200, 200, 0, 0), threshold: 0.5, value: 1, within: [] },
      { plane: Uint8Array.of(0, 200, 0, 200), threshold: 0.5, value: 2, within: [0] },
    ];
    expect([...paint(planes, () => true, 4)]).toEqual([1, 2, 0, 0]); // no part outside of its whole
    expect([...paint(planes, (at) => at === 1, 4)]).toEqual([0, 2, 0, 0]);
    expect([...paint(planes, (at) => at === 0, 4)]).toEqual([1, 1, 0, 0]);
  });
});

describe("colours", () => {
  it("gives red, green, blue and alpha in the order of a canvas", () => {
    const out = new Uint32Array(1);
    out[0] = pixel("#0a141e");
    expect([...new Uint8Array(out.buffer)]).toEqual([10, 20, 30, 255]);
  });

  it("leaves hidden and unknown classes clear", () => {
    const out = new Uint32Array(4);
    const layers = [
      { value: 1, color: "#ff0000", shown: true },
      { value: 2, color: "#00ff00", shown: false },
    ];
    colour(Uint8Array.of(0, 1, 2, 255), layers, out);
    expect([...out]).toEqual([0, pixel("#ff0000"), 0, 0]);
  });

  it("makes a veil as dense as the probability", () => {
    const out = new Uint32Array(2);
    veil(Uint8Array.of(0, 100), "#ffffff", out);
    expect([...new Uint8Array(out.buffer)].filter((_, i) => i % 4 === 3)).toEqual([0, 100]);
  });
});

it("keeps the border of an object only", () => {
  const mask = new Uint8Array(49);
  for (let y = 1; y < 6; y++) for (let x = 1; x < 6; x++) mask[y * 7 + x] = 1;
  const edge = outline(mask, 7, 7, 1);
  expect(edge[3 * 7 + 3]).toBe(0);
  expect(edge[7 + 1]).toBe(1);
  expect(tally(edge)[1]).toBe(16);
});
