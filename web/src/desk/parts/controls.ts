// The controls beside a viewer.

import { h, unique } from "../../common/dom";

/** A named slider with its value in words. */
export function slider(options: {
  label: string;
  value: number;
  min?: number;
  max?: number;
  step?: number;
  text: (value: number) => string;
  changed: (value: number) => void;
}): { element: HTMLElement; input: HTMLInputElement; set: (value: number) => void } {
  const id = unique("slider");
  const output = h("output", { for: id });
  const { min = 0, max = 1, step = 0.01 } = options;
  const input = h("input", { type: "range", id, min, max, step });
  const tell = () => {
    output.textContent = options.text(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    tell();
    options.changed(input.valueAsNumber);
  });
  const set = (value: number) => {
    input.value = String(value);
    tell();
  };
  set(options.value);
  return { element: h("div", { class: "slider" }, h("label", { for: id }, options.label), output, input), input, set };
}

/** One of a few, side by side. */
export function segments<T extends string>(
  label: string,
  choices: readonly (readonly [T, string])[],
  value: T,
  changed: (value: T) => void,
): { element: HTMLElement; set: (value: T) => void } {
  const name = unique("segments");
  const inputs = choices.map(([key]) =>
    h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => changed(key) }),
  );
  const element = h(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": label },
    choices.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text))),
  );
  return { element, set: (next) => inputs.forEach((input) => (input.checked = input.value === next)) };
}

export function check(label: string, on: boolean, changed: (on: boolean) => void): HTMLLabelElement {
  const input = h("input", { type: "checkbox", checked: on, onchange: () => changed(input.checked) });
  return h("label", { class: "choice" }, input, h("span", {}, label));
}

export function swatch(color: string): HTMLElement {
  const element = h("span", { class: "swatch", "aria-hidden": "true" });
  element.style.background = color;
  return element;
}

/** A class with its switch; `note` can be told what stands behind its name. */
export function classSwitch(
  name: string,
  color: string,
  on: boolean,
  changed: (on: boolean) => void,
): { element: HTMLElement; note: (text: string) => void; row: HTMLLabelElement } {
  const note = h("span", { class: "share" });
  const input = h("input", { type: "checkbox", checked: on, onchange: () => changed(input.checked) });
  const row = h("label", { class: "choice" }, input, swatch(color), h("span", {}, name), note);
  return { element: h("div", { class: "class" }, row), row, note: (text) => (note.textContent = text) };
}

export function tool(label: string, text: string, pressed: () => void): HTMLButtonElement {
  const extra = text.length > 1 ? " text" : "";
  return h("button", { type: "button", class: `square${extra}`, "aria-label": label, title: label, onclick: pressed }, text);
}

export function group(legend: string, ...children: (Node | null | false)[]): HTMLFieldSetElement {
  return h("fieldset", {}, h("legend", {}, legend), ...children);
}

/** What makes the answer doubtful. */
export function cautions(warnings: readonly string[] | undefined): HTMLElement | null {
  if (!warnings?.length) return null;
  const list = warnings.length === 1 ? h("p", {}, warnings[0]!) : h("ul", {}, ...warnings.map((one) => h("li", {}, one)));
  return h("div", { class: "caution", role: "note" }, list);
}
