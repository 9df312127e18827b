// The plane of two dimensions of the code, or of its two main axes, in which a click decodes.

import { colorOf, element } from "./drawing.js";

const find = (id) => document.getElementById(id);
const MARGIN = 10;

export function makePlane(app) {
  const { code, examples } = app.state;
  const width = code.shape.reduce((a, b) => a * b, 1);
  if (code.kind !== "vector" || width < 2) return;
  find("plane-panel").hidden = false;
  const canvas = find("plane");
  const context = canvas.getContext("2d");
  const back = element("canvas");
  [back.width, back.height] = [canvas.width, canvas.height];
  let ink = "";
  const choose = ["horizontal", "vertical"].map((name, i) => {
    const select = element("select", { id: `plane-${name}` });
    if (code.plane && !i) select.append(element("option", { value: "pca" }, "PCA"));
    for (const each of code.dimensions) {
      select.append(element("option", { value: each.index }, `z[${each.name}]`));
    }
    find("plane-controls").append(element("label", {}, i ? "by" : "axes", select));
    select.addEventListener("change", () => redraw());
    return select;
  });
  choose[1].selectedIndex = 1;
  const usesPca = () => choose[0].value === "pca";

  // The two coordinates of a code in the plane.
  const project = (z) => {
    if (!usesPca()) return choose.map((select) => z[Number(select.value)]);
    return code.plane.axes.map((axis) => axis.reduce(
      (sum, part, i) => sum + part * (z[i] - code.plane.center[i]), 0));
  };

  // The code at two coordinates. Other dimensions keep their values, or in the PCA, their means.
  const lift = (place) => {
    if (usesPca()) {
      return code.plane.center.map((mean, i) => mean + place[0] * code.plane.axes[0][i]
        + place[1] * code.plane.axes[1][i]);
    }
    const z = [...app.code];
    choose.forEach((select, i) => { z[Number(select.value)] = place[i]; });
    return z;
  };

  let points = [], limits = [[-1, 1], [-1, 1]];
  const classes = [...new Set(examples.labels || [])].sort();
  const colorOfClass = new Map(classes.map((name, i) => [name, colorOf(i)]));

  function redraw() {
    choose[1].parentElement.hidden = usesPca();
    const count = examples.count || 0;
    points = Array.from({ length: count }, (_, i) => project(app.codeOf(i)));
    limits = [0, 1].map((axis) => {
      let [low, high] = [Infinity, -Infinity];
      for (const point of points) {
        [low, high] = [Math.min(low, point[axis]), Math.max(high, point[axis])];
      }
      if (!usesPca()) {
        const each = code.dimensions.find((d) => d.index === Number(choose[axis].value));
        [low, high] = [Math.min(low, each.low), Math.max(high, each.high)];
      }
      const edge = 0.04 * (high - low || 1);
      return [low - edge, high + edge];
    });
    find("plane-note").textContent = usesPca()
      ? "Two main axes of the codes. A click decodes there; the other axes have their mean."
      : "A click decodes there; all other dimensions keep their values.";
    paintPoints();
  }

  const toPixel = (place) => place.map((value, axis) => {
    const share = (value - limits[axis][0]) / (limits[axis][1] - limits[axis][0]);
    const size = axis ? canvas.height : canvas.width;
    return MARGIN + (axis ? 1 - share : share) * (size - 2 * MARGIN);
  });
  const toPlace = (pixel) => pixel.map((value, axis) => {
    const size = axis ? canvas.height : canvas.width;
    const share = (value - MARGIN) / (size - 2 * MARGIN);
    return limits[axis][0] + (axis ? 1 - share : share) * (limits[axis][1] - limits[axis][0]);
  });

  const color = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  // The points are painted once, because the mark moves with every slider.
  function paintPoints() {
    const context = back.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = color("--line");
    const zero = toPixel([0, 0]);
    context.beginPath();
    context.moveTo(zero[0], 0);
    context.lineTo(zero[0], canvas.height);
    context.moveTo(0, zero[1]);
    context.lineTo(canvas.width, zero[1]);
    context.stroke();
    context.globalAlpha = 0.75;
    points.forEach((point, i) => {
      const [x, y] = toPixel(point);
      context.fillStyle = colorOfClass.get(examples.labels?.[i]) || color("--soft");
      context.beginPath();
      context.arc(x, y, 2.6, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    ink = color("--text");
    paint();
  }

  function paint() {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(back, 0, 0);
    const [x, y] = toPixel(project(app.code));
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, 6, 0, 7);
    context.moveTo(x - 10, y);
    context.lineTo(x + 10, y);
    context.moveTo(x, y - 10);
    context.lineTo(x, y + 10);
    context.stroke();
    context.lineWidth = 1;
  }

  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    app.setCode(lift(toPlace([(event.clientX - box.left) * canvas.width / box.width,
      (event.clientY - box.top) * canvas.height / box.height])));
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const place = project(app.code);
    app.setCode(lift(place.map((value, axis) => value
      + step[axis] * (limits[axis][1] - limits[axis][0]) / 40)));
  });
  if (classes.length > 1 && classes.length <= 10) {
    const legend = element("p", { class: "note" });
    for (const name of classes) {
      const mark = element("span", {}, "● ");
      mark.style.color = colorOfClass.get(name);
      legend.append(mark, `${name} `);
    }
    find("plane-panel").append(legend);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintPoints);
  app.listeners.push({ origin: canvas, update: paint });
  // The first code is not set yet.
  app.code = code.start;
  redraw();
}
