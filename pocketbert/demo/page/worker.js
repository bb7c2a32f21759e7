// A bundle, in a thread of its own: loads it once, then answers each message with the output for a text, or two.
// Its WASM memory is that of this bundle alone.
import { makeEncoder } from './encoding.js';
import { keepFile } from './offline.js';

const MOST_CHARACTERS = 2_000_000; // as in predict.py
const memories = new Set();
let settings, encode, session, ort;

watchMemories();
self.addEventListener('message', async ({ data: { id, action, payload } }) => {
  try {
    self.postMessage({ id, result: await { load, classify }[action](payload) });
  } catch (error) {
    self.postMessage({ id, error: messageOf(error) });
  }
});

async function load({ bundle, libraries }) {
  settings = bundle;
  const [runtime, , model, vocabulary] = await Promise.all([
    import(`${libraries.runtime}dist/ort.wasm.min.mjs`),
    import(`${libraries.tokenizers}lib/index.js`), // defines a global
    checkedFile(bundle.model.sha256),
    checkedFile(bundle.tokenizer.sha256),
  ]);
  ort = runtime;
  ort.env.wasm.numThreads = 1; // the same for every bundle and browser
  ort.env.wasm.wasmPaths = {
    mjs: `${libraries.runtime}dist/ort-wasm-simd-threaded.mjs`,
    wasm: `${libraries.runtime}dist/ort-wasm-simd-threaded.wasm`,
  };
  encode = await makeEncoder(self.tokenizers.Tokenizer, vocabulary, settings);
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ['wasm'] });
  return { heapBytes: heapBytes() };
}

async function classify(texts) {
  texts.forEach(checkText);
  const start = performance.now();
  const inputs = encode(texts);
  if (!inputs.ids.length) throw new Error('the text has no tokens');
  if (settings.vocabularySize && Math.max(...inputs.ids) >= settings.vocabularySize) {
    throw new Error(`tokenizer.json gives a token id that the model does not have; it has ${settings.vocabularySize}`);
  }
  const values = { input_ids: inputs.ids, attention_mask: inputs.ids.map(() => 1), token_type_ids: inputs.types };
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, tensorOf(values[name])]));
  const { logits } = await session.run(feeds, ['logits']);
  if (logits.data instanceof Uint16Array) throw new Error('this browser reads no half precision; use the variant fp32');
  const row = Array.from(logits.data, Number);
  const milliseconds = performance.now() - start;
  if (row.length !== settings.labels.length) {
    throw new Error(`the model has ${row.length} outputs; bundle.json names ${settings.labels.length}`);
  }
  if (!row.every(Number.isFinite)) throw new Error('the model computes no finite numbers for this text');
  return {
    logits: row,
    answers: settings.taskType === 'regression' ? row : softmax(row),
    numTokens: inputs.ids.length,
    isTruncated: inputs.isTruncated,
    milliseconds,
    heapBytes: heapBytes(),
  };
}

// A file that is exactly the one of the bundle, also if it comes from the browser's own copy.
async function checkedFile(sha256) {
  const path = `files/${sha256}`;
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`a file of the bundle could not be loaded (${answer.status})`);
  const content = await answer.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  if (Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('') !== sha256) {
    throw new Error('a file of the bundle has changed since the server was started; start it again');
  }
  await keepFile(path, content);
  return content;
}

const tensorOf = (values) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);

function checkText(text) {
  const length = [...text].length;
  if (length > MOST_CHARACTERS) {
    throw new Error(`the text has ${length.toLocaleString('en')} characters; expected at most 2,000,000`);
  }
  if (text.isWellFormed?.() === false) throw new Error('the text holds half of a surrogate pair');
}

function softmax(row) {
  const largest = Math.max(...row);
  const exponentials = row.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

// The libraries make their memories themselves: one with the constructor, the other one exports it.
function watchMemories() {
  const { Memory, instantiate, instantiateStreaming } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(...options) {
      super(...options);
      memories.add(this);
    }
  };
  const watched = (original) => async (...options) => {
    const result = await original.apply(WebAssembly, options);
    for (const value of Object.values((result.instance ?? result).exports ?? {})) {
      if (value instanceof Memory) memories.add(value);
    }
    return result;
  };
  WebAssembly.instantiate = watched(instantiate);
  if (instantiateStreaming) WebAssembly.instantiateStreaming = watched(instantiateStreaming);
}

const heapBytes = () => [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);

function messageOf(error) {
  const message = String(error?.message ?? error).split('\n')[0];
  return /^\d+$/.test(message) ? `the model does not run in WASM, or memory is short (${message})` : message;
}
