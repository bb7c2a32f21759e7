// The page's side of a worker: a request is a promise of its result. All workers share one queue, so that they do not
// slow each other down: a latency is that of a bundle alone.

let queue = Promise.resolve();

export class Model {
  constructor(bundle) {
    this.bundle = bundle;
    this.waiting = new Map();
    this.nextId = 0;
    this.worker = new Worker('worker.js', { type: 'module' });
    this.worker.addEventListener('message', ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this.worker.addEventListener('error', (event) => {
      this.failure = new Error(event.message || 'worker.js could not be loaded');
      for (const { reject } of this.waiting.values()) reject(this.failure);
      this.waiting.clear();
    });
  }

  load(libraries) {
    return this.ask('load', { bundle: this.bundle, libraries });
  }

  classify(texts) {
    return this.ask('classify', texts);
  }

  ask(action, payload) {
    const answer = queue.then(() => new Promise((resolve, reject) => {
      if (this.failure) throw this.failure;
      const id = this.nextId++;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, action, payload });
    }));
    queue = answer.catch(() => {});
    return answer;
  }
}
