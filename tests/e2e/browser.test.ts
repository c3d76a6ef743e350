import { openAsBlob } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { ROUTES } from '../../src/contract/routes.ts';
import { hashPassword } from '../../src/dashboard/password.ts';
import { runDashboard } from '../../src/dashboard/run-dashboard.ts';
import { type BrowserLogin, launchBrowser, type TestBrowser } from '../support/browser.ts';
import { startRedis } from '../support/redis.ts';
import { freePort, redisSocketOf, type Service, startService } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';

const PHOTO = sharedPath('data/bad/image/good.jpg');

describe.skipIf(!requireShared())('in a browser', () => {
  let service: Service;
  /** A second dashboard on the same queues, with a login. */
  let guarded: Service;
  let browser: TestBrowser;

  const ada: BrowserLogin = { username: 'ada', password: 'admin pass' };
  const eve: BrowserLogin = { username: 'eve', password: 'viewer pass' };

  beforeAll(async () => {
    service = await startService();
    const [admin, viewer] = await Promise.all([hashPassword(ada.password), hashPassword(eve.password)]);
    guarded = await startService({
      role: 'dashboard',
      env: {
        REDIS_URL: `unix://${redisSocketOf(service.home)}`,
        MODELS_DIR: service.home.environment.MODELS_DIR ?? '',
        DASHBOARD_PORT: String(await freePort()),
        DASHBOARD_USERS: `ada:admin:${admin},eve:viewer:${viewer}`,
      },
    });
    browser = await launchBrowser();
  });

  afterEach(() => browser.closePages());

  afterAll(async () => {
    await browser?.close();
    await guarded?.stop();
    await service?.stop();
  });

  const open = (login?: BrowserLogin) => browser.open(login === undefined ? {} : { httpCredentials: login });

  /** Has a picture looked at; answers the task's id. */
  async function detect(route: string): Promise<string> {
    const form = new FormData();
    form.append('file', await openAsBlob(PHOTO), 'good.jpg');
    const response = await fetch(`${service.url}/api/detect/${route}?wait=30`, { method: 'POST', body: form });
    const { data } = (await response.json()) as { data: { task_id: string; state: string } };
    expect(data.state).toBe('SUCCESS');
    return data.task_id;
  }

  test('Bull Board shows both queues and their jobs, and asks for nothing from outside', async () => {
    const faceTask = await detect('face/image');
    await detect('object/image');
    const { page, complaints, outside } = await open();
    await page.goto(service.dashboardUrl);
    expect(await page.title()).toBe('Recognize');
    for (const queue of ['face_detection', 'object_detection']) {
      await page.getByRole('link', { name: queue }).first().waitFor();
    }
    await page.goto(`${service.dashboardUrl}/queue/face_detection?status=completed`);
    await page.getByText('Tasks for face workers').first().waitFor();
    await page.getByText(faceTask).first().waitFor();
    await page.goto(`${service.dashboardUrl}/queue/face_detection/${faceTask}`);
    await page.getByText('face_worker_1').first().waitFor();
    await page.getByText('request_id').first().waitFor();
    expect(await page.locator('body').textContent()).not.toContain(service.home.root);
    expect(complaints).toEqual([]);
    expect(outside).toEqual([]);
  });

  test('a viewer finds nothing to press and is refused what a script of the page tries', async () => {
    await detect('object/image');
    const { page, complaints } = await open(eve);
    await page.goto(`${guarded.dashboardUrl}/queue/object_detection?status=completed`);
    await page.getByText('Tasks for object workers').first().waitFor();
    await page.getByText('objects_detected').first().waitFor();
    expect(await page.getByRole('button', { name: /retry|clean|pause|empty|add|delete/i }).count()).toBe(0);
    expect(complaints).toEqual([]);
    const tried = await page.evaluate(async () => {
      const response = await fetch('/api/queues/pause', { method: 'PUT' });
      const { error_code } = (await response.json()) as { error_code: string };
      return { status: response.status, code: error_code };
    });
    expect(tried).toEqual({ status: 403, code: 'FORBIDDEN' });
  });

  test('an admin cleans a queue from the page', async () => {
    const task = await detect('object/image');
    const { page, complaints } = await open(ada);
    await page.goto(`${guarded.dashboardUrl}/queue/object_detection?status=completed`);
    await page.getByText(task).first().waitFor();
    // Bull Board spares jobs that have ended within the last five seconds.
    await sleep(5500);
    await page.getByRole('button', { name: 'Clean all' }).click();
    await page.getByRole('alertdialog').getByRole('button', { name: 'Confirm' }).click();
    await waitFor('the job to be gone', async () => (await fetch(`${service.url}/api/task/${task}`)).status === 404);
    await page.getByText(task).first().waitFor({ state: 'detached' });
    expect(complaints).toEqual([]);
  });

  test('a page of another site changes nothing, also where no login is needed', async () => {
    const { page } = await open();
    await page.setContent(
      `<form method="post" action="${service.dashboardUrl}/api/queues/face_detection/add"><button>go</button></form>`,
    );
    const [response] = await Promise.all([page.waitForResponse(/\/add$/), page.getByRole('button').click()]);
    expect(response.status()).toBe(403);
    await page.goto('about:blank');
    const pause = `${service.dashboardUrl}/api/queues/pause`;
    const outcome = await page.evaluate(
      (url) =>
        fetch(url, { method: 'PUT' }).then(
          () => 'sent',
          () => 'refused',
        ),
      pause,
    );
    expect(outcome).toBe('refused');
    const { queues } = (await (await fetch(`${service.dashboardUrl}/api/queues`)).json()) as {
      queues: { isPaused: boolean }[];
    };
    expect(queues.map(({ isPaused }) => isPaused)).toEqual([false, false]);
  });

  test('/docs lists every operation and sends a picture', async () => {
    const { page, complaints, outside } = await open();
    await page.goto(`${service.url}/docs`);
    await page.locator('.opblock').first().waitFor();
    expect(await page.locator('.opblock').count()).toBe(ROUTES.length);
    for (const { tag, operationId, path } of ROUTES) {
      const operation = page.locator(`#operations-${tag}-${operationId}`);
      expect(await operation.locator('.opblock-summary-path').getAttribute('data-path')).toBe(path);
    }
    const operation = page.locator('#operations-Detection-detect_face_image');
    await operation.locator('.opblock-summary').click();
    await operation.locator('input[type=file]').setInputFiles(PHOTO);
    await operation.locator('tr[data-param-name=wait] input').fill('30');
    await operation.locator('tr[data-property-name=max_detections] input').fill('5');
    await operation.locator('.execute').click();
    await operation.getByText('"faces_detected": 1').waitFor();
    await operation.getByText('"max_detections": 5').first().waitFor();
    expect(complaints).toEqual([]);
    expect(outside).toEqual([]);
  });

  test('without Redis the dashboard says so and shows itself again when it is back', async () => {
    const redis = await startRedis();
    const config = loadConfig({ REDIS_URL: redis.url, DASHBOARD_PORT: '0', DATA_DIR: tempDir() });
    const dashboard = await runDashboard(config, pino({ level: 'silent' }));
    try {
      const { page } = await open();
      const queue = page.getByRole('link', { name: 'face_detection' }).first();
      await waitFor('the page', async () => (await page.goto(dashboard.url))?.status() === 200);
      await queue.waitFor();
      await redis.kill9();
      await waitFor('the outage', async () => (await page.reload())?.status() === 503);
      expect(await page.locator('body').textContent()).toContain('Redis does not answer');
      await redis.restart();
      // Nobody presses anything.
      await queue.waitFor();
    } finally {
      await dashboard.stop();
      await redis.stop();
    }
  });

  test('a wrong password is refused, several lock the address out', async () => {
    const wrong = await open({ username: 'ada', password: 'guess' });
    expect((await wrong.page.goto(guarded.dashboardUrl))?.status()).toBe(401);
    expect(await wrong.page.locator('body').textContent()).toContain('This needs a login');
    const none = await open();
    const [asked] = await Promise.all([
      none.page.waitForResponse(`${guarded.dashboardUrl}/`),
      expect(none.page.goto(guarded.dashboardUrl)).rejects.toThrow('ERR_INVALID_AUTH_CREDENTIALS'),
    ]);
    expect(asked.status()).toBe(401);
    await waitFor('the lock', async () => (await wrong.page.reload())?.status() === 429);
    const right = await open(ada);
    expect((await right.page.goto(guarded.dashboardUrl))?.status()).toBe(429);
    expect(await right.page.locator('body').textContent()).toContain('Too many wrong passwords');
  });
});
