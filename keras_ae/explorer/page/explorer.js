// The page: the code in the middle, and around it what changes it and what it decodes to.

import { connect } from "./backend.js";
import { drawExample, element, splitItems, unpackArray } from "./drawing.js";
import { makePanels } from "./panels.js";
import { makePlane } from "./plane.js";

const find = (id) => document.getElementById(id);
const app = { code: [], inputs: {}, listeners: [] };

// Show the message of an error, or hide it.
export function report(error) {
  find("message").hidden = !error;
  find("message").textContent = error ? error.message : "";
}

// A line at the top of the page moves while a call is under way for some time.
let calls = 0;
function countCalls(change) {
  calls += change;
  document.body.setAttribute("aria-busy", calls > 0);
}

// Return a function that calls another one, which is asynchronous. While a call is under way, only
// the latest of the further calls is kept, so that no queue forms when a slider moves.
export function latest(work) {
  let [busy, next] = [false, null];
  return async function run(...given) {
    if (busy) {
      next = given;
      return;
    }
    busy = true;
    countCalls(1);
    try {
      await work(...given);
      report(null);
    } catch (error) {
      report(error);
    } finally {
      busy = false;
      countCalls(-1);
      if (next) {
        const kept = next;
        next = null;
        run(...kept);
      }
    }
  };
}

const decode = latest(async () => {
  const found = await app.backend.decode({ codes: [app.code], inputs: app.inputs });
  const [example] = splitItems(found.items);
  app.decoded = example;
  const box = find("decoded");
  box.replaceChildren(drawExample(app.state.forms, example, 230, "what the code decodes to"));
  box.dataset.revision = Number(box.dataset.revision) + 1;
});

// Change the code. `origin` is the control that did it, which need not be told.
app.setCode = (code, origin = null) => {
  app.code = [...code];
  for (const listener of app.listeners) if (listener.origin !== origin) listener.update();
  decode();
};

app.setInput = (name, values) => {
  app.inputs[name] = values;
  decode();
};

// ---------------------------------------------------------------- named inputs

function showInputs() {
  for (const input of app.state.inputs) {
    app.inputs[input.name] = input.required.length ? [...input.start] : null;
    const control = element("input", { type: input.size === 1 ? "number" : "text",
      id: `input-${input.name}`, value: app.inputs[input.name]?.join(" ") ?? "" });
    if (input.limits) [control.min, control.max] = input.limits;
    else control.step = "any";
    control.addEventListener("input", () => {
      const numbers = control.value.trim().split(/[\s,]+/).filter(Boolean).map(Number);
      app.setInput(input.name, numbers.length ? numbers : null);
    });
    input.show = (values) => {
      app.inputs[input.name] = values;
      control.value = values.join(" ");
    };
    const note = input.limits ? ` (${input.limits[0]} to ${input.limits[1]})` : "";
    find("inputs").append(element("label", {}, `${input.name}${note}`, control));
  }
}

// Take over the named inputs of an example of the data.
app.showInputsOf = (index) => {
  for (const input of app.state.inputs) {
    const values = app.state.examples.inputs?.[input.name];
    if (values && app.inputs[input.name]) input.show([values[index]].flat(Infinity));
  }
};

// ---------------------------------------------------------------- sliders

function showSliders() {
  const { dimensions, shape } = app.state.code;
  const width = shape.reduce((a, b) => a * b, 1);
  const active = dimensions.filter((each) => each.active).length;
  const measured = dimensions.some((each) => each.divergence !== null);
  find("code-note").textContent = `${dimensions.length} of ${width} dimensions, ${
    measured ? "ordered by divergence from the prior (nats)" : "ordered by variance"}. ${
    active} active (●).`;
  for (const each of dimensions) {
    const id = `slider-${each.index}`;
    const range = element("input", { type: "range", id, min: each.low, max: each.high,
      step: (each.high - each.low) / 400 });
    const output = element("output", { htmlFor: id });
    const label = element("label", { htmlFor: id }, `z[${each.name}]`);
    if (each.active) label.append(element("span", { class: "active", title: "active" }, " ●"));
    if (each.divergence !== null) {
      label.append(element("small", {}, `${each.divergence.toFixed(2)} nats`));
    }
    const row = element("div", { class: each.active ? "slider" : "slider idle" },
      label, output, range);
    let shown = null;
    const update = () => {
      if (shown === app.code[each.index]) return;
      shown = app.code[each.index];
      range.value = shown;
      output.textContent = app.code[each.index].toFixed(2).replace("-", "−");
    };
    range.addEventListener("input", () => {
      const code = [...app.code];
      code[each.index] = shown = Number(range.value);
      output.textContent = code[each.index].toFixed(2).replace("-", "−");
      app.setCode(code, range);
    });
    app.listeners.push({ origin: range, update });
    find("code").append(row);
  }
  const middle = element("button", { type: "button" }, "Mean code");
  middle.addEventListener("click", () => {
    const code = new Array(width).fill(0);
    for (const each of dimensions) code[each.index] = each.mean;
    app.setCode(code);
  });
  find("code-buttons").append(middle);
}

