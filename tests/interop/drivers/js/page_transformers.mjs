// Runs in the page: transformers.js with default settings, on single texts.
import { unbatchedAndBatched } from './batching.mjs';

export default async function (job) {
  const { env, pipeline } = await import('/packages/@huggingface/transformers/dist/transformers.min.js');
  env.allowLocalModels = true;
  env.allowRemoteModels = false;
  env.localModelPath = '/models/';
  env.backends.onnx.wasm.wasmPaths = '/packages/onnxruntime-web/dist/';
  const classify = await pipeline('text-classification', job.name);
  const run = async (texts) => {
    const outputs = await classify(texts, { top_k: null });
    return outputs.map((scores) => job.labels.map((label) => scores.find((each) => each.label === label).score));
  };
  return { ...(await unbatchedAndBatched(job.texts, job.batch_size, run)), version: env.version };
}
