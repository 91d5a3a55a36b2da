// Server-sent events from a fetch, which unlike EventSource can carry a token.

/** The data of each event; `rest` is what has not ended yet. */
export function events(text: string): { data: string[]; rest: string } {
  const parts = text.replace(/\r\n?/g, "\n").split("\n\n");
  const rest = parts.pop() ?? "";
  const data = parts
    .map((part) =>
      part
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""))
        .join("\n"),
    )
    .filter((one) => one !== "");
  return { data, rest };
}

/** Calls `each` with the data of every event until the stream ends. */
export async function follow(response: Response, each: (data: string) => void): Promise<void> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    const found = events(held + (value ?? ""));
    held = found.rest;
    found.data.forEach(each);
    if (done) return;
  }
}
