// Where files come in: dropped or picked, one or several, pairs in two slots.

import type { ModelInfo } from "../common/contract";
import { fill, h } from "../common/dom";
import { group, type CaseOf, type Slots } from "./pairing";
import { endings } from "./words";

const EMPTY: Slots<File> = { pre: null, post: null, footprints: null };
const SLOTS = [
  ["pre", "Before"],
  ["post", "After"],
  ["footprints", "Buildings (optional)"],
] as const;

/** Files dropped on an element, folders included. */
function droppable(element: HTMLElement, dropped: (files: File[]) => void): void {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    element.classList.remove("over");
    void filesOf(event.dataTransfer).then(dropped);
  });
}

async function filesOf(data: DataTransfer | null): Promise<File[]> {
  if (!data) return [];
  const entries = [...data.items].map((item) => item.webkitGetAsEntry());
  if (entries.every((one) => one === null || one.isFile)) return [...data.files];
  const nested = await Promise.all(entries.map((one) => (one ? within(one) : [])));
  return nested.flat();
}

/** The files below a folder, in the order of their names. */
async function within(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await new Promise<File>((found, failed) => (entry as FileSystemFileEntry).file(found, failed))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((found, failed) => reader.readEntries(found, failed));
    if (!some.length) break;
    all.push(...some);
  }
  all.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return (await Promise.all(all.filter((one) => !one.name.startsWith(".")).map(within))).flat();
}

export class Inputs {
  readonly element = h("div", { class: "stack" });
  #model: ModelInfo | null = null;
  #slots: Slots<File> = { ...EMPTY };

  constructor(readonly started: (one: CaseOf<File>) => void) {
    // a file dropped beside the marked place counts, too, and never leaves the page
    droppable(document.body, (files) => this.#take(files));
  }

  show(model: ModelInfo): void {
    this.#model = model;
    this.#slots = { ...EMPTY };
    this.#draw();
  }

  #take(files: File[]): void {
    if (!this.#model || !files.length) return;
    const { cases, slots } = group(files, this.#model, this.#slots);
    this.#slots = slots;
    this.#draw();
    cases.forEach((one) => this.started(one));
  }

  #pick(label: string, several: boolean, taken: (files: File[]) => void, main = false): [HTMLInputElement, HTMLButtonElement] {
    const input = h("input", { type: "file", multiple: several, hidden: true, accept: this.#model ? endings(this.#model) : "", "aria-label": label });
    input.addEventListener("change", () => {
      taken([...(input.files ?? [])]);
      input.value = "";
    });
    return [input, h("button", { type: "button", class: main ? "primary" : "", onclick: () => input.click() }, label)];
  }

  #draw(): void {
    const model = this.#model;
    if (!model) return;
    const pair = model.dates === 2;
    const noun = pair ? "both images" : model.rank === 3 ? "volumes" : "images";
    const [input, button] = this.#pick(pair ? "Choose files" : `Choose ${noun}`, true, (files) => this.#take(files), true);
    input.id = "files";
    const hint = pair
      ? "Names with pre and post, or before and after, find their place by themselves."
      : model.rank === 3
        ? "A folder or all files of a DICOM series are one case."
        : "Several files wait in line.";
    const drop = h("div", { class: "drop" }, h("p", {}, `Drop ${noun} here, or`), button, input, h("p", { class: "note" }, hint));
    droppable(drop, (files) => this.#take(files));
    fill(this.element, drop, pair ? this.#pair() : null);
  }

  #pair(): HTMLElement {
    const slots = SLOTS.map(([key, name]) => {
      const file = this.#slots[key];
      const set = (files: File[]) => {
        this.#slots[key] = files[0] ?? null;
        this.#draw();
      };
      const [input, button] = this.#pick(file ? "Change" : "Choose", false, set);
      button.setAttribute("aria-label", `${file ? "Change" : "Choose"} ${name}`);
      input.dataset.slot = key;
      const slot = h("div", { class: "slot" }, h("b", {}, name), h("span", { class: "file", title: file?.name }, file?.name ?? "none yet"), button, input);
      droppable(slot, set);
      return slot;
    });
    const { pre, post, footprints } = this.#slots;
    const start = () => {
      if (!pre || !post) return;
      this.#slots = { ...EMPTY };
      this.#draw();
      this.started({ image: [pre], post, footprints });
    };
    const swap = () => {
      this.#slots = { ...this.#slots, pre: post, post: pre };
      this.#draw();
    };
    const ready = Boolean(pre && post);
    return h(
      "div",
      { class: "slots" },
      ...slots,
      h(
        "div",
        { class: "line" },
        h("button", { type: "button", class: ready ? "primary" : "", disabled: !ready, onclick: start }, "Compare"),
        pre || post ? h("button", { type: "button", onclick: swap }, "Swap dates") : null,
      ),
    );
  }
}
