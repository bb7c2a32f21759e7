// Runs in the page: transformers.js.
import { unbatchedAndBatched } from './batching.mjs';
import { makeRun } from './transformers_run.mjs';

export default async function (job) {
  const transformers = await import('/packages/@huggingface/transformers/dist/transformers.min.js');
  const { env } = transformers;
  env.allowLocalModels = true;
  env.allowRemoteModels = false;
  env.localModelPath = '/models/';
  env.backends.onnx.wasm.wasmPaths = '/packages/onnxruntime-web/dist/';
  const run = await makeRun(transformers, job.name, job);
  const rows = job.texts.map((text, index) => [text, job.pairs?.[index]]);
  return { ...(await unbatchedAndBatched(rows, job.batch_size, run)), version: env.version };
}
