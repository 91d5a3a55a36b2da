// Results as a table: the columns and the words of `catenary screen`'s screening.csv.

import type { Told } from "../model/prepare.ts";
import type { Finding } from "../talk.ts";
import { general, sayPlain } from "./words.ts";

/** One row a photo; what every screening can say. */
const COLUMNS = [
  "photo", "result", "stopped_at", "reason", "quality", "vcdr", "vcdr_low", "vcdr_high", "eye", "warnings", "seconds",
]; // prettier-ignore

type Row = Record<string, string | number | null>;

/** The table's row of one photo. */
export function rowOf(found: Finding): Row {
  const [value, low, high] = found.vcdr ?? [null, null, null];
  const row: Row = {
    photo: found.name,
    result: resultOf(found),
    stopped_at: found.stoppedAt,
    reason: found.reasons.map(({ key, values }) => sayPlain(key, values)).join("; "),
    quality: found.quality?.verdict ?? null,
    vcdr: value,
    vcdr_low: low,
    vcdr_high: high,
    eye: found.disc?.eye ?? null,
    warnings: found.warnings.map((one) => warningOf(one, found.name)).join("; "),
    seconds: Math.round(found.seconds * 1000) / 1000,
  };
  for (const one of found.answers) {
    row[one.stage] = one.names[one.positive ? 1 : 0];
    row[`p(${one.stage})`] = one.probability;
    row[`p(${one.stage})_low`] = one.interval?.[0] ?? null;
    row[`p(${one.stage})_high`] = one.interval?.[1] ?? null;
    row[`${one.stage}_threshold`] = one.threshold;
  }
  return row;
}

function resultOf(found: Finding): string {
  if (found.stoppedAt) return "no answer";
  if (!found.answers.length) return "disc measured";
  return found.answers.map((one) => one.names[one.positive ? 1 : 0]).join(", ");
}

function warningOf({ key, values }: Told, photo: string): string {
  const text = sayPlain(key, values);
  const placed = key.startsWith("doubt.") ? `${photo}: ${text}` : text;
  return "stage" in values ? `${values.stage}: ${placed}` : placed;
}

/** All results as a CSV file. */
export function csvOf(all: readonly Finding[]): string {
  const rows = all.map(rowOf);
  const columns = [...new Set([...COLUMNS, ...rows.flatMap((row) => Object.keys(row))])];
  const lines = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))];
  return lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}

function cell(value: string | number | null | undefined): string {
  return typeof value === "number" ? general(value, 4) : (value ?? "");
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
