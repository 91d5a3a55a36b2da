// A photo through the stages of a screening: the answer, what each stage said, the contours, the sheet.

import type { Api } from "../../common/api";
import type { Row, ScreeningView } from "../../common/contract";
import { h } from "../../common/dom";
import { number, words } from "../../common/format";
import { cautions } from "../parts/controls";
import { barsNote, probabilityBars } from "./classes";
import type { Shown } from "./view";

/** The judges of a row: a column of the stage's name stands beside its probability. */
export function judges(row: Row): { stage: string; answer: string; p: number; interval: [number, number] | null; threshold: number | null }[] {
  return Object.keys(row).flatMap((key) => {
    const stage = /^p\((.+)\)$/.exec(key)?.[1];
    const p = row[key];
    if (stage === undefined || typeof p !== "number") return [];
    const low = row[`${key}_low`];
    const high = row[`${key}_high`];
    const threshold = row[`${stage}_threshold`];
    const interval: [number, number] | null = typeof low === "number" && typeof high === "number" ? [low, high] : null;
    return [{ stage, answer: String(row[stage] ?? ""), p, interval, threshold: typeof threshold === "number" ? threshold : null }];
  });
}

function facts(row: Row): HTMLElement {
  const rows: [string, string][] = [];
  const { vcdr, vcdr_low: low, vcdr_high: high } = row;
  if (typeof vcdr === "number") {
    const range = typeof low === "number" && typeof high === "number" ? ` (95 % interval ${number(low, 2)} to ${number(high, 2)})` : "";
    rows.push(["Vertical cup-to-disc ratio", `${number(vcdr, 2)}${range}`]);
  }
  for (const key of ["quality", "eye", "stopped_at", "reason"]) if (row[key]) rows.push([words(key), String(row[key])]);
  return h("dl", { class: "facts" }, ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

export async function screeningView(api: Api, view: ScreeningView): Promise<Shown> {
  const urls: string[] = [];
  const load = async (path: string) => {
    const url = URL.createObjectURL(await api.blob(path));
    urls.push(url);
    return url;
  };
  // the server gives no page that a browser would run; in the frame it runs nothing either
  const page = async (path: string) => {
    const url = URL.createObjectURL(new Blob([await api.blob(path)], { type: "text/html" }));
    urls.push(url);
    return url;
  };
  const figure = async (path: string, text: string) =>
    h("figure", {}, h("img", { src: await load(path), alt: text }), h("figcaption", { class: "note" }, text));
  const pictures = await Promise.all([
    ...(view.photo ? [figure(view.photo, "The photo")] : []),
    ...(view.contours ? [figure(view.contours, "Optic disc and cup as the model sees them")] : []),
  ]);
  const { row } = view;
  const found = judges(row).map((one) => {
    const answers = [{ name: one.stage, probability: one.p }];
    return h(
      "section",
      { class: "stack" },
      h("h3", {}, words(one.stage)),
      probabilityBars(answers, one.threshold, one.interval),
      h("p", { class: "note" }, barsNote(one.stage, one.threshold, one.interval)),
    );
  });
  const stages = view.stages.map((one) => h("li", {}, h("b", {}, words(one.name)), h("span", { class: "note" }, one.state)));
  const sheet = view.sheet;
  const holder = h("div", {});
  const open = sheet
    ? h("details", {
        ontoggle: async () => {
          if (holder.firstChild) return;
          holder.append(h("iframe", { class: "sheet", title: "Result sheet", sandbox: "", src: await page(sheet) }));
        },
      }, h("summary", {}, "Result sheet, to read or print"), holder)
    : null; // prettier-ignore
  const element = h(
    "div",
    { class: "stack" },
    cautions(view.warnings),
    h("p", { class: "answer" }, String(row.result ?? "no answer")),
    h("p", { class: "note" }, "A screening is no diagnosis: a person who is qualified has to look."),
    facts(row),
    ...found,
    h("div", { class: "pictures" }, ...pictures),
    h("section", { class: "stack" }, h("h3", {}, "Stages"), h("ol", { class: "stages" }, ...stages)),
    open,
  );
  return { element, destroy: () => urls.forEach((one) => URL.revokeObjectURL(one)) };
}
