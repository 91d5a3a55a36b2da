// Asks for the token of the server, which is kept until the tab is closed.

import { h } from "../common/dom";

export function askToken(wrong: boolean): Promise<string | null> {
  const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  const form = h(
    "form",
    { method: "dialog", class: "stack" },
    h("h2", {}, "This server wants a token"),
    h("p", { class: "note" }, wrong ? "That one was not right. Whoever started the server knows it." : "Whoever started the server knows it. It is kept until this tab is closed."),
    h("label", { for: "token" }, "Token"),
    input,
    h("div", { class: "line" }, h("button", { type: "submit", class: "primary" }, "Go on")),
  );
  const dialog = h("dialog", { "aria-label": "Token" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close("given");
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "given" && input.value ? input.value.trim() : null);
    }),
  );
}
