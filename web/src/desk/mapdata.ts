// Buildings and numbers of a damage map. Pure.

import type { ExpressionSpecification } from "maplibre-gl";
import { number, percent, words } from "../common/format";

/** Of buildings without a grade. */
const NONE = "#969696";

/** The colour of a building by the name of its damage. */
export function colourExpression(targets: { name: string; color: string }[]): ExpressionSpecification | string {
  if (!targets.length) return NONE;
  const pairs = targets.flatMap((one) => [one.name, one.color]);
  return ["match", ["to-string", ["get", "damage"]], ...pairs, NONE] as unknown as ExpressionSpecification;
}

/** What a click on a building tells: its grade, how sure, its size, the shares of all grades. */
export function buildingRows(properties: Record<string, unknown>): [string, string][] {
  const { damage, reason, confidence, area_m2: area, seen, known, ...rest } = properties;
  const rows: [string, string][] = [["Damage", typeof damage === "string" ? damage : "no grade"]];
  if (typeof reason === "string" && reason) rows.push(["Why", reason]);
  if (typeof confidence === "number") rows.push(["Confidence", percent(confidence, 0)]);
  if (typeof area === "number") rows.push(["Area", `${number(area)} m²`]);
  if (typeof seen === "number") rows.push(["Seen as building", percent(seen, 0)]);
  if (typeof known === "number" && known < 0.995) rows.push(["With data", percent(known, 0)]);
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("share_") && typeof value === "number" && value > 0) rows.push([words(name.slice(6)), percent(value, 0)]);
  }
  return rows;
}

interface Buildings {
  count?: number;
  grades?: Record<string, number>;
  no_building?: number;
  no_data?: number;
  no_outline?: number;
}

function buildingsOf(summary: Record<string, unknown>): Buildings {
  const found = summary?.buildings;
  return found && typeof found === "object" ? found : {};
}

/** Number of buildings of each grade. */
export function gradesOf(summary: Record<string, unknown>): Record<string, number> {
  return buildingsOf(summary).grades ?? {};
}

/** Grades with their numbers, then outlines without a grade and why, then all. */
export function buildingCounts(summary: Record<string, unknown>): [string, number][] {
  const { count: all, no_building: none, no_data: unknown, no_outline: bare } = buildingsOf(summary);
  if (!all) return [];
  const rows: [string, number][] = Object.entries(gradesOf(summary));
  if (none) rows.push(["No building seen", none]);
  if (unknown) rows.push(["No data there", unknown]);
  if (bare) rows.push(["No outline", bare]);
  rows.push(["All", all]);
  return rows;
}
