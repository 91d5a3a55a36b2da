// The page at the desk: a model, files, results.

import "../common/base.css";
import "./desk.css";
import { Api } from "../common/api";
import type { ModelInfo } from "../common/contract";
import { fill, h } from "../common/dom";
import { lacking } from "../common/support";
import { applyTheme, setTheme, theme, type Theme } from "../common/theme";
import { Inputs } from "./inputs";
import { List } from "./list";
import type { CaseOf } from "./pairing";
import { Stage } from "./stage";
import { Store, type Entry } from "./store";
import { askToken } from "./token";
import { finds, takes } from "./words";

const KEPT = "catenary.model";

function bar(api: Api): HTMLElement {
  const themes: [Theme, string][] = [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]]; // prettier-ignore
  const choice = h(
    "select",
    { "aria-label": "Colours", onchange: () => setTheme(choice.value as Theme) },
    themes.map(([value, text]) => h("option", { value, selected: value === theme() }, text)),
  );
  const mark = h("span", { "aria-hidden": "true" });
  mark.innerHTML =
    '<svg viewBox="0 0 24 20" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"><path d="M3 2c1 11 5 16 9 16s8-5 9-16"/></svg>';
  // a link cannot carry the token, where the server wants one
  const programs = h("a", { href: api.url("docs"), hidden: api.token !== "" }, "For programs");
  return h(
    "header",
    { class: "bar" },
    h("a", { class: "skip", href: "#result" }, "To the result"),
    h("span", { class: "brand" }, mark, "catenary"),
    h("nav", { "aria-label": "Other pages" }, h("a", { href: api.url("phone/") }, "Page for the phone"), programs),
    choice,
  );
}

class Desk {
  readonly #store: Store;
  readonly #stage: Stage;
  readonly #list: List;
  readonly #inputs: Inputs;
  readonly #told = h("div", { class: "stack" });
  readonly #options = h("div", {});
  readonly #problem = h("p", { class: "caution", role: "alert", hidden: true });
  #model: ModelInfo | null = null;
  #average = false;

  constructor(
    readonly api: Api,
    readonly root: Element,
  ) {
    this.#store = new Store(api);
    this.#stage = new Stage(api, this.#store);
    this.#list = new List(this.#store, (entry) => this.#open(entry, true), (problem) => this.#complain(problem)); // prettier-ignore
    this.#inputs = new Inputs((one) => this.#send(one));
  }

  async start(): Promise<void> {
    const choice = h("select", { id: "model", "aria-describedby": "model-told" });
    this.#told.id = "model-told";
    this.#stage.element.id = "result";
    const side = h(
      "div",
      { class: "side" },
      h("section", { "aria-label": "Model" }, h("h2", {}, h("label", { for: "model" }, "Model")), choice, this.#told),
      h("section", { "aria-label": "Files" }, this.#inputs.element, this.#options),
      this.#problem,
      this.#list.element,
    );
    fill(this.root, bar(this.api), h("main", { class: "desk" }, side, this.#stage.element));
    this.#store.addEventListener("change", () => this.#stage.entry && this.#link());
    addEventListener("hashchange", () => void this.#fromHash());
    try {
      await this.#store.load();
    } catch (problem) {
      this.#complain(problem);
      return;
    }
    const { models } = this.#store;
    fill(choice, ...models.map((one) => h("option", { value: one.name }, one.name)));
    const kept = models.find((one) => one.name === localStorage.getItem(KEPT)) ?? models[0];
    if (!kept) return this.#complain(new Error("The server serves no model; start it with one."));
    choice.value = kept.name;
    choice.addEventListener("change", () => this.#choose(models[choice.selectedIndex]!));
    this.#choose(kept);
    await this.#fromHash();
  }

  #complain(problem: unknown): void {
    this.#problem.textContent = problem instanceof Error ? problem.message : String(problem);
    this.#problem.hidden = false;
  }

  #choose(model: ModelInfo): void {
    this.#model = model;
    localStorage.setItem(KEPT, model.name);
    fill(
      this.#told,
      h("p", { class: "note" }, `${finds(model)} ${takes(model)}`.trim()),
      model.trouble ? h("p", { class: "caution" }, model.trouble) : null,
      h(
        "details",
        {},
        h("summary", { class: "note" }, "About this model"),
        model.warning ? h("p", { class: "note" }, sentence(model.warning)) : null,
        h("dl", { class: "facts" }, ...facts(model).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
      ),
    );
    this.#average = false;
    const average = h("input", { type: "checkbox", onchange: () => (this.#average = average.checked) });
    const averages = model.kind === "segmentation" || model.kind === "damage";
    fill(this.#options, averages ? h("label", { class: "choice note" }, average, h("span", {}, "Average over flips: slower, a little better")) : null);
    this.#inputs.show(model);
  }

  #send(one: CaseOf<File>): void {
    if (!this.#model) return;
    this.#problem.hidden = true;
    const name = one.post ? `${one.image[0]!.name} and ${one.post.name}` : one.image[0]!.name;
    const options = this.#average ? { tta: true } : {};
    const entry = this.#store.send({ model: this.#model.name, ...one, options }, name);
    const { entry: current } = this.#stage;
    // what somebody reads is not taken away; a case that has ended makes room
    const busy = current && current.job?.status !== "done" && !current.error;
    if (!busy) this.#open(entry, false);
  }

  #open(entry: Entry, focus: boolean): void {
    this.#stage.open(entry, focus);
    this.#list.current = entry;
    this.#list.draw();
    this.#link();
  }

  /** The address of the page leads to the result; a case gets its number when the server has taken it. */
  #link(): void {
    const id = this.#stage.entry?.job?.id;
    const wanted = id ? `#${id}` : "";
    if (location.hash !== wanted) history.replaceState(null, "", wanted || location.pathname);
  }

  /** A link to a result opens it. */
  async #fromHash(): Promise<void> {
    const key = location.hash.slice(1);
    if (!/^[0-9a-f]{8,}$/.test(key)) return;
    try {
      this.#open(this.#store.find(key) ?? (await this.#store.fetch(key)), false);
    } catch (problem) {
      this.#complain(problem);
    }
  }
}

function sentence(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function facts(model: ModelInfo): [string, string][] {
  const found: [string, string][] = [];
  const { recipe, cases, scores } = model.trained as { recipe?: string; cases?: Record<string, number>; scores?: Record<string, number> };
  if (recipe) found.push(["Recipe", recipe]);
  for (const [part, number] of Object.entries(cases ?? {})) found.push([`Cases, ${part}`, String(number)]);
  for (const [name, value] of Object.entries(scores ?? {})) found.push([name.replace(/_/g, " "), typeof value === "number" ? value.toFixed(3) : String(value)]);
  found.push(["Fingerprint", model.sha256.slice(0, 12)]);
  return found;
}

function run(): void {
  applyTheme();
  const root = document.querySelector("#app")!;
  const trouble = lacking();
  if (trouble) return fill(root, h("p", { class: "unsupported" }, trouble));
  const api = new Api(new URL("./", location.href).href);
  api.askToken = askToken;
  void new Desk(api, root).start();
}

run();
