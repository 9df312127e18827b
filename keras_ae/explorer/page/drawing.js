// Draws examples of data: a form says how, and comes with the state. All text goes through
// textContent, because names and cards are foreign text.

const COLORS = ["#2f8f83", "#c8643a", "#4d72b8", "#b08b1e", "#9a5aa6", "#5d8f3a", "#b34a6b",
  "#3f8fb0", "#8a6a4a", "#6d6fd0"];
const SVG = "http://www.w3.org/2000/svg";
const MOST_BARS = 16, MOST_VECTOR_BARS = 32;
const MOST_SOUNDS = 32; // Older ones have left the page, and need no more memory.
const sounds = [];

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name in made && name !== "list" && name !== "width" && name !== "height") {
      made[name] = value;
    } else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const colorOf = (number) => COLORS[number % COLORS.length];

// ---------------------------------------------------------------- arrays

const KINDS = { uint8: Uint8Array, float32: Float32Array, int32: Int32Array };

export function unpackArray(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return { shape: packed.shape, values: new KINDS[packed.dtype](bytes.buffer) };
}

// Split packed examples into a list of one {shape, values} or {cells} for each.
export function splitPart(packed) {
  if (packed.cells) return packed.cells.map((cells) => ({ cells }));
  const { shape, values } = packed.values ? packed : unpackArray(packed);
  const size = shape.slice(1).reduce((a, b) => a * b, 1);
  return Array.from({ length: shape[0] }, (_, i) => ({
    shape: shape.slice(1), values: values.subarray(i * size, (i + 1) * size),
  }));
}

// Split {"": packed} or {modality: packed} into a list of one {name: example} for each example.
export function splitItems(items) {
  const parts = Object.entries(items).map(([name, packed]) => [name, splitPart(packed)]);
  return parts[0][1].map((_, i) => Object.fromEntries(parts.map(([n, list]) => [n, list[i]])));
}

// The numbers of an example in the units of the data. Those of pictures are rounded to 255 levels.
export function toNumbers(form, example) {
  if (!(example.values instanceof Uint8Array)) return Array.from(example.values);
  const scale = (form.high - form.low) / 255;
  return Array.from(example.values, (value) => form.low + scale * value);
}

function toByte(form, values, i) {
  if (values instanceof Uint8Array) return values[i];
  const scaled = (values[i] - form.low) / Math.max(form.high - form.low, 1e-12);
  return Math.round(255 * Math.min(1, Math.max(0, scaled || 0)));
}

// ---------------------------------------------------------------- examples

// Draw one example. `size` is the width of a picture in CSS pixels.
export function drawExample(forms, example, size, label) {
  const names = Object.keys(example);
  if (names.length === 1) return drawPart(forms[names[0]], example[names[0]], size, label);
  const box = element("div", { class: "things" });
  for (const name of names) {
    const part = drawPart(forms[name], example[name], size, `${label}, ${name}`);
    box.append(element("figure", { class: "data" }, part, element("figcaption", {}, name)));
  }
  return box;
}

export function drawPart(form, example, size, label) {
  if (example.cells) return drawCells(form, example.cells, size);
  const { kind } = form;
  if (kind === "picture") return drawPicture(form, example.shape, example.values, 0, size, label);
  if (kind === "frames") return drawFrames(form, example, size, label);
  if (kind === "tokens") return drawTokens(form, example.values);
  if (kind === "counts") return drawLargest(form, example.values, size);
  if (kind === "series") return drawLines(form, example, example.shape[1] || 1, label);
  if (kind === "wave") return drawWave(form, example, size, label);
  const count = example.values.length;
  return count <= MOST_VECTOR_BARS
    ? drawBars(form.names || [...Array(count).keys()], [...example.values], size)
    : drawLines(form, example, 1, label);
}

