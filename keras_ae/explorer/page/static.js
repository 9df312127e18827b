// Runs the decoder in the browser, in place of a server.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { splitPart, toNumbers, unpackArray } from "./drawing.js";

// Several threads would need headers that a plain web site does not send.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = {
  wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };

const load = async (file) => {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`The file ${file} is missing.`);
  return answer;
};

const open = async (file) => ort.InferenceSession.create(
  new Uint8Array(await (await load(file)).arrayBuffer()));

export async function connect() {
  const state = await (await load("state.json")).json();
  const decoder = await open("decode.onnx");
  const { shape, kind } = state.code;
  const width = shape.reduce((a, b) => a * b, 1);

  // The named inputs of a session, one row for each code or example.
  const makeInputs = (session, given, count) => Object.fromEntries(state.inputs
    .filter((input) => session.inputNames.includes(input.name))
    .map((input) => {
      const values = given?.[input.name] ?? input.start;
      if (values.length !== input.size || !values.every(Number.isFinite)) {
        throw new Error(`${input.name} must have numbers, ${input.size} of them.`);
      }
      const [low, high] = input.limits ?? [-Infinity, Infinity];
      if (values.some((v) => v < low || v > high || (input.limits && !Number.isInteger(v)))) {
        throw new Error(`${input.name} must be an integer from ${low} to ${high}.`);
      }
      const rows = Array.from({ length: count }, () => values).flat();
      const sizes = input.shape.length ? [count, ...input.shape] : [count];
      return [input.name, input.limits ? new ort.Tensor("int32", Int32Array.from(rows), sizes)
        : new ort.Tensor("float32", Float32Array.from(rows), sizes)];
    }));

  const named = (session, found) => Object.fromEntries(state.modalities.map((name, i) => {
    const { dims, data } = found[session.outputNames[i]];
    return [name, { shape: dims, values: data }];
  }));

  const decode = async ({ codes, inputs }) => {
    const type = kind === "integers" ? "int32" : "float32";
    const flat = kind === "integers" ? Int32Array.from(codes.flat())
      : Float32Array.from(codes.flat());
    const z = new ort.Tensor(type, flat, [codes.length, ...shape]);
    const found = await decoder.run({ z, ...makeInputs(decoder, inputs, codes.length) });
    return { items: named(decoder, found) };
  };

  const interpolate = async ({ a, b, steps, spherical, inputs }) => {
    if (!Number.isInteger(steps) || steps < 2 || steps > 32) {
      throw new Error("Steps must be an integer from 2 to 32.");
    }
    const codes = Array.from({ length: steps }, (_, i) => {
      const share = i / (steps - 1);
      return spherical ? goAround(a, b, share) : a.map((v, j) => (1 - share) * v + share * b[j]);
    });
    return { codes, ...(await decode({ codes, inputs })) };
  };

  const sample = async ({ count, seed, temperature = 1, inputs }) => {
    const most = state.draws.length;
    const draws = state.draws[seed];
    if (!draws) throw new Error(`This page has draws of the seeds from 0 to ${most - 1}.`);
    const { shape: [stored], values } = unpackArray(draws);
    if (!Number.isInteger(count) || count < 1 || count > stored) {
      throw new Error(`This page has ${stored} draws of each seed. Choose a number up to it.`);
    }
    const codes = [];
    for (let i = 0; i < count; i++) codes.push([...values.subarray(i * width, (i + 1) * width)]);
    if (temperature !== 1) {
      const means = codes[0].map((_, j) => state.drawsMean[j]);
      for (const code of codes) code.forEach((v, j) => {
        code[j] = means[j] + temperature * (v - means[j]);
      });
    }
    return decode({ codes, inputs });
  };

  const backend = { state, decode, interpolate, sample };
  if (state.encodes) {
    const encoder = await open("encode.onnx");
    backend.look = async (given) => {
      const [form] = Object.values(state.forms);
      const size = form.shape.reduce((a, b) => a * b, 1);
      const example = given.values === undefined
        ? toNumbers(form, splitPart(Object.values(state.examples.items)[0])[given.example])
        : given.values;
      if (example.length !== size) {
        throw new Error(`${example.length} numbers were given, and an example has ${size}.`);
      }
      const values = Float32Array.from(example);
      const x = new ort.Tensor("float32", values, [1, ...form.shape]);
      const found = await encoder.run({ x, ...makeInputs(encoder, given.inputs, 1) });
      const code = Array.from(found[encoder.outputNames[0]].data, Number);
      const { items: copies } = await decode({ codes: [code], inputs: given.inputs });
      return { items: { "": { shape: [1, ...form.shape], values } }, copies, code };
    };
  }
  return backend;
}

// A point on the way along a great circle, whose length changes evenly.
function goAround(a, b, share) {
  const norm = (v) => Math.hypot(...v);
  const [from, to] = [norm(a), norm(b)];
  const cosine = a.reduce((sum, v, i) => sum + v * b[i], 0) / (from * to);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (!(sine > 1e-6)) return a.map((v, i) => (1 - share) * v + share * b[i]);
  const [left, right] = [Math.sin((1 - share) * angle) / sine / from,
    Math.sin(share * angle) / sine / to];
  const length = (1 - share) * from + share * to;
  return a.map((v, i) => length * (left * v + right * b[i]));
}
