import { describe, expect, it } from "vitest";
import { bytes, duration, number, percent, unit, words } from "./format";

describe("numbers", () => {
  it.each([
    [0, "0"],
    [1234567, "1,234,567"],
    [0.031234, "0.0312"],
    [12.345, "12.3"],
    [-0.5, "-0.5"],
    [1e-9, "1.00e-9"],
    [Number.NaN, "–"],
  ])("%d is %s", (value, text) => expect(number(value)).toBe(text));

  it("prints shares, sizes and times", () => {
    expect(percent(0.1234)).toBe("12.3 %");
    expect([bytes(999), bytes(1500), bytes(2.5e6)]).toEqual(["999 B", "1.5 kB", "2.5 MB"]);
    expect([duration(8), duration(190), duration(7500)]).toEqual(["8 s", "3 min", "2 h 5 min"]);
  });

  it("prints units and names", () => {
    expect([unit("um^2"), unit("mm3"), unit("m2"), unit("ml"), unit(null)]).toEqual(["µm²", "mm³", "m²", "ml", ""]);
    expect(words("mean_diameter_px")).toBe("Mean diameter px");
  });
});
