// Batches, their inputs and their outputs, in Node and in a page.

export function* batches(rows, size) {
  for (let start = 0; start < rows.length; start += size) yield rows.slice(start, start + size);
}

// The inputs of a batch, padded: for each name, the shape and the values.
export function padded(rows, names, pad) {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  const fill = (row, value) => row.concat(Array(length - row.length).fill(value));
  const all = {
    input_ids: rows.flatMap(({ ids }) => fill(ids, pad)),
    attention_mask: rows.flatMap(({ ids }) => fill(ids.map(() => 1), 0)),
    token_type_ids: rows.flatMap(({ types }) => fill(types, 0)),
  };
  return Object.fromEntries(names.map((name) => [name, { dims: [rows.length, length], values: all[name] }]));
}

// One row of logits per text.
export function rowsOf(logits, numRows) {
  const values = Array.from(logits), width = values.length / numRows;
  return Array.from({ length: numRows }, (_, row) => values.slice(row * width, (row + 1) * width));
}

// Each row on its own, then the rows in padded batches. `run`: from rows to one output per row.
export async function unbatchedAndBatched(rows, size, run) {
  const unbatched = [], batched = [];
  for (const row of rows) unbatched.push(...(await run([row])));
  for (const batch of batches(rows, size)) batched.push(...(await run(batch)));
  return { unbatched, batched };
}

// From rows of tokens to logits, with a session of onnxruntime-node or onnxruntime-web.
export function tokenRunner(ort, session, job) {
  return async (rows) => {
    const inputs = Object.entries(padded(rows, job.inputs, job.pad)).map(([name, { dims, values }]) => [
      name, new ort.Tensor('int64', BigInt64Array.from(values.map(BigInt)), dims),
    ]);
    return rowsOf((await session.run(Object.fromEntries(inputs))).logits.data, rows.length);
  };
}
