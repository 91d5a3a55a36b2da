import { expect, it } from "vitest";
import { events, follow } from "./sse";

it("takes whole events and keeps the rest", () => {
  expect(events('data: {"a":1}\n\nevent: x\ndata: 2\ndata: 3\n\ndata: 4')).toEqual({ data: ['{"a":1}', "2\n3"], rest: "data: 4" });
  expect(events(": alive\r\n\r\ndata:5\r\n\r\n").data).toEqual(["5"]);
});

it("follows a stream whose pieces end anywhere", async () => {
  const pieces = ["data: on", "e\n", "\ndata: two\n\n"];
  const stream = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
  const seen: string[] = [];
  await follow(new Response(stream), (data) => seen.push(data));
  expect(seen).toEqual(["one", "two"]);
});
