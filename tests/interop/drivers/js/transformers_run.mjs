// How transformers.js is used, in Node and in a page: its pipeline with default settings for single texts; its tokenizer
// and model for pairs and regression, which the pipeline gets wrong.

// From rows [text, second text or undefined] to one output per row: probabilities, or a regression's value.
export async function makeRun({ pipeline, AutoTokenizer, AutoModelForSequenceClassification }, name, job) {
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
    return job.is_regression ? logits.tolist() : softmax(logits.tolist());
  };
}

function softmax(rows) {
  return rows.map((row) => {
    const exponentials = row.map((value) => Math.exp(value - Math.max(...row)));
    const sum = exponentials.reduce((total, value) => total + value);
    return exponentials.map((value) => value / sum);
  });
}
