// Asks a server's newer API what OpenAI's Node client can ask, and prints what came, as JSON.
// Usage: node responses.mjs URL KEY, where `openai` is installed.

import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const FRANCE = "What is the capital of France?";
const found = {};

/** What an error says of itself. */
async function refused(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { status, code, param } = error;
    return { kind: error.constructor.name, status, code, param };
  }
}

const whole = await client.responses.create({
  model: "nudged",
  instructions: "Be brief.",
  input: FRANCE,
  nudging: { gamma: 0.4 },
});
found.whole = whole.output_text;
found.status = whole.status;
found.nudgeRate = whole.output[0].nudging.nudge_rate;
found.usage = whole.usage.output_tokens;

// What came goes back as it is, with another question behind it.
const input = [{ role: "user", content: "Count to five." }, ...whole.output, { role: "user", content: FRANCE }];
found.again = (await client.responses.create({ model: "nudged", input })).output_text;

found.kinds = [];
found.streamed = "";
for await (const event of await client.responses.create({ model: "nudged", input: FRANCE, stream: true })) {
  found.kinds.push(event.type);
  if (event.type === "response.output_text.delta") found.streamed += event.delta;
}

// The helper that puts events together again.
const helper = client.responses.stream({ model: "nudged", input: FRANCE });
helper.on("response.output_text.delta", (event) => (found.snapshot = event.snapshot));
found.helped = (await helper.finalResponse()).output_text;

const cut = client.responses.stream({ model: "nudged", input: FRANCE, max_output_tokens: 2 });
const short = await cut.finalResponse();
found.cut = [short.status, short.incomplete_details.reason, short.output_text];

found.missing = await refused(client.responses.create({ model: "gpt", input: FRANCE }));
found.kept = await refused(client.responses.create({ model: "nudged", input: "Why?", previous_response_id: whole.id }));
found.tools = await refused(client.responses.create({ model: "nudged", input: FRANCE, tools: [{ type: "web_search" }] }));
found.gone = await refused(client.responses.retrieve(whole.id));

// Leaving in the middle: the stream ends without an error.
const left = await client.responses.create({ model: "nudged", input: "Count to five.", stream: true });
found.left = 0;
for await (const _ of left) {
  found.left += 1;
  if (found.left === 6) left.controller.abort();
}

console.log(JSON.stringify(found));
