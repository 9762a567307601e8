// Asks a server what OpenAI's Node client can ask, and prints what came, as JSON.
// Usage: node openai.mjs URL KEY, where `openai` is installed.

import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const FRANCE = [{ role: "user", content: "What is the capital of France?" }];
const found = {};

/** What an error says of itself. */
async function refused(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { status, code, param, requestID } = error;
    return { kind: error.constructor.name, status, code, param, tagged: Boolean(requestID) };
  }
}

found.models = (await client.models.list()).data.map((model) => model.id);

const whole = await client.chat.completions.create({
  model: "nudged",
  messages: FRANCE,
  n: 2,
  logprobs: true,
  nudging: { gamma: 0.4 },
});
found.whole = whole.choices.map((choice) => choice.message.content);
found.nudgeRate = whole.choices[0].nudging.nudge_rate;
found.tokens = whole.choices[0].logprobs.content.map((entry) => entry.token);

const stream = await client.chat.completions.create({
  model: "nudged",
  messages: FRANCE,
  stream: true,
  stream_options: { include_usage: true },
});
found.streamed = "";
found.authors = [];
for await (const chunk of stream) {
  found.streamed += chunk.choices[0]?.delta?.content ?? "";
  const author = chunk.choices[0]?.nudging?.source;
  if (author) found.authors.push(author);
  found.usage = chunk.usage?.completion_tokens;
}

// The helper that puts chunks together again.
const helper = client.chat.completions.stream({ model: "nudged", messages: FRANCE });
found.helped = (await helper.finalChatCompletion()).choices[0].message.content;

const text = await client.completions.create({ model: "nudge", prompt: "Count to five.", stop: [" two"] });
found.text = text.choices[0].text;

found.missing = await refused(client.chat.completions.create({ model: "gpt", messages: FRANCE }));
found.bad = await refused(client.completions.create({ model: "nudged", prompt: "Hello", top_p: 7 }));
const stranger = new OpenAI({ baseURL: url, apiKey: "wrong", maxRetries: 0 });
found.stranger = await refused(stranger.models.list());

// Leaving in the middle: the stream ends without an error.
const endless = [{ role: "user", content: "Count to five." }];
const left = await client.chat.completions.create({ model: "nudged", messages: endless, stream: true });
found.left = 0;
for await (const _ of left) {
  found.left += 1;
  if (found.left === 2) left.controller.abort();
}

console.log(JSON.stringify(found));
