// The panels on the right: examples, data of one's own, ways, traversals, samples, and views.

import { drawExample, drawFigure, element, formatNumber, splitItems, toNumbers }
  from "./drawing.js";
import { latest, report } from "./explorer.js";

const find = (id) => document.getElementById(id);
const TRAVERSED = 8, STEPS = 7;

export function makePanels(app) {
  const { state } = app;
  const panels = [];
  const add = (title, fill) => panels.push([title, fill]);
  if (state.examples.count) add("Examples", fillExamples);
  if (app.backend.look && !Object.values(state.forms).some((form) => form.kind === "table")) {
    add("Your own", fillOwn);
  }
  if (state.code.kind === "vector") {
    if (state.examples.count > 1) add("Interpolate", fillInterpolation);
    add("Traverse", fillTraversal);
  }
  add("Samples", fillSamples);
  for (const view of state.views) {
    if (app.backend.view) add(view.title, (box, a) => fillView(box, a, view));
  }
  add("About", fillAbout);
  const tabs = panels.map(([title, fill], i) => {
    const panel = element("div", { role: "tabpanel", id: `panel-${i}`, hidden: true,
      tabIndex: -1 });
    panel.setAttribute("aria-labelledby", `tab-${i}`);
    const tab = element("button", { type: "button", role: "tab", id: `tab-${i}` }, title);
    tab.setAttribute("aria-controls", `panel-${i}`);
    tab.addEventListener("click", () => show(i));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        show((i + step + tabs.length) % tabs.length);
        tabs[(i + step + tabs.length) % tabs.length].tab.focus();
      }
    });
    find("tabs").append(tab);
    find("panels").append(panel);
    return { tab, panel, fill, filled: false };
  });
  function show(chosen) {
    tabs.forEach((each, i) => {
      each.tab.setAttribute("aria-selected", i === chosen);
      each.tab.tabIndex = i === chosen ? 0 : -1;
      each.panel.hidden = i !== chosen;
    });
    const { panel, fill, filled, refresh } = tabs[chosen];
    if (filled) refresh?.();
    else Object.assign(tabs[chosen], { filled: true, refresh: fill(panel, app) });
  }
  show(0);
}

const button = (text, work, main = false) => {
  const made = element("button", { type: "button", class: main ? "main" : "" }, text);
  made.addEventListener("click", work);
  return made;
};

const numberInput = (name, value, more) => {
  const input = element("input", { type: "number", value, ...more });
  return { input, label: element("label", {}, name, input) };
};

// Columns as wide as an example needs.
function thingsOf(app, size) {
  const kinds = Object.values(app.state.forms).map((form) => form.kind);
  const least = kinds.some((kind) => kind === "picture" || kind === "frames") ? size : 130;
  const box = element("div", { class: "things" });
  box.style.gridTemplateColumns = `repeat(auto-fill, minmax(${least}px, 1fr))`;
  return box;
}

// ---------------------------------------------------------------- one example

// Show an example next to its reconstruction, and what the model says about it.
function showLook(app, box, found) {
  const [example] = splitItems(found.items), [copy] = splitItems(found.copies);
  const { score } = found;
  const figures = [["data", example], ["reconstruction", copy]].map(([name, values]) => element(
    "figure", { class: "data" }, element("h3", {}, name),
    drawExample(app.state.forms, values, 150, name)));
  figures.push(...(score?.shares ?? []).map((figure) => drawFigure(figure, 150)));
  box.replaceChildren(element("div", { class: "two" }, ...figures));
  if (score) {
    const text = `Anomaly score: ${formatNumber(score.value)}`;
    const verdict = element("p", { class: score.is_anomaly ? "verdict anomaly" : "verdict" }, text);
    if (score.threshold !== null) {
      verdict.append(`, ${score.is_anomaly ? "above" : "not above"} the threshold of ${
        formatNumber(score.threshold)}: ${score.is_anomaly ? "an anomaly" : "normal"}`);
    }
    box.append(verdict);
  }
  if (found.log_likelihood !== undefined) {
    box.append(element("p", {}, `log p(x) is about ${found.log_likelihood.toFixed(2)} nats.`));
  }
}

function makeLook(app, box) {
  let last = null;
  const ask = latest(async (given) => {
    last = given;
    const found = await app.backend.look({ ...given, inputs: app.inputs });
    showLook(app, box, found);
    if (app.state.likelihood && !given.likelihood) {
      box.append(button("Estimate log p(x)", () => ask({ ...last, likelihood: true })));
    }
    app.setCode(found.code);
  });
  return ask;
}

