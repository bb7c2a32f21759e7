// Starts `pocketbert demo`, opens its page in headless Chromium and reports what the page shows and asks for.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { readJob, report } from '../interop/drivers/js/job.mjs';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((file) => fs.existsSync(file));
const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-quic', '--disable-domain-reliability'];
const LOADING_MS = 120_000;
const SETTLED_MS = 1500;

const job = await readJob();
const require = createRequire(path.join(job.environment, 'package.json'));
const { chromium } = require('playwright-core');
const netLog = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'demo-')), 'net-log.json');

await report(async () => {
  if (!CHROMIUM) throw new Error('Chromium is not installed');
  const server = spawn(job.command[0], job.command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = (await firstLine(server)).split(' ')[0];
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...FLAGS, `--log-net-log=${netLog}`] });
  const result = { chromium: browser.version(), messages: [], accessibility: [] };
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(LOADING_MS);
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && result.messages.push(message.text()));
    page.on('pageerror', (error) => result.messages.push(error.message));
    await page.goto(url);
    await loaded(page);
    result.golden = await page.locator('.golden').evaluateAll((lines) => lines.map((line) => [line.dataset.state, line.textContent]));
    result.outputs = await page.evaluate(outputsOf, job.rows);
    result.encodings = await page.evaluate(encodingsOf, job.awkward);
    result.shown = [];
    for (const row of job.rows) result.shown.push(await shownFor(page, row));
    result.keyboard = await keyboard(page);
    for (const [width, height] of [[390, 844], [1400, 900]]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        await page.evaluate(() => document.activeElement.blur());
        if (job.pictures) await page.screenshot({ path: path.join(job.pictures, `${job.name}-${width}-${colorScheme}.png`), fullPage: true });
        result.accessibility.push({ width, colorScheme, violations: await violationsOf(page) });
        result.isTooWide ||= await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      }
    }
    server.kill('SIGTERM');
    result.serverExit = await new Promise((resolve) => server.once('exit', (code, signal) => resolve(code ?? signal)));
    result.withoutServer = await shownFor(page, job.rows[0]);
    await page.reload();
    await loaded(page);
    result.afterReload = await shownFor(page, job.rows[0]);
    result.isIsolated = await page.evaluate(() => crossOriginIsolated);
  } finally {
    server.kill('SIGKILL');
    await browser.close();
  }
  return { ...result, hosts: hostsIn(netLog) };
});

function firstLine(child) {
  return new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`pocketbert demo ended with ${code}`)));
  });
}

async function loaded(page) {
  await page.waitForFunction(() => {
    const lines = [...document.querySelectorAll('.golden')];
    return lines.length && lines.every((line) => line.dataset.state !== 'waiting') && document.getElementById('offline').textContent;
  });
}

// Types the texts, and reads the label and the share that each card shows.
async function shownFor(page, texts) {
  await page.locator('#first').fill(texts[0]);
  if (texts.length > 1) await page.locator('#second').fill(texts[1]);
  await page.waitForFunction(() => document.getElementById('cards').getAttribute('aria-busy') === 'false');
  return page.locator('.card').evaluateAll((cards) => cards.map((card) => ({
    label: card.querySelector('.best .label')?.textContent ?? card.querySelector('.value').textContent,
    share: card.querySelector('.best .share')?.textContent ?? null,
    isTruncated: !card.querySelector('.truncated').hidden,
    problem: card.querySelector('.problem').textContent,
  })));
}

// With all digits, through the page's own module.
async function outputsOf(rows) {
  const { Model } = await import('/pocketbert/model.js');
  const { bundles, paths } = await (await fetch('bundles.json')).json();
  const folderOf = (file) => paths.find((each) => each.endsWith(file)).slice(0, -file.length);
  const libraries = { runtime: folderOf('dist/ort.wasm.min.mjs'), tokenizers: folderOf('lib/index.js') };
  const outputs = [];
  for (const bundle of bundles) {
    const model = new Model(bundle);
    await model.load(libraries);
    const all = [];
    for (const texts of rows) all.push((await model.classify(texts)).answers);
    outputs.push(all);
    model.worker.terminate();
  }
  return outputs;
}

async function encodingsOf(rows) {
  const { makeEncoder } = await import('/pocketbert/encoding.js');
  const { bundles, paths } = await (await fetch('bundles.json')).json();
  await import(paths.find((each) => each.endsWith('lib/index.js')));
  const encodings = [];
  for (const bundle of bundles) {
    const vocabulary = await (await fetch(`files/${bundle.tokenizer.sha256}`)).arrayBuffer();
    const encode = await makeEncoder(globalThis.tokenizers.Tokenizer, vocabulary, bundle);
    encodings.push(rows.map((texts) => encode(texts)));
  }
  return encodings;
}

// Tab reaches each control in the order of the page, and Enter shows an example.
async function keyboard(page) {
  await page.evaluate(() => { document.activeElement.blur(); getSelection().removeAllRanges(); });
  const order = [];
  await page.locator('#first').focus();
  for (let step = 0; step < 4; step += 1) {
    order.push(await page.evaluate(() => document.activeElement.id));
    await page.keyboard.press('Tab');
  }
  await page.locator('#example').focus();
  await page.waitForTimeout(SETTLED_MS); // of the announcement for the text before
  await page.evaluate(() => { document.getElementById('announcement').textContent = ''; });
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.getElementById('cards').getAttribute('aria-busy') === 'false');
  await page.waitForFunction(() => document.getElementById('announcement').textContent);
  return { order, text: await page.inputValue('#first'), announcement: await page.textContent('#announcement') };
}

async function violationsOf(page) {
  await page.evaluate(fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf-8'));
  const { violations, incomplete } = await page.evaluate(() => axe.run({ resultTypes: ['violations', 'incomplete'] }));
  return [...violations, ...incomplete].map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
}

// The hosts that the page and its workers ask, from the browser's own log. The services of the browser have no origin.
function hostsIn(file) {
  const counts = {};
  for (const line of fs.readFileSync(file, 'utf-8').split('\n')) {
    const [, initiator] = line.match(/"initiator":"(\w+:[^"]*)"/) ?? [];
    const [, address] = line.match(/"url":"([^"]+)"/) ?? [];
    if (!initiator || !address) continue;
    const { hostname } = new URL(address);
    counts[hostname] = (counts[hostname] ?? 0) + 1;
  }
  return counts;
}
