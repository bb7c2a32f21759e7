// A session of onnxruntime-node with no option, on the tokens of predict.py.
import { createRequire } from 'node:module';
import path from 'node:path';
import { tokenRunner, unbatchedAndBatched } from './batching.mjs';
import { readJob, report } from './job.mjs';

const job = await readJob();
const require = createRequire(path.join(job.environment, 'package.json'));

await report(async () => {
  const ort = require('onnxruntime-node');
  const session = await ort.InferenceSession.create(path.join(job.bundle, 'onnx/model.onnx'));
  const outputs = await unbatchedAndBatched(job.tokens, job.batch_size, tokenRunner(ort, session, job));
  return { ...outputs, version: ort.env.versions.node };
});
