// A vertical edge that is dragged over a picture; what lies left and right of it is the caller's.

import { h } from "../../common/dom";

export interface Swipe {
  element: HTMLElement;
  /** Share of the width that lies left of the edge. */
  share(): number;
  show(on: boolean): void;
}

/** `left` and `right` name the sides; `moved` is called with each new share. */
export function swipe(left: string, right: string, moved: (share: number) => void): Swipe {
  let share = 0.5;
  const grip = h(
    "button",
    {
      class: "grip", type: "button", role: "slider", "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-label": `Edge between ${left} and ${right}`,
    },
    "⇔",
  ); // prettier-ignore
  const edge = h(
    "div",
    { class: "edge" },
    h("span", { class: "side-name left" }, left),
    h("span", { class: "side-name right" }, right),
    grip,
  );
  const element = h("div", { class: "swipe", hidden: true }, edge);

  function put(): void {
    edge.style.left = `${100 * share}%`;
    grip.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  }
  function set(value: number): void {
    share = Math.min(1, Math.max(0, value));
    put();
    moved(share);
  }
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  grip.addEventListener("pointermove", (event) => {
    if (!grip.hasPointerCapture(event.pointerId)) return;
    const box = element.getBoundingClientRect();
    set((event.clientX - box.left) / box.width);
  });
  const steps: Record<string, () => number> = {
    ArrowLeft: () => share - 0.02,
    ArrowDown: () => share - 0.02,
    ArrowRight: () => share + 0.02,
    ArrowUp: () => share + 0.02,
    PageDown: () => share - 0.1,
    PageUp: () => share + 0.1,
    Home: () => 0,
    End: () => 1,
  };
  grip.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set(step());
  });
  put();
  return {
    element,
    share: () => share,
    show: (on) => {
      element.hidden = !on;
    },
  };
}
