import { readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningDashboard, runDashboard } from '../../src/dashboard/run-dashboard.ts';
import type { Running } from '../../src/worker/run-worker.ts';
import { call, ended, expectError, submit } from '../support/api.ts';
import { beatOnceBefore, heartbeatOf } from '../support/heartbeats.ts';
import { type Family, parseExposition, sampleValue } from '../support/prometheus.ts';
import { promtool } from '../support/promtool.ts';
import { freePort } from '../support/service.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, startWorker, type TestWeb, testConfig } from '../support/web.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const FOLDER = join(ROOT, 'deploy/monitoring');
const ALERTS = join(FOLDER, 'alerts.yml');
const ALERT_TESTS = join(ROOT, 'tests/monitoring/alerts.test.yml');

type Panel = {
  id: number;
  title: string;
  type: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
};

const dashboard = JSON.parse(readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8')) as { panels: Panel[] };
const expressions = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));

const metricNames = (text: string) => [...new Set(text.match(/\brecognize_[a-z0-9_]+\b/g))];

/** The family that a name in an expression reads. */
const familyName = (name: string) => name.replace(/_(bucket|sum|count)$/, '');

describe('alert rules', () => {
  it('are well formed, as is the example of a configuration', async () => {
    expect(await promtool('check', 'rules', ALERTS)).toContain('SUCCESS');
    expect(await promtool('check', 'config', '--syntax-only', join(FOLDER, 'prometheus.yml'))).toContain('SUCCESS');
  });

  it('fire when they should, and only then', async () => {
    expect(await promtool('test', 'rules', ALERT_TESTS)).toContain('SUCCESS');
  });

  it('are each tested in both ways', () => {
    const names = [...readFileSync(ALERTS, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(5);
    const cases = readFileSync(ALERT_TESTS, 'utf8').split('- eval_time:');
    for (const name of names) {
      const mine = cases.filter((text) => new RegExp(`alertname: ${name}\\b`).test(text));
      const quiet = mine.filter((text) => /exp_alerts: \[\]/.test(text));
      expect([name, quiet.length > 0, mine.length > quiet.length]).toEqual([name, true, true]);
    }
  });
});

describe('the Grafana dashboard', () => {
  it('asks in valid PromQL', async () => {
    const rules = expressions.map(({ expr }, index) => ({
      record: `panel:${index}`,
      expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$queue', '.*'),
    }));
    const path = join(tempDir('grafana'), 'rules.yml');
    writeFileSync(path, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    expect(await promtool('check', 'rules', path)).toContain(`${expressions.length} rules found`);
  });

  it('has panels that do not lie on each other', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    const taken = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x},${y}`), title).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});

describe.skipIf(!requireShared())('a live service', () => {
  let web: TestWeb;
  let board: RunningDashboard;
  let worker: Running;
  let healthUrl: string;
  let all: Map<string, Family>;

  async function scrape(url: string): Promise<Map<string, Family>> {
    const response = await fetch(`${url}/metrics`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    return parseExposition(await response.text());
  }

  beforeAll(async () => {
    web = await startWeb({ env: { WORKER_CONCURRENCY: '1' }, workers: ['object'] });
    const port = await freePort();
    healthUrl = `http://127.0.0.1:${port}`;
    worker = await startWorker('face', web.folders, { ...web.env, HEALTH_PORT: String(port), METRICS_TOKEN: 'secret' });
    const config = testConfig(web.folders, { ...web.env, DASHBOARD_PORT: '0' });
    board = await runDashboard(config, pino({ level: 'silent' }), () => undefined);

    const picture = new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg')));
    const video = new Uint8Array(readFileSync(sharedPath('data/videos/two-faces.mp4')));
    const tasks = [
      await submit(web.url, 'object/image', { file: picture }),
      await submit(web.url, 'face/image', { file: picture, fields: { model: 'yunet' } }),
      await submit(web.url, 'face/video', { file: video, name: 'v.mp4', fields: { annotate: 'false' } }),
    ];
    for (const id of tasks) expect((await ended(web.url, id)).state).toBe('SUCCESS');
    await waitFor('the workers to have told', async () => {
      const families = await scrape(web.url);
      const done = families.get('recognize_tasks_succeeded_total')?.samples ?? [];
      return done.reduce((sum, { value }) => sum + value, 0) === 3 && families;
    });
    const scrapes = await Promise.all([healthUrl, board.url, web.url].map(scrape));
    all = new Map(scrapes.flatMap((families) => [...families]));
  });

  afterAll(async () => {
    await board.stop();
    await web.stop();
  });

  it('exposes whatever the alert rules and the Grafana dashboard ask for', () => {
    const asked = metricNames(readFileSync(ALERTS, 'utf8') + expressions.map(({ expr }) => expr).join('\n'));
    expect(asked.length).toBeGreaterThan(20);
    for (const name of asked) {
      const family = all.get(name) ?? all.get(familyName(name));
      expect([name, family !== undefined && family.samples.length > 0]).toEqual([name, true]);
    }
  });

  it('exposes what docs/monitoring.md lists, and nothing of its own besides', () => {
    const listed = [...readFileSync(join(ROOT, 'docs/monitoring.md'), 'utf8').matchAll(/^\| `(recognize_\w+)/gm)].map(
      ([, name = '']) => name,
    );
    const own = [...all.keys()].filter((name) => !/^recognize_(web|dashboard|worker)_(nodejs|process)_/.test(name));
    expect([...new Set(listed)].sort()).toEqual([...new Set(own)].sort());
  });

  it('tells times by queue, medium and model', () => {
    for (const stage of ['wait', 'run', 'decode', 'inference', 'postprocess']) {
      const count = (queue: string, media: string, model: string) =>
        sampleValue(all, `recognize_task_${stage}_seconds_count`, { queue, media, model });
      expect(count('object_detection', 'image', 'yolox_nano')).toBe(1);
      expect(count('face_detection', 'image', 'yunet')).toBe(1);
      expect(count('face_detection', 'video', 'yunet')).toBe(1);
      expect(count('object_detection', 'video', 'yolox_nano')).toBeUndefined();
    }
  });

  it('tells what ffmpeg took for videos, and of nothing else', () => {
    const spent = (queue: string) => sampleValue(all, 'recognize_ffmpeg_seconds_total', { queue }) ?? -1;
    expect(spent('face_detection')).toBeGreaterThan(0);
    expect(spent('object_detection')).toBe(0);
  });

  it('tells how large the uploads were', () => {
    const bytes = (path: string) => readFileSync(sharedPath(path)).length;
    const uploaded = (route: string) =>
      sampleValue(all, 'recognize_upload_bytes_total', { route: `/api/detect/${route}` });
    expect(uploaded('face/image')).toBe(bytes('data/samples/dog.jpg'));
    expect(uploaded('face/video')).toBe(bytes('data/videos/two-faces.mp4'));
  });

  it('tells how full disks and Redis are', () => {
    for (const folder of ['uploads', 'tmp']) {
      const size = sampleValue(all, 'recognize_storage_size_bytes', { folder }) ?? 0;
      const free = sampleValue(all, 'recognize_storage_free_bytes', { folder }) ?? -1;
      expect(free).toBeGreaterThan(0);
      expect(free).toBeLessThan(size);
    }
    const used = sampleValue(all, 'recognize_redis_memory_bytes') ?? 0;
    expect(used).toBeGreaterThan(100_000);
    expect(used).toBeLessThan(sampleValue(all, 'recognize_redis_memory_max_bytes') ?? 0);
  });

  it('counts a waiting task that is cancelled', async () => {
    const cancelled = async () =>
      sampleValue(await scrape(web.url), 'recognize_tasks_revoked_total', { queue: 'face_detection' }) ?? 0;
    const before = await cancelled();
    await worker.stop();
    const id = await submit(web.url, 'face/image', {
      file: new Uint8Array(readFileSync(sharedPath('data/samples/dog.jpg'))),
    });
    await call(`${web.url}/api/task/${id}`, { method: 'DELETE' });
    expect(await cancelled()).toBe(before + 1);
  });

  it('counts a worker as lost that fell silent, for an hour', async () => {
    const redis = web.redis.client();
    const lost = async () => sampleValue(await scrape(web.url), 'recognize_workers_lost', { queue: 'face_detection' });
    const silentFor = (ms: number) =>
      beatOnceBefore(redis, heartbeatOf({ name: 'face_worker_7', concurrency: 4, started_at: 1 }), ms);
    const before = (await lost()) ?? Number.NaN;
    await silentFor(60_000);
    expect(await lost()).toBe(before + 1);
    await silentFor(3_700_000);
    expect(await lost()).toBe(before);
  });
});

describe.skipIf(!requireShared())('HEALTH_PORT of a worker', () => {
  let web: TestWeb;
  let worker: Running;
  let port: number;

  beforeAll(async () => {
    web = await startWeb({ workers: [], models: ['haar'] });
    port = await freePort();
    worker = await startWorker('face', web.folders, { ...web.env, HEALTH_PORT: String(port), METRICS_TOKEN: 'secret' });
  });

  afterAll(async () => {
    await worker.stop();
    await web.stop();
  });

  it("tells the worker's own figures under its name", async () => {
    const families = parseExposition(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
    const labels = { queue: 'face_detection', worker: 'face_worker_1' };
    expect(sampleValue(families, 'recognize_worker_ready', labels)).toBe(1);
    expect(sampleValue(families, 'recognize_worker_slots', labels)).toBe(1);
    expect(sampleValue(families, 'recognize_worker_slots_busy', labels)).toBe(0);
    expect(sampleValue(families, 'recognize_worker_process_resident_memory_bytes', labels)).toBeGreaterThan(2 ** 24);
  });

  it('tells them to callers from outside only for METRICS_TOKEN', async () => {
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((address) => address?.family === 'IPv4' && !address.internal)?.address;
    const url = `http://${outside ?? '127.0.0.1'}:${port}`;
    // Without a second address a proxy's header makes a stranger of the caller.
    const headers = { 'x-forwarded-for': '203.0.113.7' };
    expectError(await callJson(`${url}/metrics`, headers), 403, 'FORBIDDEN');
    expectError(await callJson(`${url}/metrics`, { ...headers, authorization: 'Bearer wrong' }), 403, 'FORBIDDEN');
    const allowed = await fetch(`${url}/metrics`, { headers: { ...headers, authorization: 'Bearer secret' } });
    expect(allowed.status).toBe(200);
    expect((await fetch(`${url}/api/health/ready`)).status).toBe(200);
  });

  async function callJson(url: string, headers: Record<string, string>) {
    const response = await fetch(url, { headers });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: JSON.parse(text), text, ms: 0 };
  }
});