// ---------------------------------------------------------------- examples

function fillExamples(box, app) {
  const { state } = app;
  const detail = element("div", { id: "example-detail" });
  const look = app.backend.look && makeLook(app, detail);
  const names = Object.keys(state.forms);
  const kept = new Set(names);
  let chosen = 0;
  if (names.length > 1 && look) {
    const controls = element("div", { class: "controls" }, "Encode from");
    for (const name of names) {
      const check = element("input", { type: "checkbox", checked: true });
      check.addEventListener("change", () => {
        if (check.checked) kept.add(name);
        else kept.delete(name);
        if (kept.size) look({ example: chosen, only: [...kept] });
        else report(new Error("Choose at least one modality."));
      });
      controls.append(element("label", {}, check, name));
    }
    box.append(controls);
  }
  const strip = thingsOf(app, 62);
  const buttons = app.items.map((item, i) => {
    const label = state.examples.labels?.[i];
    const score = state.score?.of_examples?.[i];
    const pair = element("span", { class: "pair" },
      drawExample(state.forms, item, 62, `example ${i}`),
      drawExample(state.forms, app.copies[i], 62, `reconstruction of example ${i}`));
    const notes = [label, score === undefined ? null : formatNumber(score)].filter((n) => n != null);
    const made = element("button", { type: "button", class: "thing", title: `example ${i}` }, pair,
      element("small", {}, notes.join(" · ")));
    made.setAttribute("aria-label", `example ${i}${label === undefined ? "" : `, label ${label}`}`);
    made.addEventListener("click", () => {
      chosen = i;
      buttons.forEach((each, j) => each.setAttribute("aria-pressed", i === j));
      app.example = i;
      app.showInputsOf(i);
      if (look) look(kept.size < names.length ? { example: i, only: [...kept] } : { example: i });
      else app.setCode(app.codeOf(i));
    });
    return made;
  });
  strip.append(...buttons);
  const word = state.examples.source === "draws" ? "Draws from the model" : "Data";
  if (state.score?.threshold != null) box.append(drawScores(state.score));
  box.append(detail, element("p", { class: "note" },
    `${word}, each above its reconstruction. Choose one to take its code.`), strip);
  if (look) buttons[0].click();
}

// Draw the scores of all examples as dots, and the threshold as a line.
function drawScores({ of_examples: scores, threshold, name }) {
  const canvas = element("canvas", { role: "img" });
  canvas.width = 640;
  canvas.height = 70;
  canvas.style.width = "100%";
  const above = scores.filter((score) => score > threshold).length;
  const text = `${above} of ${scores.length} examples have a score (${name}) above ${
    formatNumber(threshold)}`;
  canvas.setAttribute("aria-label", text);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const sorted = [...scores, threshold].sort((a, b) => a - b);
  // A few huge scores must not press all others together.
  const [low, high] = [sorted[0], Math.max(sorted[Math.floor(0.98 * (sorted.length - 1))],
    threshold * 1.2)];
  const place = (score) => 8 + 624 * Math.min(1, (score - low) / Math.max(high - low, 1e-12));
  scores.forEach((score, i) => {
    context.fillStyle = style.getPropertyValue(score > threshold ? "--warm" : "--accent");
    context.globalAlpha = 0.7;
    context.beginPath();
    context.arc(place(score), 10 + ((i * 37) % 50), 3, 0, 7);
    context.fill();
  });
  context.globalAlpha = 1;
  context.fillStyle = style.getPropertyValue("--text");
  context.fillRect(place(threshold), 0, 2, 70);
  return element("div", {}, canvas, element("p", { class: "note" }, `${text} (the line).`));
}

// ---------------------------------------------------------------- data of one's own

function fillOwn(box, app) {
  const entries = Object.entries(app.state.forms);
  const [name, form] = entries.find(([, each]) => each.kind === "picture") || entries[0];
  const detail = element("div", { id: "own-detail" });
  const look = makeLook(app, detail);
  const send = (values) => look(name ? { parts: { [name]: values } } : { values });
  if (form.kind === "picture") fillPad(box, app, form, send);
  const text = element("textarea", { id: "numbers" });
  const size = form.shape.reduce((a, b) => a * b, 1);
  const paste = button("Encode the numbers", () => {
    const numbers = text.value.trim().split(/[\s,;]+/).filter(Boolean).map(Number);
    if (numbers.some((n) => !Number.isFinite(n))) {
      return report(new Error("Write numbers only, with spaces or commas between them."));
    }
    send(numbers);
  });
  box.append(element("h3", {}, element("label", { htmlFor: "numbers" },
    `Numbers of one example, ${size} of them`)), text,
  element("div", { class: "buttons" }, paste), detail);
}

