// Reads a job, and prints its result or its error.
import fs from 'node:fs';

export const readJob = async () => JSON.parse(fs.readFileSync(0, 'utf-8'));

export async function report(run) {
  let result;
  try {
    result = await run();
  } catch (error) {
    result = { error: String(error?.message ?? error).split('\n')[0] };
  }
  process.stdout.write('\n' + JSON.stringify(result) + '\n', () => process.exit(0));
}
