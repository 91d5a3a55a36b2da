// The panel that says what runs here: versions, models, storage, privacy.

import type { Bundle } from "../model/bundle.ts";
import type { Offer } from "../store.ts";
import { make } from "./make.ts";
import { date, number, say, stageName } from "./words.ts";

declare const __PAGE__: string;

export interface AboutFacts {
  readonly bundle: Bundle | null;
  readonly offers: readonly Offer[];
  readonly offline: boolean;
  readonly install: (() => void) | null;
  readonly choose: (offer: Offer) => void;
}

/** Show the panel. */
export async function showAbout(facts: AboutFacts): Promise<void> {
  const used = (await navigator.storage?.estimate?.())?.usage ?? 0;
  const row = (what: string, ...value: (string | Node)[]) => [make("dt", {}, what), make("dd", {}, ...value)];
  const wide = (what: string, ...value: (string | Node)[]) => row(what, ...value).map((part) => (part.classList.add("wide"), part));
  const panel = make(
    "dialog",
    { "aria-labelledby": "about-title", class: "about" },
    make("h2", { id: "about-title", tabindex: -1, autofocus: true }, say("about.title")),
    make(
      "dl",
      { class: "facts" },
      ...row(say("about.page"), __PAGE__),
      ...wide(say("about.models"), ...modelsOf(facts.bundle)),
      ...row(say("about.offline"), say(facts.offline ? "about.offline.yes" : "about.offline.no")),
      ...row(say("about.storage"), say("about.storage.value", { used: used / 1e6 })),
    ),
    facts.offers.length > 1 && choice(facts),
    make("p", {}, say("about.private")),
    make("p", { class: "note" }, say("about.licence")),
    facts.install && make("button", { type: "button", onclick: facts.install }, say("about.install")),
    make("form", { method: "dialog" }, make("button", { class: "main" }, say("about.close"))),
  );
  panel.addEventListener("close", () => panel.remove());
  document.body.append(panel);
  panel.showModal();
}

function modelsOf(bundle: Bundle | null): Node[] {
  if (!bundle) return [document.createTextNode("–")];
  const made = say("about.made", { date: date(bundle.created), version: bundle.version.slice(0, 12) });
  const lines = bundle.stages.flatMap((stage) => {
    if (stage.kind === "quality") return [];
    const { file, precision, bytes, sha256 } = stage.model;
    const values = { stage: stageName(stage.name), file, precision, size: number(bytes / 1e6), hash: sha256.slice(0, 12) };
    return [make("li", {}, say("about.file", values) + (stage.model.warning ? ` (${stage.model.warning})` : ""))];
  });
  return [make("span", {}, `${bundle.name}, ${made}`), make("ul", { class: "names" }, ...lines)];
}

function choice({ bundle, offers, choose }: AboutFacts): HTMLElement {
  const options = offers.map(({ name }) => make("option", { value: name, selected: name === bundle?.name }, name));
  const select = make("select", {}, ...options);
  const use = () => {
    const offer = offers.find(({ name }) => name === select.value);
    if (offer) choose(offer);
  };
  return make("label", { class: "choice" }, say("about.choose"), select, make("button", { type: "button", onclick: use }, say("models.update")));
}