function fillPad(box, app, form, send) {
  const [height, width, channels = 1] = form.shape;
  const pad = element("canvas", { id: "pad", "aria-label": "Pad to draw on" });
  [pad.width, pad.height] = [280, Math.round((280 * height) / width)];
  const context = pad.getContext("2d", { willReadFrequently: true });
  const first = app.items ? toNumbers(form, Object.values(app.items[0])[0]) : [form.low];
  const mean = first.reduce((a, b) => a + b, 0) / first.length;
  const dark = mean < (form.low + form.high) / 2;
  const [back, ink] = dark ? ["#000000", "#ffffff"] : ["#ffffff", "#000000"];
  const color = element("input", { type: "color", value: ink });
  const brush = element("input", { type: "range", min: 6, max: 60, value: 22 });
  const clear = () => {
    context.fillStyle = back;
    context.fillRect(0, 0, pad.width, pad.height);
  };
  const read = () => {
    const small = element("canvas");
    [small.width, small.height] = [width, height];
    const reader = small.getContext("2d", { willReadFrequently: true });
    reader.imageSmoothingQuality = "high";
    reader.drawImage(pad, 0, 0, width, height);
    const { data } = reader.getImageData(0, 0, width, height);
    const values = [];
    for (let i = 0; i < data.length; i += 4) {
      const gray = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
      const parts = channels === 1 ? [gray] : [...data.subarray(i, i + channels)];
      for (const part of parts) values.push(form.low + (part / 255) * (form.high - form.low));
    }
    return values;
  };
  let last = null;
  const place = (event) => {
    const bounds = pad.getBoundingClientRect();
    return [((event.clientX - bounds.left) * pad.width) / bounds.width,
      ((event.clientY - bounds.top) * pad.height) / bounds.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = place(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    context.strokeStyle = color.value;
    context.lineWidth = Number(brush.value);
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...last);
    context.lineTo(...next);
    context.stroke();
    last = next;
  });
  const stop = () => {
    if (last) send(read());
    last = null;
  };
  pad.addEventListener("pointerup", stop);
  pad.addEventListener("pointercancel", stop);
  const file = element("input", { type: "file", accept: "image/*", id: "upload" });
  const invert = element("input", { type: "checkbox", id: "invert" });
  const load = async () => {
    if (!file.files.length) return;
    let picture;
    try {
      picture = await createImageBitmap(file.files[0]);
    } catch {
      return report(new Error("The browser cannot read this file as a picture."));
    }
    clear();
    context.filter = invert.checked ? "invert(1)" : "none";
    context.drawImage(picture, 0, 0, pad.width, pad.height);
    context.filter = "none";
    send(read());
  };
  file.addEventListener("change", load);
  invert.addEventListener("change", load);
  clear();
  box.append(element("div", { class: "two" }, pad, element("div", { class: "things" },
    element("label", { class: "things" }, "Brush", brush),
    ...(channels > 1 ? [element("label", {}, "Color ", color)] : []),
    button("Clear", clear),
    element("label", { class: "things" }, "Upload a picture", file),
    element("label", {}, invert, " Invert it"))));
}

// ---------------------------------------------------------------- ways and traversals

function fillInterpolation(box, app) {
  const count = app.items.length;
  const ends = ["From example", "to example"].map((name, i) => numberInput(name,
    Math.min(i, count - 1), { min: 0, max: app.codes.shape[0] - 1, id: `end-${i}` }));
  const steps = numberInput("Steps", 8, { min: 2, max: 32, id: "steps" });
  const round = element("input", { type: "checkbox", id: "spherical" });
  const strip = element("div", { id: "way" });
  const run = latest(async () => {
    const indices = ends.map((end) => Number(end.input.value));
    if (indices.some((i) => !Number.isInteger(i) || i < 0 || i >= app.codes.shape[0])) {
      throw new Error(`Examples have numbers from 0 to ${app.codes.shape[0] - 1}.`);
    }
    const [a, b] = indices.map(app.codeOf);
    const found = await app.backend.interpolate({ a, b, steps: Number(steps.input.value),
      spherical: round.checked, inputs: app.inputs });
    const things = thingsOf(app, 50);
    splitItems(found.items).forEach((item, i) => {
      const made = button("", () => app.setCode(found.codes[i]));
      made.className = "thing";
      made.append(drawExample(app.state.forms, item, 50, `step ${i}`));
      made.setAttribute("aria-label", `step ${i} of the way`);
      things.append(made);
    });
    strip.replaceChildren(things);
  });
  box.append(element("div", { class: "controls" }, ...ends.map((end) => end.label), steps.label,
    ...(app.state.code.curved ? [] : [element("label", {}, round, "along a great circle")])),
  element("div", { class: "buttons" }, button("Interpolate", run, true)), strip);
  run();
}

