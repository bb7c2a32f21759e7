// transformers.js in Node, with default settings: its pipeline for single texts, its model for pairs and regression.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { unbatchedAndBatched } from './batching.mjs';
import { readJob, report } from './job.mjs';

const job = await readJob();
const library = path.join(job.environment, 'node_modules/@huggingface/transformers');
const transformers = await import(pathToFileURL(path.join(library, 'dist/transformers.node.mjs')));
const { env, pipeline, AutoTokenizer, AutoModelForSequenceClassification } = transformers;
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = path.dirname(job.bundle) + '/';
const name = path.basename(job.bundle);

async function makeRun() {
  if (job.pairs === null && !job.is_regression) {
    const classify = await pipeline('text-classification', name);
    return async (rows) => {
      const outputs = await classify(rows.map(([text]) => text), { top_k: null });
      return outputs.map((scores) => job.labels.map((label) => scores.find((each) => each.label === label).score));
    };
  }
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForSequenceClassification.from_pretrained(name);
  return async (rows) => {
    const second = job.pairs === null ? {} : { text_pair: rows.map(([, pair]) => pair) };
    const options = { ...second, padding: true, truncation: true, return_token_type_ids: true };
    const { logits } = await model(tokenizer(rows.map(([text]) => text), options));
    return job.is_regression ? logits.tolist() : logits.softmax(-1).tolist();
  };
}

await report(async () => {
  const run = await makeRun();
  const rows = job.texts.map((text, index) => [text, job.pairs?.[index]]);
  return { ...(await unbatchedAndBatched(rows, job.batch_size, run)), version: env.version };
});
