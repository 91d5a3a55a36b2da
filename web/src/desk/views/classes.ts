// The class of a whole image: each answer with its probability, the threshold, and where the model looked.

import type { Api } from "../../common/api";
import type { ClassesView } from "../../common/contract";
import { h } from "../../common/dom";
import { percent } from "../../common/format";
import { cautions } from "../parts/controls";
import type { Shown } from "./view";

/** A probability as a bar, with the threshold and the interval of the one that is decided by it. */
export function probabilityBars(
  answers: { name: string; probability: number }[],
  threshold: number | null,
  interval: [number, number] | null,
): HTMLElement {
  const decided = answers.length <= 2 ? answers.length - 1 : -1;
  const at = (element: HTMLElement, left: number, width?: number) => {
    element.style.left = `${100 * left}%`;
    if (width !== undefined) element.style.width = `${100 * width}%`;
    return element;
  };
  return h(
    "div",
    { class: "bars" },
    answers.map((one, i) => {
      const track = h("div", { class: "track", "aria-hidden": "true" }, at(h("i", {}), 0, one.probability));
      if (i === decided && interval) track.append(at(h("i", { class: "range" }), interval[0], interval[1] - interval[0]));
      if (i === decided && threshold !== null) track.append(at(h("i", { class: "mark" }), threshold));
      return [h("span", {}, one.name), track, h("span", {}, percent(one.probability))];
    }),
  );
}

/** What the marks on the bars mean. */
export function barsNote(name: string, threshold: number | null, interval: [number, number] | null): string {
  const told = [
    threshold !== null && `The line at ${percent(threshold)} is the threshold from which the answer is “${name}”.`,
    interval && `The bracket is the range of the calibrated probability: ${percent(interval[0])} to ${percent(interval[1])}.`,
  ];
  return told.filter(Boolean).join(" ");
}

export async function classesView(api: Api, view: ClassesView): Promise<Shown> {
  const urls: string[] = [];
  const shown = async (path: string, text: string) => {
    const url = URL.createObjectURL(await api.blob(path));
    urls.push(url);
    return h("figure", {}, h("img", { src: url, alt: text }), h("figcaption", { class: "note" }, text));
  };
  const pictures = await Promise.all([
    shown(view.image, "The image"),
    ...(view.looked ? [shown(view.looked, "Where the model looked: warm colours spoke for the answer (Grad-CAM)")] : []),
  ]);
  const { answers, threshold, interval } = view;
  const positive = answers[1];
  const note = answers.length === 2 && positive ? barsNote(positive.name, threshold, interval) : "";
  const element = h(
    "div",
    { class: "stack" },
    cautions(view.warnings),
    h("p", { class: "answer" }, view.decided),
    probabilityBars(answers, threshold, interval),
    note ? h("p", { class: "note" }, note) : null,
    h("div", { class: "pictures" }, ...pictures),
  );
  return { element, destroy: () => urls.forEach((one) => URL.revokeObjectURL(one)) };
}
