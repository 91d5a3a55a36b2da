// What a browser has to be able to do.

let known: boolean | undefined;

/** Whether pictures can be drawn by WebGL2, which volumes and maps need. */
export function hasWebGL2(): boolean {
  if (known === undefined) {
    const context = document.createElement("canvas").getContext("webgl2");
    known = context !== null;
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return known;
}

/** What the browser lacks for the desk page, as a sentence; null where it lacks nothing. */
export function lacking(): string | null {
  const missing = [
    typeof OffscreenCanvas === "undefined" && "drawing off the screen",
    typeof ResizeObserver === "undefined" && "watching sizes",
    typeof TextDecoderStream === "undefined" && "streams of text",
    typeof HTMLDialogElement === "undefined" && "dialogs",
  ].filter(Boolean);
  if (!missing.length) return null;
  return `This browser is too old for the page (it lacks ${missing.join(", ")}); use a current Firefox, Chrome, Edge or Safari.`;
}

export const NO_WEBGL2 =
  "This browser cannot draw volumes and maps, since WebGL2 is missing or switched off; the files below can be downloaded all the same, or use a current Firefox, Chrome, Edge or Safari with graphics acceleration.";
