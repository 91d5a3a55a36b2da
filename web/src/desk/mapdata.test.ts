import { expect, it } from "vitest";
import { buildingCounts, buildingRows, colourExpression } from "./mapdata";

it("colours buildings by grade, and greys what has none", () => {
  const expression = colourExpression([{ name: "destroyed", color: "#aa0000" }]);
  expect(expression).toEqual(["match", ["to-string", ["get", "damage"]], "destroyed", "#aa0000", "#969696"]);
  expect(colourExpression([])).toBe("#969696");
});

it("tells what is known of a building, and why it has no grade", () => {
  const graded = { grade: 2, damage: "minor damage", confidence: 0.834, area_m2: 123.4, seen: 1, known: 1, share_destroyed: 0, share_minor_damage: 0.9 };
  expect(buildingRows(graded)).toEqual([
    ["Damage", "minor damage"],
    ["Confidence", "83 %"],
    ["Area", "123 m²"],
    ["Seen as building", "100 %"],
    ["Minor damage", "90 %"],
  ]);
  expect(buildingRows({ damage: null, reason: "no data", confidence: null })).toEqual([
    ["Damage", "no grade"],
    ["Why", "no data"],
  ]);
});

it("counts buildings by grade, and says why some have none", () => {
  const summary = { rows: 9, buildings: { count: 12, grades: { "no-damage": 7, destroyed: 2 }, no_building: 3, no_data: 0 } };
  expect(buildingCounts(summary)).toEqual([
    ["no-damage", 7],
    ["destroyed", 2],
    ["No building seen", 3],
    ["All", 12],
  ]);
  expect(buildingCounts({ rows: 9 })).toEqual([]);
});
