// From one or two texts to the inputs of a model, as predict.py makes them.

// Returns a function of the texts. `Tokenizer`: of the library. `vocabulary`: the content of tokenizer.json.
export async function makeEncoder(Tokenizer, vocabulary, settings) {
  const tokenizer = await Tokenizer.fromJSON(withoutOwnSettings(vocabulary, settings));
  return (texts) => modelInputs(texts.map((text) => Array.from(tokenizer.encode(text))), settings);
}

// predict.py sets truncation and padding itself. It may split special tokens in a text like other words.
function withoutOwnSettings(vocabulary, { splitSpecialTokens }) {
  const content = JSON.parse(new TextDecoder().decode(vocabulary));
  content.truncation = null;
  content.padding = null;
  if (splitSpecialTokens) content.added_tokens = content.added_tokens.filter((token) => !token.special);
  return new TextEncoder().encode(JSON.stringify(content)).buffer;
}

// How many tokens of each text stay. With two texts, the longer one loses tokens first.
// The rule is that of the library tokenizers, "longest first", for lengths without special tokens.
export function keptLengths(lengths, budget) {
  if (lengths.reduce((sum, length) => sum + length, 0) <= budget) return lengths;
  if (lengths.length === 1) return [budget];
  const isSwapped = lengths[0] > lengths[1];
  let [shorter, longer] = isSwapped ? [lengths[1], lengths[0]] : lengths;
  longer = shorter > budget ? shorter : Math.max(shorter, budget - shorter);
  if (shorter + longer > budget) {
    shorter = Math.floor(budget / 2);
    longer = shorter + (budget % 2);
  }
  return isSwapped ? [longer, shorter] : [shorter, longer];
}

// `sequences`: the token ids of each text, without special tokens. `settings`: of the bundle.
export function modelInputs(sequences, settings) {
  const numSpecial = settings.template.reduce((sum, part) => sum + (part.ids?.length ?? 0), 0);
  const kept = keptLengths(sequences.map((ids) => ids.length), settings.maxLength - numSpecial);
  const cut = sequences.map((ids, index) =>
    settings.truncationSide === 'left' ? ids.slice(ids.length - kept[index]) : ids.slice(0, kept[index]));
  const ids = [], types = [];
  for (const part of settings.template) {
    const added = part.ids ?? cut[part.sequence];
    ids.push(...added);
    types.push(...(part.types ?? added.map(() => part.type)));
  }
  return { ids, types, isTruncated: sequences.some((sequence, index) => sequence.length > cut[index].length) };
}
