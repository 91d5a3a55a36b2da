// The list of cases: those that run, and those before them.

import { fill, h } from "../common/dom";
import { clock } from "../common/format";
import type { Entry, Store } from "./store";
import { progressOf, stateOf } from "./words";

/** Elements of a case that change; kept, so that the focus is. */
interface Parts {
  row: HTMLLIElement;
  open: HTMLButtonElement;
  name: HTMLElement;
  note: HTMLElement;
  bar: HTMLProgressElement;
  problem: HTMLElement;
  action: HTMLButtonElement;
}

export class List {
  readonly element: HTMLElement;
  current: Entry | null = null;
  readonly #list = h("ul", { class: "jobs" });
  readonly #empty = h("p", { class: "note" }, "Nothing yet.");
  readonly #more = h("button", { type: "button", class: "quiet" }, "Earlier ones");
  readonly #rows = new Map<Entry, Parts>();
  /** Tells those who do not see the list that a case has ended; progress is not read out. */
  readonly #told = h("p", { class: "sr", role: "status" });
  readonly #states = new WeakMap<Entry, string>();

  constructor(
    readonly store: Store,
    readonly opened: (entry: Entry) => void,
    readonly failed: (problem: unknown) => void,
  ) {
    this.element = h("section", { "aria-label": "Results" }, h("h2", {}, "Results"), this.#empty, this.#list, this.#more, this.#told);
    this.#more.addEventListener("click", () => void store.more().catch(failed));
    store.addEventListener("change", () => this.draw());
    this.draw();
  }

  draw(): void {
    const { entries } = this.store;
    for (const [entry, parts] of this.#rows) {
      if (entries.includes(entry)) continue;
      parts.row.remove();
      this.#rows.delete(entry);
    }
    entries.forEach((entry, i) => {
      const parts = this.#rows.get(entry) ?? this.#make(entry);
      this.#update(entry, parts);
      if (this.#list.children[i] !== parts.row) this.#list.insertBefore(parts.row, this.#list.children[i] ?? null);
    });
    this.#empty.hidden = entries.length > 0;
    this.#more.hidden = this.store.earlier === 0;
  }

  #make(entry: Entry): Parts {
    const name = h("span", { class: "name" });
    const note = h("span", { class: "note" });
    const open = h("button", { type: "button", class: "open", onclick: () => this.opened(entry) }, name, note);
    const bar = h("progress", { max: 1 });
    const problem = h("p", { class: "problem", role: "alert" });
    const action = h("button", { type: "button", class: "quiet", onclick: () => this.#act(entry) });
    const row = h("li", { class: "entry" }, open, action, bar, problem);
    const parts = { row, open, name, note, bar, problem, action };
    this.#rows.set(entry, parts);
    return parts;
  }

  #update(entry: Entry, { row, open, name, note, bar, problem, action }: Parts): void {
    const progress = progressOf(entry);
    this.#announce(entry, progress ? "" : entry.job ? stateOf(entry.job) : "not taken");
    name.textContent = entry.name;
    name.title = entry.name;
    const when = entry.job ? clock(new Date(entry.job.created * 1000)) : "";
    note.textContent = progress?.text ?? [entry.model, entry.job ? stateOf(entry.job) : "not taken", when].filter(Boolean).join(" · ");
    open.disabled = !entry.job;
    bar.hidden = progress === null;
    if (progress?.share === null || progress === null) bar.removeAttribute("value");
    else bar.value = progress.share;
    bar.setAttribute("aria-label", `Progress of ${entry.name}`);
    problem.hidden = !entry.error;
    if (problem.textContent !== (entry.error ?? "")) problem.textContent = entry.error ?? "";
    action.textContent = progress ? "Cancel" : "×";
    action.setAttribute("aria-label", `${progress ? "Cancel" : "Delete"} ${entry.name}`);
    action.title = progress ? "Cancel" : "Delete, on the server too";
    row.toggleAttribute("data-current", this.current === entry);
    if (this.current === entry) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }

  #announce(entry: Entry, state: string): void {
    const before = this.#states.get(entry);
    this.#states.set(entry, state);
    if (before === "" && state !== "") this.#told.textContent = `${entry.name}: ${state}`;
  }

  #act(entry: Entry): void {
    if (progressOf(entry)) void this.store.cancel(entry).catch(this.failed);
    else if (!entry.job) void this.store.remove(entry).catch(this.failed);
    else void confirmed(`Delete “${entry.name}” with its results from the server?`).then((yes) => (yes ? this.store.remove(entry) : undefined)).catch(this.failed);
  }
}

/** Asks whether something that cannot be undone is wanted. */
function confirmed(question: string): Promise<boolean> {
  const dialog = h("dialog", { "aria-label": question });
  const close = (value: string) => () => dialog.close(value);
  fill(
    dialog,
    h("p", {}, question),
    h(
      "div",
      { class: "line" },
      h("button", { type: "button", class: "primary", onclick: close("yes") }, "Delete"),
      h("button", { type: "button", onclick: close("") }, "Keep"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    }),
  );
}
