/**
 * Makes the pictures of the dashboard in docs/screenshots from a running service: the pages as they are, nothing staged
 * but the tasks that it posts itself.
 *
 *   npm start   (in another terminal, then)   node scripts/screenshots.ts <picture> <video>
 *
 * CHROMIUM names the browser where it is not /usr/bin/chromium. Use pictures that may be shown.
 */
import { mkdir, openAsBlob } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import sharp from 'sharp';
import { loadConfig } from '../src/config.ts';

const FOLDER = resolve(import.meta.dirname, '..', 'docs', 'screenshots');
const PICTURES = 40;

const config = loadConfig();
const web = `http://127.0.0.1:${config.web.port}`;
const dashboard = `http://127.0.0.1:${config.dashboard.port}`;

async function post(route: string, path: string, query = ''): Promise<string> {
  const form = new FormData();
  form.append('file', await openAsBlob(path), 'file');
  const response = await fetch(`${web}/api/detect/${route}${query}`, { method: 'POST', body: form });
  const { data } = (await response.json()) as { data: { task_id: string } };
  return data.task_id;
}

const [picture, video] = process.argv.slice(2);
if (picture === undefined || video === undefined) {
  console.error('usage: node scripts/screenshots.ts <picture> <video>');
  process.exit(2);
}

const first = await post('object/image', picture, '?wait=30');
for (let i = 0; i < PICTURES; i++) await post(i % 2 === 0 ? 'object/image' : 'face/image', picture, '?wait=10');
await post('object/video', video, '?frame_skip=1&annotate=false');
await sleep(3000);

await promisify(mkdir)(FOLDER, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
const pages = [
  ['overview', '/overview', 'light', 1280, 640],
  ['workers', '/workers', 'light', 1280, 340],
  ['task', `/tasks/${first}`, 'light', 1000, 700],
  ['overview-phone', '/overview', 'dark', 390, 780],
] as const;
for (const [name, path, colorScheme, width, height] of pages) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  await page.goto(dashboard + path);
  await page.locator('main h1').first().waitFor();
  await sleep(2500);
  const png = await page.screenshot();
  // A palette is enough for a page and keeps the repository small.
  await sharp(png)
    .png({ palette: true, colours: 64, dither: 0.1, effort: 10 })
    .toFile(join(FOLDER, `${name}.png`));
  await context.close();
}
await browser.close();
console.log(`Four pictures in ${FOLDER}.`);
