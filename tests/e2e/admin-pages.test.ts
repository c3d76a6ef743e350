import { execFile } from 'node:child_process';
import { openAsBlob } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hashPassword } from '../../src/dashboard/password.ts';
import { beat, type Heartbeat, knownWorkers, signOff } from '../../src/queue/heartbeat.ts';
import { KEYS } from '../../src/queue/keys.ts';
import { getTask, taskIn } from '../support/api.ts';
import { type BrowserLogin, launchBrowser, type Opened, type TestBrowser } from '../support/browser.ts';
import { heartbeatOf } from '../support/heartbeats.ts';
import { type Home, makeHome, redisSocketOf, type Service, startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const DOG = sharedPath('data/samples/dog.jpg');
const HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';

const ada: BrowserLogin = { username: 'ada', password: 'admin pass' };
const eve: BrowserLogin = { username: 'eve', password: 'viewer pass' };

describe.skipIf(!requireShared())('the pages of the dashboard', () => {
  let home: Home;
  let service: Service;
  let browser: TestBrowser;
  let redis: Redis;
  let base: string;

  beforeAll(async () => {
    const [admin, viewer] = await Promise.all([hashPassword(ada.password), hashPassword(eve.password)]);
    home = await makeHome({ WORKER_CONCURRENCY: '1', DASHBOARD_USERS: `ada:admin:${admin},eve:viewer:${viewer}` });
    service = await startService({ home });
    base = service.dashboardUrl;
    redis = new Redis({ path: redisSocketOf(home) });
    redis.on('error', () => {});
    browser = await launchBrowser();
  });

  afterEach(() => browser.closePages());

  afterAll(async () => {
    redis?.disconnect();
    await browser?.close();
    await service?.stop();
  });

  async function open(path: string, login = ada): Promise<Opened> {
    const opened = await browser.open({ httpCredentials: login, viewport: { width: 1280, height: 800 } });
    await opened.page.goto(base + path);
    return opened;
  }

  async function post(route: string, path: string, query = ''): Promise<string> {
    const form = new FormData();
    form.append('file', await openAsBlob(path), `${HOSTILE}.jpg`);
    const response = await fetch(`${service.url}/api/detect/${route}${query}`, { method: 'POST', body: form });
    const { data } = (await response.json()) as { data: { task_id: string } };
    return data.task_id;
  }

  const detect = (kind = 'object') => post(`${kind}/image`, DOG, '?wait=30');

  /** Presses a button of the page and says yes when it asks. */
  async function press(page: Page, name: string, yes: string, scope = 'main'): Promise<void> {
    await page.locator(scope).getByRole('button', { name, exact: true }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: yes, exact: true }).click();
    await dialog.waitFor({ state: 'detached' });
  }

  /** Links of a navigation that lie outside the screen, or below the first. */
  const linksOutside = (page: Page, selector: string) =>
    page.evaluate(`(() => {
      const links = [...document.querySelectorAll(${JSON.stringify(selector)})];
      const top = links[0]?.getBoundingClientRect().top;
      const isIn = ({ left, right, top: y }) => left >= 0 && right <= innerWidth && y === top;
      return links.length === 6 ? links.filter((link) => !isIn(link.getBoundingClientRect())).map((link) => link.text) : ['none'];
    })()`);

  const says = (page: Page, text: string | RegExp) => page.locator('#notice', { hasText: text }).waitFor();

  test('the overview shows both queues, their workers and links to the rest', async () => {
    await detect();
    const { page, complaints, outside } = await open('/overview');
    await page.locator('#verdict', { hasText: 'All is well' }).waitFor();
    for (const [name, count] of [
      ['Workers online', /^2$/],
      ['Workers busy', /^0$/],
      ['Workers lost', /^0$/],
    ] as const)
      await page.locator('.tile', { hasText: name }).locator('strong', { hasText: count }).waitFor();
    for (const queue of ['face_detection', 'object_detection'])
      await page.locator(`[data-queue=${queue}] svg`).first().waitFor();
    await page.locator('#who', { hasText: 'ada (admin)' }).waitFor();
    expect(await page.locator('header nav a').allTextContents()).toEqual([
      'Overview',
      'Workers',
      'Tasks',
      'Failed',
      'Queues',
      'Audit',
    ]);
    await page.locator('header nav a', { hasText: 'Queues' }).click();
    await page.getByRole('link', { name: 'face_detection' }).first().waitFor();
    await page.locator('#pages a', { hasText: 'Workers' }).click();
    await page.getByRole('heading', { name: 'Workers' }).waitFor();
    expect(complaints).toEqual([]);
    expect(outside).toEqual([]);
  });

  test('both workers are seen; one is drained and resumed', async () => {
    const { page, complaints } = await open('/workers');
    for (const name of ['face_worker_1', 'object_worker_1']) await page.getByRole('link', { name }).waitFor();
    const row = 'tr[data-key=face_worker_1]';
    await press(page, 'Drain', 'Drain', row);
    await says(page, 'takes no more tasks');
    await page.locator(row, { hasText: 'drained by ada' }).waitFor();
    await press(page, 'Resume', 'Resume', row);
    await page.locator(row).locator('.badge', { hasText: 'idle' }).waitFor();
    await page.getByRole('link', { name: 'object_worker_1' }).click();
    await page.getByText('Recent tasks').waitFor();
    await page.locator('.log', { hasText: 'worker ready' }).waitFor();
    const fromEnd = `(log => log.scrollHeight - log.scrollTop - log.clientHeight)(document.querySelector('[role=log]'))`;
    expect(await page.evaluate(fromEnd)).toBeLessThan(2);
    await page.locator('dl', { hasText: 'yolox_nano (cpu)' }).waitFor();
    expect(complaints).toEqual([]);
  });

  test('a queue is paused and resumed', async () => {
    const { page } = await open('/overview');
    await press(page, 'Pause', 'Pause', '[data-queue=object_detection]');
    await page.locator('#verdict', { hasText: 'object_detection is paused' }).waitFor();
    const waiting = await post('object/image', DOG);
    await page
      .locator('[data-queue=object_detection] div', { has: page.locator('dt', { hasText: 'Prioritised' }) })
      .locator('dd', { hasText: /^1$/ })
      .waitFor();
    expect((await getTask(service.url, waiting)).state).toBe('PENDING');
    await press(page, 'Resume', 'Resume', '[data-queue=object_detection]');
    await taskIn(service.url, waiting, ['SUCCESS']);
    await page.locator('#verdict', { hasText: 'All is well' }).waitFor();
  });

  test('Enter in a question means yes, Escape means no', async () => {
    const { page, complaints } = await open('/overview');
    const card = page.locator('section[data-queue=face_detection]');
    const dialog = page.getByRole('dialog');
    await card.getByRole('button', { name: 'Pause' }).click();
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await card.getByRole('button', { name: 'Pause' }).click();
    await dialog.getByRole('button', { name: 'Back' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(await redis.hexists(KEYS.meta('face_detection'), 'paused')).toBe(0);
    for (const [name, verdict] of [
      ['Pause', 'face_detection is paused'],
      ['Resume', 'All is well'],
    ] as const) {
      await card.getByRole('button', { name }).click();
      await dialog.waitFor();
      await page.keyboard.press('Enter');
      await dialog.waitFor({ state: 'detached' });
      await page.locator('#verdict', { hasText: verdict }).waitFor();
    }
    // Also from the field of a number.
    await page.goto(`${base}/workers/face_worker_1`);
    await page.getByRole('button', { name: 'Slots' }).click();
    await dialog.getByRole('spinbutton').fill('2');
    await page.keyboard.press('Enter');
    await says(page, 'From 1 to 2 slots');
    await page.getByRole('button', { name: 'Slots' }).click();
    await dialog.getByRole('spinbutton').fill('1');
    await page.keyboard.press('Enter');
    expect(complaints).toEqual([]);
  });

  test('a limit over all workers is told on the overview and lifted there', async () => {
    const { page, complaints } = await open('/overview');
    const card = page.locator('section[data-queue=object_detection]');
    await card.locator('.facts').waitFor();
    expect(await card.locator('.limits').count()).toBe(0);
    await page.locator('.tile', { hasText: 'Storage' }).locator('strong', { hasText: 'works' }).waitFor();
    await redis.hset(KEYS.meta('object_detection'), { max: 100, duration: 1000 });
    await card.getByText('at most 100 begun in 1.0 s (rate limit)').waitFor();
    await press(page, 'Lift', 'Lift', 'section[data-queue=object_detection]');
    await says(page, 'rate limit of 100 in 1000 ms is gone');
    await card.locator('.limits').waitFor({ state: 'detached' });
    // Fewer at a time than one worker with two slots could run.
    const [{ name = '', ...beatOfOne } = {}] = await knownWorkers(redis);
    expect(name).not.toBe('');
    await beat(redis, {
      ...beatOfOne,
      id: 'y',
      name: 'object_worker_77',
      kind: 'object',
      beat_at: Date.now(),
    } as Heartbeat);
    await redis.hset(KEYS.meta('object_detection'), { concurrency: 1 });
    await page.locator('#verdict', { hasText: /object_detection may run only 1 of \d tasks at a time/ }).waitFor();
    await press(page, 'Lift', 'Lift', 'section[data-queue=object_detection]');
    await signOff(redis, 'object_worker_77');
    await page.locator('#verdict', { hasText: 'All is well' }).waitFor();
    expect(complaints).toEqual([]);
  });

  test('a search in another order, and one for a range that nothing can lie in', async () => {
    await detect();
    const { page } = await open('/tasks');
    await page.getByLabel('Order').selectOption('longest_run');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    await waitFor('the order in the address', () => new URL(page.url()).search === '?sort=longest_run');
    await page.locator('#searched', { hasText: 'looked at' }).waitFor();
    await page.locator('main tbody tr').first().waitFor();
    await page.getByLabel('Ran at least (s)').fill('5');
    await page.locator('input[name=max_run_s]').fill('2');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    await says(page, 'Option min_run_s must not be greater than max_run_s.');
    await page.locator('input[name=max_run_s]').fill('600');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    await page.locator('#notice').waitFor({ state: 'hidden' });
  });

  test('a running video is cancelled from its page', async () => {
    const clip = join(home.root, 'long.mp4');
    const make = [
      '-loglevel',
      'error',
      '-f',
      'lavfi',
      '-i',
      'testsrc=size=640x480:rate=25:duration=240',
      '-pix_fmt',
      'yuv420p',
      '-preset',
      'ultrafast',
      clip,
    ];
    await promisify(execFile)('ffmpeg', make);
    const taskId = await post('object/video', clip, '?frame_skip=1&annotate=false');
    await taskIn(service.url, taskId, ['PROCESSING']);
    const { page, complaints } = await open(`/tasks/${taskId}`);
    await page.locator('progress').waitFor();
    await press(page, 'Cancel', 'Cancel the task');
    await says(page, 'The task is cancelled.');
    await page.locator('h1 .badge', { hasText: 'revoked' }).waitFor();
    expect((await getTask(service.url, taskId)).state).toBe('REVOKED');
    expect(await page.locator('h1').getByRole('button').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('the timeline of a task tells of every attempt; its worker is started anew', async () => {
    const clip = join(home.root, 'long.mp4');
    const taskId = await post('object/video', clip, '?frame_skip=1&annotate=false');
    await taskIn(service.url, taskId, ['PROCESSING']);
    const { page } = await open(`/tasks/${taskId}`);
    await page.locator('progress').waitFor();
    service.kill9('lane');
    await page.locator('.timeline li', { hasText: 'the detection process died' }).waitFor();
    await page.locator('.timeline li', { hasText: 'attempt 2 on object_worker_1' }).waitFor();
    const before = service.pids('worker:object');
    await page.goto(`${base}/workers/object_worker_1`);
    await press(page, 'Restart', 'Restart');
    await says(page, 'started anew');
    await waitFor('a new process', () => !service.pids('worker:object').some((pid) => before.includes(pid)), {
      timeoutMs: 30_000,
    });
    await page.goto(`${base}/tasks/${taskId}`);
    await page.locator('.timeline li', { hasText: 'given back to the queue' }).waitFor();
    await page.locator('.timeline li', { hasText: 'attempt 3 on object_worker_1' }).waitFor();
    await press(page, 'Cancel', 'Cancel the task');
    await page.locator('h1 .badge', { hasText: 'revoked' }).waitFor();
  });

  test('a failed task is found among the dead letters and retried', async () => {
    const taskId = await detect();
    const job = KEYS.job('object_detection', taskId);
    await redis
      .multi()
      .hdel(job, 'returnvalue')
      .hset(job, 'failedReason', 'WORKER_LOST: The process died.', 'stack', 'Error: at home')
      .zrem(KEYS.completed('object_detection'), taskId)
      .zadd(KEYS.failed('object_detection'), Date.now(), taskId)
      .exec();
    const { page, complaints } = await open('/failed');
    const row = page.locator(`tr[data-key="${taskId}"]`);
    await row.getByText('WORKER_LOST').waitFor();
    await row.getByRole('checkbox').check();
    await press(page, 'Retry 1 chosen', 'Retry');
    await says(page, '1 task queued again.');
    await row.waitFor({ state: 'detached' });
    const again = await taskIn(service.url, taskId, ['SUCCESS']);
    expect(again.attempts).toBe(1);
    await page.goto(`${base}/audit`);
    await page.locator('tr', { hasText: 'retry tasks' }).first().getByText(taskId).waitFor();
    expect(complaints).toEqual([]);
  });

  test('tasks are searched by what was found, and the picture is shown with its boxes', async () => {
    const taskId = await detect();
    const { page, complaints } = await open('/tasks');
    await page.getByLabel('Label found').fill('dog');
    await page.getByLabel('State').selectOption('SUCCESS');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    const row = page.locator(`tr[data-key="${taskId}"]`);
    await row.getByText(/dog 1/).waitFor();
    expect(new URL(page.url()).search).toBe('?state=SUCCESS&label=dog');
    await page.getByLabel('Label found').fill('unicorn');
    await page.getByRole('button', { name: 'Search', exact: true }).click();
    await page.getByText('No such task was found.').waitFor();
    await page.goto(`${base}/tasks?id=${taskId.slice(0, 8)}`);
    await row.getByRole('link').first().click();
    await page.locator('#preview rect').first().waitFor();
    const width = await page.evaluate(
      'document.querySelector("#preview img").decode().then(() => document.querySelector("#preview img").naturalWidth)',
    );
    expect(width).toBe(768);
    expect(await page.locator('.timeline strong').allTextContents()).toEqual(['created', 'started', 'finished']);
    const board = page.getByRole('link', { name: 'show in Bull Board' });
    expect(await board.getAttribute('href')).toBe(`/queue/object_detection/${taskId}`);
    await board.click();
    const back = page.locator(`a[href="/tasks/${taskId}"]`).first();
    await back.waitFor();
    expect(complaints).toEqual([]);
  });

  test('what a browser does not show in the place of a picture or a video is shown as it can', async () => {
    const make = (...args: string[]) => promisify(execFile)('ffmpeg', ['-loglevel', 'error', '-i', DOG, ...args]);
    const [moving, still] = [join(home.root, 'moving.gif'), join(home.root, 'still.tiff')];
    await make('-vf', 'scale=160:-1,loop=8:1:0', '-frames:v', '8', moving);
    await make(still);
    const gif = await post('object/video', moving, '?wait=60&annotate=false');
    const { page, complaints } = await open(`/tasks/${gif}`);
    const width = '(async img => (await img.decode(), img.naturalWidth))(document.querySelector("#preview img"))';
    await page.locator('#preview img').waitFor();
    expect(await page.evaluate(width)).toBe(160);
    const tiff = await post('object/image', still, '?wait=30');
    await page.goto(`${base}/tasks/${tiff}`);
    await page.locator('#preview', { hasText: 'Browsers do not show image/tiff' }).waitFor();
    expect(await page.locator('#preview img').count()).toBe(0);
    // Once somebody has had the copy with the boxes drawn, that is shown.
    const task = await getTask(service.url, tiff);
    const result = task.result as { annotated_image: string };
    expect((await fetch(service.url + result.annotated_image)).status).toBe(200);
    await page.reload();
    await page.locator('#preview img').waitFor();
    expect(await page.evaluate(width)).toBe(768);
    expect(complaints).toEqual([]);
  });

  test('a viewer sees it all, finds nothing to press and is refused what a script tries', async () => {
    const taskId = await detect();
    const { page, complaints } = await open('/overview', eve);
    await page.locator('#who', { hasText: 'eve (viewer)' }).waitFor();
    await page.locator('[data-queue=face_detection]').waitFor();
    expect(await page.locator('main button').count()).toBe(0);
    await page.goto(`${base}/workers`);
    await page.getByRole('link', { name: 'face_worker_1' }).waitFor();
    expect(await page.locator('main button').count()).toBe(0);
    expect(complaints).toEqual([]);
    const tried = await page.evaluate(async (id) => {
      const paths = [
        `/tasks/${id}/cancel`,
        '/tasks/retry',
        '/workers/face_worker_1/restart',
        '/queues/face_detection/pause',
      ];
      const answers = paths.map((path) => fetch(`/api/admin${path}`, { method: 'POST' }));
      return (await Promise.all(answers)).map(({ status }) => status);
    }, taskId);
    expect(tried).toEqual([403, 403, 403, 403]);
  });

  test('names and labels from outside are shown as text', async () => {
    const taskId = await detect();
    const job = KEYS.job('object_detection', taskId);
    const result = JSON.parse((await redis.hget(job, 'returnvalue')) ?? '') as { objects: { class: string }[] };
    for (const object of result.objects) object.class = HOSTILE;
    await redis.hset(job, 'returnvalue', JSON.stringify(result), 'pb', HOSTILE, 'stack', HOSTILE);
    const hostile = { host: HOSTILE, reason: HOSTILE, models: [{ name: HOSTILE, provider: 'cpu' as const }] };
    await beat(redis, heartbeatOf({ name: 'object_worker_66', kind: 'object', state: 'starting', ...hostile }));
    const { page, complaints } = await open(`/tasks/${taskId}`);
    for (const path of [
      `/tasks/${taskId}`,
      '/workers',
      '/workers/object_worker_66',
      `/tasks?label=${encodeURIComponent('<img src=x>')}`,
      '/tasks',
    ]) {
      await page.goto(base + path);
      await page.locator('main h1').first().waitFor();
      if (!path.includes('?') && path !== '/tasks') await page.getByText('onerror').first().waitFor();
      expect(await page.locator('main img[src="x"], main script').count()).toBe(0);
      expect(await page.title()).not.toBe('owned');
    }
    await signOff(redis, 'object_worker_66');
    await redis.del(job);
    expect(complaints).toEqual([]);
  });

  test('it fits on a phone, in the dark as in the light', async () => {
    await detect();
    for (const colorScheme of ['light', 'dark'] as const) {
      const viewport = { width: 360, height: 740 };
      const { page } = await browser.open({ httpCredentials: ada, viewport, colorScheme });
      for (const path of ['/overview', '/workers', '/tasks', '/failed', '/audit']) {
        await page.goto(base + path);
        await page.locator('main h1').first().waitFor();
        await page.locator('#who', { hasText: 'ada' }).waitFor();
        const across = await page.evaluate('document.documentElement.scrollWidth');
        expect({ path, across }).toEqual({ path, across: 360 });
        expect(await linksOutside(page, 'header nav a')).toEqual([]);
      }
      for (const path of ['/', '/queue/object_detection']) {
        await page.goto(base + path);
        await page.locator('main').getByText('object_detection').or(page.getByText('Throughput')).first().waitFor();
        expect(await linksOutside(page, '#pages a')).toEqual([]);
        // The strip of ours lies over nothing of the board's.
        const under = `document.elementsFromPoint(180, 20).filter((one) => one.closest('header') && one.matches('button, a, h1, h2'))`;
        expect(await page.evaluate(`${under}.length`)).toBe(0);
      }
    }
  });

  test('nothing is asked for while nobody looks, and an outage is told and passes by itself', async () => {
    const { page } = await open('/overview');
    await page.locator('#verdict', { hasText: 'All is well' }).waitFor();
    const [server = 0] = service.pids('redis');
    process.kill(server, 'SIGSTOP');
    await says(page, 'Redis does not answer').finally(() => process.kill(server, 'SIGCONT'));
    await page.locator('#notice').waitFor({ state: 'hidden' });
    await page.locator('#verdict').waitFor();
    await page.evaluate(`
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    `);
    await page.waitForTimeout(2500);
    let asked = 0;
    page.on('request', () => asked++);
    await page.waitForTimeout(4500);
    expect(asked).toBe(0);
    await waitFor('the service', async () => (await fetch(`${service.url}/api/health`)).status === 200, {
      timeoutMs: 20_000,
    });
  });
});
