import { expect, it } from "vitest";
import { barOf, quantityRows, shareRows } from "./tables";

const row = {
  class: "cell", area_px: 1200, share: 0.12, share_error: 0.02, objects: 3, mean_diameter_px: 22.5, median_diameter_px: 21,
  area: null, mean_diameter: null, median_diameter: null, unit: null, volume_ml: null,
}; // prettier-ignore

it("gives pixels where there is no unit, and the error of the share", () => {
  const { head, rows, note } = shareRows([row]);
  expect(head).toContain("Size, px");
  expect(rows[0]!.map((cell) => cell.text.trim())).toEqual(["cell", "12.0 % ± 2.0 %", "1,200", "3", "22.5", "21"]);
  expect(note).toContain("root mean square error");
  const bar = barOf(rows[0]![1]!)!;
  expect(bar.high).toBeCloseTo(100);
  expect(bar.value).toBeCloseTo((100 * 0.12) / 0.14);
  expect(bar.low).toBeCloseTo((100 * 0.1) / 0.14);
});

it("prefers physical units", () => {
  const { head, rows } = shareRows([{ ...row, area: 75, mean_diameter: 5.6, median_diameter: 5.2, unit: "um", share_error: null }]);
  expect(head[2]).toBe("Area, µm²");
  expect(rows[0]!.map((cell) => cell.text)).toEqual(["cell", "12.0 %", "75", "3", "5.6", "5.2"]);
});

it("gives volumes in millilitres", () => {
  const { head, rows } = shareRows([{ ...row, unit: "mm", mean_diameter: 8, median_diameter: 8, volume_ml: 1.25 }]);
  expect(head[2]).toBe("Volume, ml");
  expect(rows[0]![2]!.text).toBe("1.25");
});

it("prints quantities with their interval, and a dash without", () => {
  const { rows } = quantityRows([
    { quantity: "surface_density", of: "nickel", value: 2.5, unit: "1/um", low: 2.1, high: 3, validation_error: 0.2 },
    { quantity: "asymmetry", of: "", value: null, unit: "1", low: null, high: null, validation_error: null },
  ]);
  expect(rows[0]!.map((cell) => cell.text.trim())).toEqual(["Surface density, nickel", "2.5 1/µm", "2.1 to 3", "0.2"]);
  expect(rows[1]!.map((cell) => cell.text.trim())).toEqual(["Asymmetry", "–", "–", "–"]);
  expect(barOf(rows[1]![2]!)).toBeNull();
});
