// The page: loads the bundles, repeats their golden examples, and classifies what is typed.
import { Card, megabytes, median, percent, small } from './card.js';
import { best, repeatGolden } from './golden.js';
import { Model } from './model.js';
import { keepCopy } from './offline.js';

const WAIT_MS = 120; // after a key, before the text is classified
const SETTLED_MS = 1000; // before a screen reader is told
const MEMORY_EVERY_MS = 30_000;
const LONGEST_EXAMPLE = 300; // characters
const element = (id) => document.getElementById(id);
const entries = []; // {bundle, model, card, output, isLoaded}
let timer, announcing, isRunning = false, isStale = false, nextExample = 0;

async function start() {
  const listing = await (await fetch('bundles.json')).json();
  setUp(listing);
  for (const entry of entries) await prepare(entry, librariesOf(listing));
  element('offline').textContent = entries.every(({ isLoaded }) => isLoaded)
    ? await keepCopy(listing.paths)
    : 'This page needs its server, because a bundle could not be loaded.';
  showPageMemory();
}

function setUp({ bundles, versions }) {
  const titles = titlesOf(bundles);
  for (const [index, bundle] of bundles.entries()) {
    bundle.title = titles[index];
    entries.push({ bundle, model: new Model(bundle), card: new Card(bundle, element('cards')) });
  }
  if (new Set(bundles.map(({ name }) => name)).size === 1) element('title').textContent = bundles[0].name;
  document.title = `${titles.join(' and ')} – PocketBERT demo`;
  element('versions').textContent = Object.entries(versions).map((pair) => pair.join(' ')).join(', ');
  element('second-field').hidden = !bundles[0].takesPairs;
  if (bundles[0].takesPairs) element('first-label').textContent = 'First text';
  for (const field of fields()) field.addEventListener('input', later); // also while an input method composes
  element('clear').addEventListener('click', () => setTexts(fields().map(() => '')));
  element('example').addEventListener('click', showExample);
  element('example').disabled = !examples().length;
}

// The variants, with more of the origin if that is not enough to tell two bundles apart.
function titlesOf(bundles) {
  const choices = [
    bundles.map(({ variant }) => variant),
    bundles.map(({ name, variant }) => `${name} ${variant}`),
    bundles.map(({ folder, variant }) => `${folder} ${variant}`),
    bundles.map(({ variant }, index) => `${index + 1}: ${variant}`),
  ];
  return choices.find((titles) => new Set(titles).size === titles.length);
}

async function prepare(entry, libraries) {
  const { bundle, model, card } = entry;
  try {
    card.showGolden('waiting', 'Loading the model');
    card.showMemory((await model.load(libraries)).heapBytes);
    entry.isLoaded = true;
    classify();
    const result = await repeatGolden(model, (done, total) =>
      card.showGolden('waiting', `Repeating golden example ${done + 1} of ${total}`));
    const line = goldenLine(result, bundle);
    card.showGolden(result.hasPassed ? 'passed' : 'failed', line);
    element('announcement').textContent = `${bundle.title}: ${line}`;
  } catch (error) {
    card.showGolden('failed', 'The golden examples could not be repeated.');
    card.showProblem(error.message);
  }
}

function librariesOf({ paths }) {
  const folderOf = (file) => paths.find((path) => path.endsWith(file)).slice(0, -file.length);
  return { runtime: folderOf('dist/ort.wasm.min.mjs'), tokenizers: folderOf('lib/index.js') };
}

function goldenLine({ total, changedLabels, overTolerance, largestLogit, largestAnswer }, bundle) {
  if (!total) return 'The bundle has no golden examples.';
  const isRegression = bundle.taskType === 'regression';
  const failures = [
    changedLabels ? `Another label in ${changedLabels} of ${total} golden examples` : '',
    overTolerance ? `More than the tolerance in ${overTolerance} of ${total} golden examples` : '',
  ].filter(Boolean);
  const outcome = failures.join('. ') || `${total} golden examples repeated${isRegression ? '' : ', all with the same label'}`;
  const limit = bundle.logitTolerance === null
    ? 'This bundle states no tolerance'
    : `logits: ${small(largestLogit)}, tolerance ${small(bundle.logitTolerance)}`;
  return `${outcome}. Largest difference of ${isRegression ? 'values' : 'probabilities'}: ${small(largestAnswer)}; ${limit}.`;
}