function drawPicture(form, shape, values, start, size, label) {
  const [height, width, channels = 1] = shape;
  const canvas = element("canvas", { class: "picture", role: "img", "aria-label": label });
  canvas.width = width;
  canvas.height = height;
  if (size) canvas.style.width = `${Math.round(size * Math.min(1, width / height))}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let part = 0; part < 4; part++) {
      const from = start + pixel * channels + (channels < 3 ? 0 : part);
      image.data[4 * pixel + part] = part < 3 || channels === 4 ? toByte(form, values, from) : 255;
    }
    if (form.heat) image.data.set(toHeat(image.data[4 * pixel]), 4 * pixel);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The color of a share: from black over red and yellow to white.
const toHeat = (byte) => [Math.min(255, 2.6 * byte), Math.max(0, Math.min(255, 2.2 * byte - 190)),
  Math.max(0, 4 * byte - 765)];

function drawFrames(form, example, size, label) {
  const [count, ...shape] = example.shape;
  const length = shape.reduce((a, b) => a * b, 1);
  const box = element("div", { class: "frames" });
  const width = size ? Math.max(28, size / Math.min(count, 4) - 4) : 0;
  for (let i = 0; i < count; i++) {
    const name = `${label}, frame ${i}`;
    box.append(drawPicture(form, shape, example.values, i * length, width, name));
  }
  return box;
}

function drawTokens(form, values) {
  const words = Array.from(values, Math.round).filter((token) => token > 0);
  const text = words.map((token) => form.names?.[token] ?? String(token)).join(" ");
  return element("p", { class: "tokens" }, text || "(empty)");
}

function drawLargest(form, values, size) {
  const order = [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, MOST_BARS);
  const kept = order.filter((i) => values[i] > 0);
  const names = kept.map((i) => form.names?.[i] ?? i);
  if (size < 120) {
    return element("span", { class: "words" }, names.slice(0, 4).join(", ") || "(empty)");
  }
  return drawBars(names, kept.map((i) => values[i]), size);
}

export function drawBars(names, values, size = 300) {
  const most = Math.max(...values.map(Math.abs), 1e-12);
  const box = element("div", { class: "bars" });
  if (size < 120) { // There is no place for text.
    const form = { low: Math.min(0, ...values), high: Math.max(0, ...values) };
    return drawLines(form, { values: Float32Array.from(values) }, 1, "bars", true);
  }
  values.forEach((value, i) => {
    const bar = element("div", { class: value < 0 ? "bar minus" : "bar" });
    bar.style.width = `${(100 * Math.abs(value)) / most}%`;
    box.append(
      element("span", { class: "name", title: String(names[i]) }, String(names[i])),
      element("span", { class: "track" }, bar),
      element("span", { class: "value" }, formatNumber(value)),
    );
  });
  return box;
}

export const formatNumber = (value) => (value === null || Number.isNaN(value) ? "missing"
  : Number.isInteger(value) ? String(value) : Number(value).toPrecision(3).replace("-", "−"));

function drawCells(form, cells, size) {
  const table = element("table");
  cells.slice(0, size > 150 ? cells.length : 4).forEach((cell, i) => {
    const shown = cell === null ? "missing" : String(cell);
    table.append(element("tr", {}, element("th", { scope: "row" }, form.names[i]),
      element("td", {}, shown)));
  });
  return element("div", { class: "scroll" }, table);
}

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function drawLines(form, { values }, features, label, steps = false) {
  const [width, height] = [240, 90];
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img" });
  plot.setAttribute("aria-label", label);
  plot.append(svg("rect", { x: 0, y: 0, width, height, rx: 3, class: "frame" }));
  const count = values.length / features;
  let [low, high] = [form.low, form.high];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  for (let feature = 0; feature < features; feature++) {
    const points = [];
    for (let i = 0; i < count; i++) {
      const value = values[i * features + feature];
      const y = 3 + (height - 6) * (1 - (value - low) / Math.max(high - low, 1e-12));
      const [x0, x1] = [(width * i) / count, (width * (i + 1)) / count];
      if (Number.isNaN(value)) continue;
      if (steps) points.push(`${x0},${y} ${x1},${y}`);
      else points.push(`${((count > 1 ? i / (count - 1) : 0.5) * width).toFixed(2)},${y.toFixed(2)}`);
    }
    plot.append(svg("polyline", {
      points: points.join(" "), class: "line", stroke: colorOf(feature) }));
  }
  return plot;
}

// ---------------------------------------------------------------- sound

function drawWave(form, example, size, label) {
  const plot = drawLines(form, example, 1, label);
  if (size < 150) return plot;
  const audio = element("audio", { controls: true, "aria-label": `${label}, as sound` });
  audio.src = URL.createObjectURL(makeWaveFile(example.values, form.rate));
  sounds.push(audio.src);
  if (sounds.length > MOST_SOUNDS) URL.revokeObjectURL(sounds.shift());
  return element("div", { class: "things" }, plot, audio);
}

// Make a WAV file of 16-bit samples. Values beyond -1 and 1 make all of it quieter.
function makeWaveFile(values, rate) {
  const data = new DataView(new ArrayBuffer(44 + 2 * values.length));
  const write = (place, text) => {
    for (let i = 0; i < text.length; i++) data.setUint8(place + i, text.charCodeAt(i));
  };
  write(0, "RIFF");
  data.setUint32(4, 36 + 2 * values.length, true);
  write(8, "WAVEfmt ");
  data.setUint32(16, 16, true);
  data.setUint16(20, 1, true);
  data.setUint16(22, 1, true);
  data.setUint32(24, rate, true);
  data.setUint32(28, 2 * rate, true);
  data.setUint16(32, 2, true);
  data.setUint16(34, 16, true);
  write(36, "data");
  data.setUint32(40, 2 * values.length, true);
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  values.forEach((value, i) => data.setInt16(44 + 2 * i, (32767 * value) / most, true));
  return new Blob([data], { type: "audio/wav" });
}

// ---------------------------------------------------------------- figures of a model's own views

export function drawFigure(figure, size = 240) {
  const box = element("div");
  if (figure.name) box.append(element("h3", {}, figure.name));
  if (figure.kind === "text") box.append(element("p", {}, figure.text));
  if (figure.kind === "bars") box.append(drawBars(figure.names, figure.values));
  if (figure.kind === "data") {
    for (const example of splitPart(figure.values)) {
      box.append(drawPart(figure.form, example, size, figure.name));
    }
  }
  if (figure.kind === "table") {
    const table = element("table");
    figure.rows.forEach((row, i) => {
      table.append(element("tr", {}, element("th", { scope: "row" }, String(i)),
        ...row.map((cell) => element("td", {}, cell))));
    });
    box.append(element("div", { class: "scroll" }, table));
  }
  return box;
}
