"use strict";

// The samples of a report: two ways to answer side by side. What a model or a task says only ever
// becomes text. An index says what there is; a line of data is read when it is shown.

const AT_ONCE = 10;
const $ = (id) => document.getElementById(id);
const {ways, samples, left, right, ended, why} = JSON.parse($("index").textContent);
const lines = $("lines").textContent.split("\n");
const read = (line) => JSON.parse(lines[line]);

/** An element. Children that are strings become text. */
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function options(select, values, chosen) {
  select.append(...values.map(([value, name]) => make("option", {value}, name)));
  select.value = chosen;
}

// --- an answer ------------------------------------------------------------------------------

function answer(way, [, line, , correct]) {
  const found = read(line);
  const head = make("header", {}, make("b", {}, ways[way]));
  if (correct !== null) {
    head.append(make("span", {className: correct ? "right" : "wrong"}, correct ? "right" : "wrong"));
  }
  if (found.reading != null) head.append(make("span", {}, `read as: ${found.reading}`));
  const node = make("section", {className: "one"}, head);
  if (found.error) node.append(make("p", {className: "failed"}, found.error));
  if (found.spans) node.append(text(found.spans), make("p", {className: "sum"}, summary(found)));
  return node;
}

function text(spans) {
  const both = new Set(spans.map(([source]) => source)).size > 1;
  const node = make("div", {className: "said", dir: "auto"});
  for (const [source, tokens, sure, reason, top] of spans) {
    let place = node;
    tokens.forEach((token, number) => {
      const space = token.match(/^(\s+(?=\S))?/)[0]; // before a word: not marked
      place.append(space);
      if (!number && source === "nudge" && (reason || both)) {
        place = make("mark");
        node.append(place);
      }
      place.append(word(source, token.slice(space.length), sure[number], reason, top));
    });
  }
  return node;
}

function word(source, token, sure, reason, top = []) {
  const node = make("span", {className: "t", tabIndex: -1}, token);
  if (source === "base") node.style.setProperty("--d", 1 - sure / 1000);
  const would = top.map(([other, prob]) => `${visible(other)} ${(prob / 1000).toFixed(2)}`);
  const told = [`${source}: its top-1 here was ${(sure / 1000).toFixed(2)}`];
  if (reason) told.push([why[reason] ?? reason, ...would].join(", ").replace(",", ":"));
  node.dataset.tip = told.join("\n");
  return node;
}

function visible(token) {
  return token ? `“${token.replaceAll("\n", "⏎").replaceAll("\t", "⇥")}”` : "the end";
}

function summary({spans, tokens, seconds, stop}) {
  const words = (of) => of.flatMap(([, texts]) => texts.join("").split(/\s+/)).filter(Boolean).length;
  const nudged = words(spans.filter(([source]) => source === "nudge")) / words(spans) || 0;
  const parts = [`${tokens} tokens`, `${seconds.toFixed(1)} s`, ended[stop] ?? stop];
  if (nudged > 0 && nudged < 1) parts.splice(1, 0, `${Math.round(100 * nudged)}% of the words nudged`);
  return parts.join(", ");
}

// --- the list -------------------------------------------------------------------------------

let found = [];
let shown = 0;

function card([task, id, line, answers]) {
  const {question, system, gold} = read(line);
  const asked = make("p", {className: "question said", dir: "auto", tabIndex: 0}, question);
  if (system) asked.title = system;
  const node = make("article", {className: "sample"}, make("h3", {}, `${task} · ${id}`), asked);
  if (gold !== null) node.append(make("p", {className: "gold said", dir: "auto"}, `right answer: ${gold}`));
  const pair = make("div", {className: "pair"});
  for (const way of new Set(["left", "right"].map((id) => Number($(id).value)))) {
    const one = answers.find(([of]) => of === way);
    if (one) pair.append(answer(way, one));
  }
  node.append(pair);
  return node;
}

function more() {
  const next = found.slice(shown, shown + AT_ONCE);
  shown += next.length;
  $("list").append(...next.map(card));
  $("more").hidden = shown === found.length;
  watch.unobserve($("more")); // it is told of anew, and may still be in view
  watch.observe($("more"));
}

const watch = new IntersectionObserver(
  (seen) => seen.at(-1).isIntersecting && more(), {rootMargin: "800px"});

/** Of the answers of two ways: whether the sample is to be shown. */
const KINDS = {
  all: (left, right) => left || right,
  differ: (left, right) => left && right && left[2] !== right[2],
  judged: (left, right) => left && right && left[3] !== null && right[3] !== null && left[3] !== right[3],
};

function filter() {
  const task = $("task").value;
  const of = (answers, id) => answers.find(([way]) => way === Number($(id).value));
  found = samples.filter(([name, , , answers]) => (!task || name === task) &&
    KINDS[$("which").value](of(answers, "left"), of(answers, "right")));
  shown = 0;
  $("list").replaceChildren();
  $("found").textContent = `${found.length} of ${samples.length} samples`;
  more();
}

const tasks = [...new Set(samples.map(([task]) => task))];
options($("task"), [["", "all"], ...tasks.map((task) => [task, task])], "");
const named = ways.map((name, way) => [way, name]);
options($("left"), named, left);
options($("right"), named, right);
for (const id of ["task", "left", "right", "which"]) $(id).onchange = filter;
$("more").onclick = more;
$("browser").hidden = false;
filter();
