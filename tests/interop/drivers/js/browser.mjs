// A page in headless Chromium: transformers.js with default settings, or an entry of onnxruntime-web.
// Everything comes from a server on localhost; the job's `page` is the script that the page runs.
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readJob, report } from './job.mjs';

const TYPES = { '.mjs': 'text/javascript', '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((file) => fs.existsSync(file));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-quic'];

const job = await readJob();
const require = createRequire(path.join(job.browser, 'package.json'));
const drivers = path.dirname(fileURLToPath(import.meta.url));
const folders = {
  '/drivers/': drivers + '/', '/packages/': path.join(job.environment, 'node_modules') + '/',
  '/models/': path.dirname(job.bundle) + '/',
};

function serve(request, response) {
  const url = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
  const [prefix, folder] = Object.entries(folders).find(([start]) => url.startsWith(start)) ?? [];
  const file = prefix && path.join(folder, path.normalize('/' + url.slice(prefix.length)));
  if (url === '/') return response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>x</title>');
  if (!file || !fs.existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  fs.createReadStream(file).pipe(response);
}

await report(async () => {
  if (!CHROMIUM) throw new Error('not tried: Chromium is not installed');
  const { chromium } = require('playwright-core');
  const server = http.createServer(serve);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return await page.evaluate(async ([script, job]) => {
      try {
        return await (await import(script)).default(job);
      } catch (error) {
        return { error: String(error?.message ?? error).split('\n')[0] };
      }
    }, [`/drivers/${job.page}`, { ...job, name: path.basename(job.bundle) }]);
  } finally {
    await browser.close();
    server.close();
  }
});
