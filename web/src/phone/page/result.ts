// What is shown of a screened photo: in plain words first, then pictures, then numbers.

import type { Judged } from "../model/judge.ts";
import type { Told } from "../model/prepare.ts";
import { pathOf } from "../outline.ts";
import type { Finding } from "../talk.ts";
import { draw, make } from "./make.ts";
import { has, number, reasonText, say, sentence, stageName } from "./words.ts";

/** The result as an element; `picture` is the address of the photo. */
export function resultView(found: Finding, picture: string | null): HTMLElement {
  const { title, also, next, tone } = verdictOf(found);
  const lines = make("input", { type: "checkbox", checked: true, id: "lines" });
  const pictures = picturesOf(found, picture);
  lines.addEventListener("change", () => pictures?.classList.toggle("bare", !lines.checked));
  return make(
    "article",
    { class: "result" },
    make("h2", { class: `verdict ${tone}`, tabindex: -1, id: "verdict" }, title),
    found.stoppedAt !== "" &&
      make(
        "p",
        { class: "why" },
        make("strong", {}, `${sentence(say("result.stopped", { stage: stageName(found.stoppedAt) }))} `),
        sentence(reasonText(found.reasons)),
      ),
    ...also.map((text) => make("p", {}, text)),
    make("h3", {}, say("result.next")),
    ...next.map((text) => make("p", {}, text)),
    make("p", { class: "care" }, make("strong", {}, `${sentence(say("care.title"))} `), say("care.text")),
    ...found.answers.map(gauge),
    pictures,
    pictures && hasOutline(found) && make("label", { class: "switch", for: "lines" }, lines, say("result.lines")),
    warningsOf(found.warnings),
    factsOf(found),
  );
}

interface Verdict {
  /** What a result is called in a line. */
  readonly title: string;
  /** What else is to be known at once. */
  readonly also: readonly string[];
  readonly next: readonly string[];
  readonly tone: "none" | "plain" | "positive";
}

/** A result in plain words. */
export function verdictOf(found: Finding): Verdict {
  if (found.stoppedAt) return { title: say("result.none"), also: [], next: [say("next.again")], tone: "none" };
  const [first, ...others] = found.answers;
  if (!first) return { title: say("result.measured"), also: [], next: [say("result.measured.next")], tone: "plain" };
  const also = others.filter((one) => one.positive).map((one) => sentence(answerOf(one)));
  if (found.answers.some(({ likeness }) => likeness?.flagged)) also.push(say("result.guess"));
  const unsure = found.answers.some(({ interval, threshold }) => interval && interval[0] < threshold && interval[1] >= threshold);
  if (unsure) also.push(say("result.unsure"));
  return { title: answerOf(first), also, next: [say(first.positive ? "next.yes" : "next.no")], tone: first.positive ? "positive" : "plain" };
}

function answerOf(one: Judged): string {
  const sign = one.positive ? "yes" : "no";
  const own = `${one.stage}.${sign}`;
  const name = one.names[one.positive ? 1 : 0];
  return has(own) ? say(own) : say(`judge.${sign}`, { stage: stageName(one.stage), name });
}

/** A probability with its range on a line from 0 to 1. */
function gauge(one: Judged): HTMLElement {
  const { probability: value, threshold, interval } = one;
  const told = [say("probability", { value })];
  if (interval) told.push(say("probability.range", { low: interval[0], high: interval[1] }));
  told.push(say("probability.threshold", { threshold }));
  const line = (x1: number, x2: number, y1: number, y2: number, kind: string) =>
    draw("line", { x1: 100 * x1, x2: 100 * x2, y1, y2, class: kind });
  return make(
    "section",
    { class: "gauge" },
    make("h3", {}, `${stageName(one.stage)}: ${answerOf(one)}`),
    draw(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": say("probability.line", { value, threshold }) },
      line(0, 1, 5, 5, "axis"),
      interval && line(interval[0], interval[1], 5, 5, "band"),
      line(threshold, threshold, 0, 10, "threshold"),
      line(value, value, 1, 9, "value"),
    ),
    make("p", { class: "ends", "aria-hidden": "true" }, make("span", {}, number(0)), make("span", {}, number(1))),
    make("p", { class: "note" }, sentence(told.join(", "))),
  );
}

function hasOutline({ outlines }: Finding): boolean {
  return outlines.disc.length > 0;
}

