// The large part of the page: how far a case is, or its result.

import type { Api } from "../common/api";
import type { Job, View } from "../common/contract";
import { fill, h, save } from "../common/dom";
import { bytes, clock } from "../common/format";
import type { Entry, Store } from "./store";
import type { Shown } from "./views/view";
import { progressOf, stateOf } from "./words";

async function viewOf(api: Api, view: View): Promise<Shown> {
  switch (view.kind) {
    case "image":
      return (await import("./views/image")).imageView(api, view);
    case "classes":
      return (await import("./views/classes")).classesView(api, view);
    case "volume":
      return (await import("./views/volume")).volumeView(api, view);
    case "map":
      return (await import("./views/map")).mapView(api, view);
    case "screening":
      return (await import("./views/screening")).screeningView(api, view);
  }
}

export class Stage {
  readonly element = h("section", { class: "stage", "aria-label": "Result" });
  #entry: Entry | null = null;
  #state = "";
  #shown: Shown | null = null;

  constructor(
    readonly api: Api,
    readonly store: Store,
  ) {
    store.addEventListener("change", () => this.#update());
    this.welcome();
  }

  welcome(): void {
    this.#clear();
    this.#entry = null;
    fill(
      this.element,
      h(
        "div",
        { class: "welcome" },
        h("h1", {}, "Which pixel belongs to what?"),
        h("p", {}, "Choose a model, drop an image, a pair of images or a volume, and read the answer here: drawn over the picture, measured, and with what is known of its error."),
        h("p", { class: "note" }, "Files stay on the machine that serves this page, and are deleted after a while."),
      ),
    );
  }

  get entry(): Entry | null {
    return this.#entry;
  }

  open(entry: Entry, focus: boolean): void {
    if (this.#entry !== entry) {
      this.#clear();
      this.#entry = entry;
      this.#update();
    }
    if (focus) {
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
      this.element.querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  #clear(): void {
    this.#shown?.destroy();
    this.#shown = null;
    this.#state = "";
  }

  #title(entry: Entry, ...more: (Node | null)[]): HTMLElement {
    return h("div", { class: "title" }, h("h1", { tabindex: -1 }, entry.name), ...more);
  }

  #update(): void {
    const entry = this.#entry;
    if (!entry) return;
    if (!this.store.entries.includes(entry)) return this.welcome();
    const state = entry.job?.status ?? (entry.error ? "refused" : "sending");
    if (state === "done") {
      if (this.#state !== state) void this.#result(entry, entry.job!);
      this.#state = state;
      return;
    }
    const progress = progressOf(entry);
    const told = `${state} ${progress?.text} ${progress?.share}`;
    if (this.#state === told) return;
    this.#state = told;
    if (progress) this.#running(entry, progress);
    else {
      const sentence = entry.error ?? (state === "cancelled" ? "This was cancelled, and has no result." : "There is no result.");
      fill(this.element, this.#title(entry), h("p", { class: "caution" }, sentence));
    }
  }

  /** Only what changed is written, so that the focus stays on the button. */
  #running(entry: Entry, progress: { text: string; share: number | null }): void {
    let bar = this.element.querySelector<HTMLProgressElement>(".running progress");
    if (!bar || this.element.querySelector("h1")?.textContent !== entry.name) {
      bar = h("progress", { max: 1, "aria-label": "Progress" });
      const cancel = h("button", { type: "button", onclick: () => void this.store.cancel(entry) }, "Cancel");
      fill(this.element, this.#title(entry), h("div", { class: "running" }, h("p"), bar, h("div", {}, cancel)));
    }
    this.element.querySelector(".running p")!.textContent = `${progress.text}.`;
    if (progress.share === null) bar.removeAttribute("value");
    else bar.value = progress.share;
  }

  async #result(entry: Entry, job: Job): Promise<void> {
    const files = job.files.filter((one) => one.role !== "view");
    const archive = files.length
      ? h("button", { type: "button", onclick: () => this.#download(() => this.api.archive(job.id), `${base(job.name)}.zip`) }, "Download all as zip")
      : null;
    const note = h("p", { class: "note" }, `${job.model} · ${stateOf(job)} · ${expiry(job)}`);
    const status = h("p", { class: "note", role: "status" }, "Opening the result.");
    fill(this.element, this.#title(entry, archive), note, status);
    try {
      if (job.view) {
        const shown = await viewOf(this.api, job.view);
        if (this.#entry !== entry) return shown.destroy();
        this.#shown = shown;
        status.replaceWith(shown.element);
        shown.start?.();
      } else status.remove();
    } catch (problem) {
      status.replaceWith(h("p", { class: "caution", role: "alert" }, problem instanceof Error ? problem.message : String(problem)));
    }
    if (files.length) this.element.append(this.#files(job, files));
  }

  #files(job: Job, files: Job["files"]): HTMLElement {
    const rows = files.map((one) =>
      h(
        "li",
        {},
        h("span", {}, one.name),
        h("span", { class: "note" }, bytes(one.bytes)),
        h(
          "button",
          { type: "button", class: "quiet", "aria-label": `Download ${one.name}`, onclick: () => this.#download(() => this.api.blob(one.url), `${base(job.name)}_${one.name}`) },
          "Download",
        ),
      ),
    );
    return h("section", { class: "results" }, h("h2", {}, "Files"), h("ul", { class: "files" }, ...rows));
  }

  #download(load: () => Promise<Blob>, name: string): void {
    load()
      .then((blob) => save(blob, name))
      .catch((problem: unknown) => this.element.prepend(h("p", { class: "caution", role: "alert" }, problem instanceof Error ? problem.message : String(problem))));
  }
}

function base(name: string): string {
  return name.replace(/(\.nii)?\.[^.]+$/, "") || "result";
}

function expiry(job: Job): string {
  return job.expires === null ? "kept until it is deleted" : `kept until ${clock(new Date(job.expires * 1000))}`;
}
