// How variants run in onnxruntime-web (WASM, one thread): times as fast as the first, and how far from onnxruntime.
// npm i onnxruntime-web@1.30.0; python answers.py BUNDLE... < texts.txt > answers.json; node browser.mjs answers.json
import fs from 'fs';
import * as ort from 'onnxruntime-web';

const ROUNDS = 20, CALLS = 5, T_95 = 2.09; // Student's t of 19 degrees of freedom
ort.env.wasm.numThreads = 1;
const { ids, logits } = JSON.parse(fs.readFileSync(process.argv[2]));
const bundles = Object.keys(logits), sessions = {}, milliseconds = {}, far = {}, flips = {};

const column = (row) => new ort.Tensor('int64', BigInt64Array.from(row.map(BigInt)), [1, row.length]);
const median = (values) => values.slice().sort((a, b) => a - b)[values.length >> 1];
const argmax = (values) => values.indexOf(Math.max(...values));

async function answer(bundle, row) {
  const all = { input_ids: row, attention_mask: row.map(() => 1), token_type_ids: row.map(() => 0) };
  const feeds = Object.fromEntries(sessions[bundle].inputNames.map((name) => [name, column(all[name])]));
  return Array.from((await sessions[bundle].run(feeds)).logits.data);
}

for (const bundle of bundles) {
  const file = fs.readFileSync(`${bundle}/onnx/model.onnx`);
  sessions[bundle] = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] });
  milliseconds[bundle] = [];
  far[bundle] = flips[bundle] = 0;
  for (const [index, row] of ids.entries()) {
    const found = await answer(bundle, row), expected = logits[bundle][index];
    far[bundle] = Math.max(far[bundle], ...found.map((value, place) => Math.abs(value - expected[place])));
    flips[bundle] += argmax(found) !== argmax(expected);
  }
}
const tokens = Array.from({ length: 64 }, (_, index) => 1000 + 13 * index);
for (let round = 0; round < ROUNDS; round++) {
  for (const bundle of bundles.slice().sort(() => Math.random() - 0.5)) {
    await answer(bundle, tokens);
    const calls = [];
    for (let call = 0; call < CALLS; call++) {
      const started = performance.now();
      await answer(bundle, tokens);
      calls.push(performance.now() - started);
    }
    milliseconds[bundle].push(median(calls));
  }
}
for (const bundle of bundles) {
  const logs = milliseconds[bundle].map((value, round) => Math.log(milliseconds[bundles[0]][round] / value));
  const mean = logs.reduce((sum, value) => sum + value) / ROUNDS;
  const variance = logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (ROUNDS - 1);
  const half = T_95 * Math.sqrt(variance / ROUNDS);
  console.log(JSON.stringify({
    bundle, times: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half),
    median_ms: median(milliseconds[bundle]), largest_logit_difference: far[bundle], label_changes: flips[bundle],
  }));
}
