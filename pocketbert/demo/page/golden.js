// Repeats the golden examples of a bundle, as `pocketbert verify` does.

// Returns the counts and the largest differences. `report` is called with (done, total).
// A bundle of version 0.5.0 or older has no logits and no tolerance; then only labels count.
export async function repeatGolden(model, report) {
  const { golden, logitTolerance, taskType } = model.bundle;
  const result = { total: golden.length, changedLabels: 0, overTolerance: 0, largestLogit: 0, largestAnswer: 0 };
  for (const [index, example] of golden.entries()) {
    report(index, golden.length);
    const output = await model.classify(example.pair === null ? [example.text] : [example.text, example.pair]);
    const answer = largestDifference(output.answers, example.probabilities);
    const logit = example.logits.length ? largestDifference(output.logits, example.logits) : 0;
    result.largestAnswer = Math.max(result.largestAnswer, answer);
    result.largestLogit = Math.max(result.largestLogit, logit);
    if (taskType !== 'regression' && best(output.answers) !== best(example.probabilities)) result.changedLabels += 1;
    if (logitTolerance !== null && !(Math.max(answer, logit) <= logitTolerance)) result.overTolerance += 1;
  }
  return { ...result, hasPassed: !result.changedLabels && !result.overTolerance };
}

export const best = (values) => values.indexOf(Math.max(...values));

const largestDifference = (one, other) => Math.max(...one.map((value, index) => Math.abs(value - other[index])));
