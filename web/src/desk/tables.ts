// Rows of the server as cells with units and errors. Pure.

import type { Row } from "../common/contract";
import { count, number, percent, unit, words } from "../common/format";

export interface Cell {
  text: string;
  /** What an error bar needs: the value, its range, and the end of the line. */
  bar?: { value: number; low: number; high: number; end: number };
}

export interface Table {
  head: string[];
  rows: Cell[][];
  note: string;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

function plain(value: unknown): string {
  if (isNumber(value)) return Number.isInteger(value) ? count(value) : number(value);
  if (value === null || value === undefined || value === "") return "–";
  return String(value);
}

/** One row a class: share with its error, area or volume in a physical unit where there is one, objects. */
export function shareRows(rows: Row[]): Table {
  const volume = rows.some((row) => isNumber(row.volume_ml));
  const area = rows.some((row) => isNumber(row.area));
  const physical = rows.some((row) => isNumber(row.mean_diameter));
  const name = unit(String(rows.find((row) => row.unit)?.unit ?? ""));
  const long = physical ? name : "px";
  const flawed = rows.some((row) => isNumber(row.share_error));
  const head = ["", "Share", volume ? "Volume, ml" : area ? `Area, ${name}²` : "Size, px", "Objects", `Mean diameter, ${long}`, `Median diameter, ${long}`];
  const largest = Math.max(0.01, ...rows.map((row) => (Number(row.share) || 0) + (Number(row.share_error) || 0)));
  const cells = rows.map((row): Cell[] => {
    const share = Number(row.share);
    const error = row.share_error;
    const size = volume ? row.volume_ml : area ? row.area : row.area_px;
    return [
      { text: plain(row.class) },
      isNumber(error)
        ? {
            text: `${percent(share)} ± ${percent(error)} `,
            bar: { value: share, low: Math.max(0, share - error), high: Math.min(1, share + error), end: largest },
          }
        : { text: percent(share) },
      { text: plain(size) },
      { text: plain(row.objects) },
      { text: plain(physical ? row.mean_diameter : row.mean_diameter_px) },
      { text: plain(physical ? row.median_diameter : row.median_diameter_px) },
    ];
  });
  const note = [
    "Share: part of what is known of the image.",
    flawed ? "±: root mean square error of the share on validation images." : "",
    "Diameter: of a " + (volume ? "ball" : "circle") + " as large as the object.",
  ];
  return { head, rows: cells, note: note.filter(Boolean).join(" ") };
}

/** One row a published quantity: value, 95 % interval, typical error. */
export function quantityRows(rows: Row[]): Table {
  const cells = rows.map((row): Cell[] => {
    const { value, low, high } = row;
    const ranged = isNumber(value) && isNumber(low) && isNumber(high);
    const name = [words(String(row.quantity ?? "")), row.of].filter(Boolean).join(", ");
    return [
      { text: name },
      { text: `${plain(value)} ${unit(row.unit === "1" ? "" : String(row.unit ?? ""))}`.trim() },
      ranged
        ? { text: `${number(low)} to ${number(high)} `, bar: { value, low, high, end: Math.max(value, high) * 1.05 } }
        : { text: "–" },
      { text: plain(row.validation_error) },
    ];
  });
  const note = "95 % interval and root mean square error: from the model's errors on validation cases; – where there were too few.";
  return { head: ["", "Value", "95 % interval", "Typical error"], rows: cells, note };
}

/** Places of an error bar on a line from 0 to 100; null where it would say nothing. */
export function barOf(cell: Cell): { value: number; low: number; high: number } | null {
  const { bar } = cell;
  if (!bar || !(bar.end > 0) || bar.low < 0) return null;
  const place = (x: number) => Math.min(100, Math.max(0, (100 * x) / bar.end));
  return { value: place(bar.value), low: place(bar.low), high: place(bar.high) };
}