function fields() {
  return entries[0].bundle.takesPairs ? [element('first'), element('second')] : [element('first')];
}

function later() {
  element('cards').setAttribute('aria-busy', 'true');
  clearTimeout(timer);
  timer = setTimeout(classify, WAIT_MS);
}

// Classifies the present text with each bundle in turn. A newer text comes next, and texts between them are left out.
async function classify() {
  clearTimeout(timer);
  element('cards').setAttribute('aria-busy', 'true');
  isStale = true;
  if (isRunning) return;
  isRunning = true;
  while (isStale) {
    isStale = false;
    const texts = fields().map((field) => field.value);
    for (const entry of entries.filter(({ isLoaded }) => isLoaded)) {
      if (!isStale) await show(entry, texts);
    }
    if (!isStale) showComparison();
  }
  isRunning = false;
  element('cards').setAttribute('aria-busy', 'false');
  clearTimeout(announcing);
  announcing = setTimeout(announce, SETTLED_MS);
}

async function show(entry, texts) {
  entry.output = null;
  if (texts.every((text) => !text)) return entry.card.showNothing();
  try {
    const output = await entry.model.classify(texts);
    if (isStale) return;
    entry.output = output;
    entry.card.showOutput(output);
  } catch (error) {
    entry.card.showProblem(error.message);
  }
}

function showComparison() {
  const line = element('comparison');
  const [one, other] = entries;
  line.hidden = !(one?.output && other?.output);
  if (line.hidden) return;
  const times = entries.map(({ card }) => median(card.latencies));
  const [slow, fast] = times[0] >= times[1] ? [0, 1] : [1, 0];
  const ratio = times[slow] / times[fast];
  const speed = ratio < 1.05
    ? 'Both take the same time.'
    : `${entries[slow].bundle.title} takes ${ratio.toPrecision(2)} times as long as ${entries[fast].bundle.title}.`;
  line.textContent = `${agreement(one, other)} ${speed}`;
}

function agreement(one, other) {
  const [labels, otherLabels] = [one.bundle.labels, other.bundle.labels];
  if (JSON.stringify(labels) !== JSON.stringify(otherLabels)) return 'The bundles have different labels.';
  const difference = Math.max(...one.output.answers.map((value, label) => Math.abs(value - other.output.answers[label])));
  if (one.bundle.taskType === 'regression') return `The values differ by ${small(difference)}.`;
  const isSame = best(one.output.answers) === best(other.output.answers);
  return `${isSame ? 'The same label.' : 'Different labels.'} Probabilities differ by at most ${percent(difference)}.`;
}

// One sentence per bundle for screen readers, once the text stays as it is.
function announce() {
  const sentences = entries.filter(({ output }) => output).map(({ bundle, output }) => {
    if (bundle.taskType === 'regression') return `${bundle.title}: ${output.answers[0].toFixed(3)}`;
    const label = best(output.answers);
    return `${bundle.title}: ${bundle.labels[label]}, ${percent(output.answers[label])}`;
  });
  if (entries.some(({ output }) => output?.isTruncated)) sentences.push('The text is truncated');
  if (sentences.length) element('announcement').textContent = `${sentences.join('. ')}.`;
}

function examples() {
  return entries[0].bundle.golden
    .map(({ text, pair }) => (pair === null ? [text] : [text, pair]))
    .filter((texts) => texts.every((text) => text && text.length <= LONGEST_EXAMPLE));
}

function showExample() {
  setTexts(examples()[nextExample++ % examples().length]);
}

function setTexts(texts) {
  fields().forEach((field, index) => (field.value = texts[index]));
  classify();
}

// Memory of the whole page, where the browser reports it.
async function showPageMemory() {
  if (!crossOriginIsolated || !performance.measureUserAgentSpecificMemory) return;
  try {
    const { bytes } = await performance.measureUserAgentSpecificMemory();
    element('page-memory').textContent = `This page uses ${megabytes(bytes)} in total.`;
    setTimeout(showPageMemory, MEMORY_EVERY_MS);
  } catch {
    element('page-memory').textContent = '';
  }
}

start().catch((error) => {
  element('comparison').hidden = false;
  element('comparison').textContent = `The page could not be loaded: ${error.message}`;
});
