// Runs in the page: a session of onnxruntime-web from the job's entry, on the tokens of predict.py.
import { tokenRunner, unbatchedAndBatched } from './batching.mjs';

export default async function (job) {
  const ort = await import(`/packages/onnxruntime-web/dist/${job.entry}`);
  ort.env.wasm.wasmPaths = '/packages/onnxruntime-web/dist/';
  const options = { executionProviders: ['wasm'] };
  const session = await ort.InferenceSession.create(`/models/${job.name}/onnx/model.onnx`, options);
  const outputs = await unbatchedAndBatched(job.tokens, job.batch_size, tokenRunner(ort, session, job));
  return { ...outputs, version: ort.env.versions.web };
}
