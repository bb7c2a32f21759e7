// transformers.js in Node.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { unbatchedAndBatched } from './batching.mjs';
import { readJob, report } from './job.mjs';
import { makeRun } from './transformers_run.mjs';

const job = await readJob();
const library = path.join(job.environment, 'node_modules/@huggingface/transformers/dist/transformers.node.mjs');
const transformers = await import(pathToFileURL(library));
const { env } = transformers;
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = path.dirname(job.bundle) + '/';

await report(async () => {
  const run = await makeRun(transformers, path.basename(job.bundle), job);
  const rows = job.texts.map((text, index) => [text, job.pairs?.[index]]);
  return { ...(await unbatchedAndBatched(rows, job.batch_size, run)), version: env.version };
});
