// What the page shows of one bundle. Names, labels and messages are set as text, never as markup.
import { best } from './golden.js';

const MOST_BARS = 8; // of a model with more labels, the most probable ones
const MOST_LATENCIES = 20;
const template = document.getElementById('card');

export const percent = (share) => `${(100 * share).toFixed(1)}%`;
export const milliseconds = (time) => `${Number(time.toPrecision(3)).toLocaleString('en')} ms`;
export const small = (value) => (value < 0.0001 ? 'under 0.0001' : String(Number(value.toPrecision(2))));
export const megabytes = (bytes) => `${Number((bytes / 1e6).toPrecision(bytes < 1e8 ? 2 : 3)).toLocaleString('en')} MB`;

export function median(values) {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export class Card {
  constructor(bundle, parent) {
    this.bundle = bundle;
    this.latencies = [];
    this.element = template.content.cloneNode(true).firstElementChild;
    this.find('.name').textContent = bundle.title;
    this.find('.detail').textContent = `${bundle.name} · ${megabytes(bundle.model.bytes)}`;
    this.find('.name').id = `name-${parent.children.length}`;
    this.element.setAttribute('aria-labelledby', this.find('.name').id);
    this.showGolden('waiting', 'Waiting');
    parent.append(this.element);
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  showGolden(state, text) {
    const line = this.find('.golden');
    line.dataset.state = state;
    line.textContent = text;
  }

  showMemory(bytes) {
    this.find('.memory').textContent = bytes ? megabytes(bytes) : '–';
  }

  showProblem(text) {
    this.setVisible(null);
    this.find('.truncated').hidden = true;
    this.find('.problem').textContent = `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
    this.find('.problem').hidden = false;
  }

  showNothing() {
    this.find('.problem').hidden = true;
    this.find('.truncated').hidden = true;
    this.setVisible('.hint');
    for (const name of ['.last', '.tokens']) this.find(name).textContent = '–';
  }

  showOutput(output) {
    this.find('.problem').hidden = true;
    if (this.bundle.taskType === 'regression') {
      this.setVisible('.value');
      this.find('.value').textContent = `${this.bundle.labels[0]}: ${output.answers[0].toFixed(3)}`;
    } else {
      this.setVisible('.bars');
      this.showBars(output.answers);
    }
    const { maxLength, truncationSide } = this.bundle;
    const lost = truncationSide === 'left' ? 'beginning' : 'end';
    this.find('.truncated').hidden = !output.isTruncated;
    this.find('.truncated').textContent =
      `Truncated to ${maxLength} tokens: the model does not see the ${lost} of ${this.bundle.takesPairs ? 'both texts or of the longer one' : 'this text'}.`;
    this.latencies = [...this.latencies, output.milliseconds].slice(-MOST_LATENCIES);
    this.find('.last').textContent = milliseconds(output.milliseconds);
    this.find('.median').textContent = milliseconds(median(this.latencies));
    this.find('.median-title').textContent = `Median of ${this.latencies.length}`;
    this.find('.tokens').textContent = `${output.numTokens} of ${maxLength}`;
    this.showMemory(output.heapBytes);
  }

  setVisible(chosen) {
    for (const selector of ['.hint', '.bars', '.value']) this.find(selector).hidden = selector !== chosen;
  }

  showBars(answers) {
    const { labels } = this.bundle;
    let shown = labels.map((_, index) => index);
    if (shown.length > MOST_BARS) {
      shown = shown.sort((one, other) => answers[other] - answers[one]).slice(0, MOST_BARS);
    }
    const list = this.find('.bars');
    while (list.children.length < shown.length) list.append(newBar());
    shown.forEach((label, row) => {
      const bar = list.children[row];
      bar.classList.toggle('best', label === best(answers));
      bar.querySelector('.label').textContent = labels[label];
      bar.querySelector('.share').textContent = percent(answers[label]);
      bar.querySelector('.fill').style.width = percent(answers[label]);
    });
    const others = labels.length - shown.length;
    list.dataset.others = others ? `and ${others} other labels` : '';
  }
}

function newBar() {
  const bar = document.createElement('li');
  for (const [tag, name] of [['bdi', 'label'], ['span', 'share'], ['span', 'track']]) {
    const part = document.createElement(tag);
    part.className = name;
    bar.append(part);
  }
  const fill = document.createElement('span');
  fill.className = 'fill';
  bar.querySelector('.track').append(fill);
  return bar;
}
