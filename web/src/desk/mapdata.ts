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
  if (typeof known === "number" && known < 1) rows.push(["With data", percent(known, 0)]);
  for (const [name, value] of Object.entries(rest)) {
    if (name.startsWith("share_") && typeof value === "number" && value > 0) rows.push([words(name.slice(6)), percent(value, 0)]);
  }
  return rows;
}

/** The numbers and words of a summary, nested ones with the name of what they belong to. */
export function numbersOf(summary: Record<string, unknown>, before = ""): [string, string | number][] {
  return Object.entries(summary ?? {}).flatMap(([name, value]): [string, string | number][] => {
    const full = before ? `${before}, ${name}` : name;
    if (typeof value === "number" || typeof value === "string") return value === "" ? [] : [[full, value]];
    if (value && typeof value === "object" && !Array.isArray(value)) return numbersOf(value as Record<string, unknown>, full);
    return [];
  });
}

