// Measurements and quantities as tables, with the error to expect of each.

import type { Row } from "../../common/contract";
import { h } from "../../common/dom";
import { barOf, quantityRows, shareRows, type Cell } from "../tables";

const SVG = "http://www.w3.org/2000/svg";

/** A value on a line from 0 to its scale, with the range that it may lie in. */
function errorBar(cell: Cell): SVGElement | null {
  const bar = barOf(cell);
  if (!bar) return null;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "error-bar");
  svg.setAttribute("viewBox", "0 0 100 14");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = (x1: number, x2: number, y1: number, y2: number, stroke: string, width: number) => {
    const part = document.createElementNS(SVG, "line");
    for (const [name, value] of Object.entries({ x1, x2, y1, y2 })) part.setAttribute(name, String(value));
    part.setAttribute("vector-effect", "non-scaling-stroke");
    part.style.stroke = stroke;
    part.style.strokeWidth = String(width);
    svg.append(part);
  };
  line(0, 100, 7, 7, "var(--rule)", 1);
  line(0, bar.value, 7, 7, "var(--accent)", 5);
  line(bar.low, bar.high, 7, 7, "var(--ink)", 1.5);
  line(bar.low, bar.low, 3, 11, "var(--ink)", 1.5);
  line(bar.high, bar.high, 3, 11, "var(--ink)", 1.5);
  return svg;
}

function table(caption: string, head: string[], rows: Cell[][]): HTMLElement {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, head.map((one) => h("th", { scope: "col" }, one)))),
      h(
        "tbody",
        {},
        rows.map((cells) =>
          h(
            "tr",
            {},
            cells.map((cell, i) =>
              h(i ? "td" : "th", i ? {} : { scope: "row" }, cell.text, i ? (errorBar(cell) as unknown as Node) : null),
            ),
          ),
        ),
      ),
    ),
  );
}

/** The tables of a result; null where nothing was measured. */
export function measured(measurements: Row[] | undefined, quantities: Row[] | undefined): HTMLElement | null {
  const parts: Node[] = [];
  if (measurements?.length) {
    const { head, rows, note } = shareRows(measurements);
    parts.push(h("h2", {}, "Measurements"), table("Measurements", head, rows), h("p", { class: "note" }, note));
  }
  if (quantities?.length) {
    const { head, rows, note } = quantityRows(quantities);
    parts.push(h("h2", {}, "Quantities"), table("Quantities", head, rows), h("p", { class: "note" }, note));
  }
  return parts.length ? h("section", { class: "results" }, ...parts) : null;
}