/** The photo, and the disc enlarged, with outlines over them. */
function picturesOf(found: Finding, picture: string | null): HTMLElement | null {
  if (!picture || !found.height) return null;
  const whole = `0 0 ${found.width} ${found.height}`;
  const label = hasOutline(found) ? say("result.photo.lines") : say("result.photo");
  const views = [view(found, picture, whole, found.width / found.height, label)];
  const near = found.disc?.parts === 1 ? around(found) : null;
  if (near) views.push(view(found, picture, near.join(" "), near[2] / near[3], say("result.disc")));
  const swatch = (kind: string) => make("span", { class: `swatch ${kind}`, "aria-hidden": "true" });
  const key =
    hasOutline(found) &&
    make("p", { class: "key" }, swatch("disc"), say("result.key.disc"), swatch("cup"), say("result.key.cup"));
  return make("div", { class: "pictures" }, ...views, key);
}

function view(found: Finding, picture: string, box: string, ratio: number, label: string): HTMLElement {
  const { outlines, height, width } = found;
  return make(
    "figure",
    {},
    draw(
      "svg",
      { viewBox: box, role: "img", "aria-label": label, style: `aspect-ratio: ${ratio.toFixed(4)}` },
      draw("image", { href: picture, width, height, preserveAspectRatio: "none" }),
      draw("path", { d: pathOf(outlines.disc), class: "line disc" }),
      draw("path", { d: pathOf(outlines.cup), class: "line cup" }),
    ),
    make("figcaption", {}, label),
  );
}

/** The box around the disc with a third of its height as margin: left, top, width, height. */
function around({ outlines, height, width }: Finding): [number, number, number, number] {
  const xs = outlines.disc.flatMap((line) => line.filter((_, k) => k % 2 === 0));
  const ys = outlines.disc.flatMap((line) => line.filter((_, k) => k % 2 === 1));
  const [low, high] = [(values: number[]) => values.reduce((a, b) => Math.min(a, b)), (values: number[]) => values.reduce((a, b) => Math.max(a, b))];
  const margin = Math.max(8, (high(ys) - low(ys)) / 3);
  const [left, top] = [Math.max(0, low(xs) - margin), Math.max(0, low(ys) - margin)];
  return [left, top, Math.min(width, high(xs) + margin) - left, Math.min(height, high(ys) + margin) - top];
}

function warningsOf(warnings: readonly Told[]): HTMLElement | null {
  if (!warnings.length) return null;
  const lines = warnings.map(({ key, values }) => {
    const text = say(key, values);
    return make("li", {}, "stage" in values ? `${stageName(String(values.stage))}: ${text}` : sentence(text));
  });
  return make("section", {}, make("h3", {}, say("result.warnings")), make("ul", { class: "warnings" }, ...lines));
}

function factsOf(found: Finding): HTMLElement {
  const rows: (readonly [string, string])[] = [];
  const ranged = (value: number, low: number | null, high: number | null) =>
    low === null || high === null ? number(value) : say("fact.range", { value, low, high });
  if (found.vcdr) rows.push([say("fact.vcdr"), ranged(...found.vcdr)]);
  const { disc } = found;
  if (disc?.rim && !found.stoppedAt) {
    const { rim, thinnest, thinnestAt } = disc;
    rows.push([say("fact.cdr"), number(disc.ratioHorizontal ?? 0)]);
    const told = (["inferior", "superior", "nasal", "temporal"] as const).flatMap((side) => {
      const width = rim[side];
      return width === null ? [] : [say(`rim.${side}`, { value: width / (disc.height || 1) })];
    });
    rows.push([say("fact.rim"), told.join(", ")]);
    if (thinnest !== null && thinnestAt !== null) {
      const clock = Math.round(thinnestAt / 30) % 12 || 12;
      rows.push([say("fact.thinnest"), say("fact.thinnest.value", { value: thinnest, clock })]);
    }
    if (disc.isnt !== null) rows.push([say("fact.isnt"), say(disc.isnt ? "fact.isnt.yes" : "fact.isnt.no")]);
    rows.push([say("fact.eye"), say(`eye.${disc.eye ?? "unknown"}`)]);
  }
  if (found.quality) rows.push([say("fact.quality"), say(`verdict.${found.quality.verdict}`)]);
  rows.push([say("fact.seconds"), number(found.seconds, 1)], [say("fact.models"), found.models]);
  const list = rows.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]);
  return make("section", {}, make("h3", {}, say("result.facts")), make("dl", { class: "facts" }, ...list));
}