function fillTraversal(box, app) {
  const { dimensions } = app.state.code;
  const extent = numberInput("Standard deviations", 2, { min: 0.1, max: 10, step: 0.5 });
  const table = element("div", { class: "things", id: "traversal" });
  const run = latest(async () => {
    const reach = Number(extent.input.value);
    if (!(reach > 0)) throw new Error("Standard deviations must be a positive number.");
    const shown = dimensions.slice(0, TRAVERSED), codes = [];
    for (const each of shown) {
      for (let step = 0; step < STEPS; step++) {
        const code = [...app.code];
        code[each.index] = each.mean + each.spread * reach * ((2 * step) / (STEPS - 1) - 1);
        codes.push(code);
      }
    }
    const found = await app.backend.decode({ codes, inputs: app.inputs });
    const items = splitItems(found.items);
    table.replaceChildren(...shown.map((each, row) => {
      const line = element("div", { class: "traversal" });
      line.style.gridTemplateColumns = `48px repeat(${STEPS}, minmax(0, 1fr))`;
      line.append(element("span", { class: "name" }, `z[${each.name}]`));
      for (let step = 0; step < STEPS; step++) {
        const i = row * STEPS + step;
        const made = button("", () => app.setCode(codes[i]));
        made.className = "thing";
        made.append(drawExample(app.state.forms, items[i], 70, `z[${each.name}], step ${step}`));
        made.setAttribute("aria-label", `z[${each.name}] = ${formatNumber(codes[i][each.index])}`);
        line.append(made);
      }
      return line;
    }));
  });
  box.append(element("div", { class: "controls" }, extent.label,
    button("Traverse from the current code", run, true)), table);
  run();
}

// ---------------------------------------------------------------- samples, views, facts

function fillSamples(box, app) {
  const { sample } = app.state;
  if (sample.refusal) {
    box.append(element("p", {}, sample.refusal));
    return;
  }
  const seed = numberInput("Seed", 0, { min: 0, max: 2 ** 31 - 1, id: "seed" });
  const count = numberInput("Number", 24, { min: 1, max: 128, id: "count" });
  const heat = numberInput("Temperature", 1, { min: 0, max: 100, step: 0.1, id: "temperature" });
  const strip = element("div", { id: "samples" });
  const run = latest(async () => {
    const given = { seed: Number(seed.input.value), count: Number(count.input.value),
      inputs: app.inputs };
    if (sample.temperature) given.temperature = Number(heat.input.value);
    const found = await app.backend.sample(given);
    const things = thingsOf(app, 62);
    splitItems(found.items).forEach((item, i) => {
      const made = element("div", { class: "thing" });
      made.append(drawExample(app.state.forms, item, 62, `sample ${i}`));
      things.append(made);
    });
    strip.replaceChildren(things);
  });
  const next = button("Next seed", () => {
    seed.input.value = Number(seed.input.value) + 1;
    run();
  });
  box.append(element("div", { class: "controls" }, seed.label, count.label,
    ...(sample.temperature ? [heat.label] : []), button("Sample", run, true), next), strip);
  run();
}

function fillView(box, app, view) {
  const result = element("div");
  const run = latest(async () => {
    const given = { title: view.title, code: app.code, inputs: app.inputs };
    if (view.takes === "x") given.example = app.example ?? 0;
    const found = await app.backend.view(given);
    if (view.takes === "x") title.textContent = `Example ${given.example}`;
    result.replaceChildren(...found.figures.map((figure) => drawFigure(figure)));
  });
  const words = { x: "Show the chosen example", z: "Show the current code" };
  const title = element("p", { class: "note" });
  if (view.takes === "x" && !app.state.examples.count) {
    box.append(element("p", {}, "This view needs examples, and there are none."));
    return undefined;
  }
  if (words[view.takes]) {
    box.append(element("div", { class: "buttons" }, button(words[view.takes], run, true)));
  }
  box.append(title, result);
  run();
  return run;
}

function fillAbout(box, app) {
  const table = element("table", { id: "facts" });
  for (const [name, text] of app.state.facts) {
    table.append(element("tr", {}, element("th", { scope: "row" }, name),
      element("td", {}, text)));
  }
  box.append(element("div", { class: "scroll" }, table));
}