// ---------------------------------------------------------------- codes of integers

function showGrid() {
  const { shape, count } = app.state.code;
  find("code-note").textContent = `Code indices from 0 to ${count - 1}. Choose a place, and then ${
    "its index."}`;
  // A code of three axes has several levels. Each level is a grid.
  const [rows, columns, levels] = shape.length === 1 ? [Math.ceil(shape[0] / 8), 8, 1]
    : [shape[0], shape[1], shape.slice(2).reduce((a, b) => a * b, 1)];
  const total = shape.reduce((a, b) => a * b, 1);
  const buttons = [];
  let chosen = 0;
  const number = element("input", { type: "number", id: "code-index", min: 0, max: count - 1 });
  const range = element("input", { type: "range", id: "code-range", min: 0, max: count - 1 });
  range.setAttribute("aria-label", "code index");
  const label = element("label", { htmlFor: "code-index" });
  find("code").append(element("div", { class: "chosen" },
    element("div", { class: "controls" }, label, number), range));
  const nameOf = (place) => {
    const level = levels > 1 ? `, level ${place % levels}` : "";
    const cell = Math.floor(place / levels);
    return shape.length === 1 ? `place ${place}`
      : `row ${Math.floor(cell / columns)}, column ${cell % columns}${level}`;
  };
  const update = () => {
    buttons.forEach((button, place) => {
      const value = app.code[place];
      button.textContent = value;
      button.style.background = `hsl(${(value * 137.5) % 360} 55% 74%)`;
      button.setAttribute("aria-label", `${nameOf(place)}: ${value}`);
      button.setAttribute("aria-selected", place === chosen);
      button.tabIndex = place === chosen ? 0 : -1;
    });
    label.textContent = nameOf(chosen);
    number.value = range.value = app.code[chosen];
  };
  const choose = (place) => {
    chosen = Math.min(total - 1, Math.max(0, place));
    update();
    buttons[chosen].focus();
  };
  const change = (value) => {
    if (!Number.isInteger(value) || value < 0 || value >= count) {
      return report(new Error(`A code index is an integer from 0 to ${count - 1}.`));
    }
    const code = [...app.code];
    code[chosen] = value;
    app.setCode(code);
  };
  number.addEventListener("input", () => number.value !== "" && change(Number(number.value)));
  range.addEventListener("input", () => change(Number(range.value)));
  for (let place = 0; place < total; place++) {
    const button = element("button", { type: "button", role: "gridcell" });
    button.addEventListener("click", () => choose(place));
    button.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -levels, ArrowRight: levels, ArrowUp: -levels * columns,
        ArrowDown: levels * columns };
      if (steps[event.key]) {
        event.preventDefault();
        choose(chosen + steps[event.key]);
      }
    });
    buttons.push(button);
  }
  for (let level = 0; level < levels; level++) {
    const name = levels > 1 ? `Level ${level}` : "Code indices";
    const grid = element("div", { class: "grid", role: "grid", "aria-label": name });
    grid.style.gridTemplateColumns = `repeat(${columns}, minmax(26px, 34px))`;
    for (let row = 0; row < rows; row++) {
      const line = element("div", { role: "row" });
      line.style.display = "contents";
      line.append(...buttons.filter((_, place) => place % levels === level
        && Math.floor(Math.floor(place / levels) / columns) === row));
      grid.append(line);
    }
    if (levels > 1) find("code").append(element("h3", {}, name));
    find("code").append(grid);
  }
  app.listeners.push({ origin: "grid", update });
}

// ---------------------------------------------------------------- the start

async function start() {
  app.backend = await connect();
  const state = (app.state = app.backend.state);
  document.title = `${state.title} – keras_ae explorer`;
  find("title").textContent = state.title;
  const parts = [state.title === state.model ? "" : state.model];
  parts.push(`code of ${state.code.shape.join(" × ")} ${
    state.code.kind === "integers" ? "integers" : "numbers"}`);
  if (state.score?.threshold != null) parts.push(`anomaly detector, score: ${state.score.name}`);
  if (state.examples.source === "draws") parts.push("no data: draws from the model are shown");
  if (state.examples.source === "none") parts.push("no data, and no sampler that is ready");
  find("summary").textContent = parts.filter(Boolean).join(" · ");
  if (state.examples.count) {
    app.codes = unpackArray(state.examples.codes);
    app.items = splitItems(state.examples.items);
    app.copies = splitItems(state.examples.copies);
  }
  // The code of one example of all that were encoded.
  app.codeOf = (index) => {
    const width = app.codes.shape[1];
    return [...app.codes.values.subarray(index * width, (index + 1) * width)];
  };
  showInputs();
  if (state.code.kind === "vector") showSliders();
  else showGrid();
  makePlane(app);
  makePanels(app);
  find("main").hidden = false;
  app.setCode(state.code.start);
}

start().catch((error) => {
  find("title").textContent = "The model cannot be shown";
  report(error);
});
