import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ended, post, submit } from '../support/api.ts';
import { type Span, startCollector } from '../support/collector.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { goodPicture } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

describe.skipIf(!requireShared())('traces', () => {
  let collector: Awaited<ReturnType<typeof startCollector>>;
  let fleet: Fleet;

  beforeAll(async () => {
    collector = await startCollector();
    fleet = await startFleet({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20abc',
    });
    await fleet.startWorker();
  });

  afterAll(async () => {
    await fleet?.stop();
    await collector?.stop();
  });

  /** The trace of a task, from the request to the detection, once all of it has arrived. */
  function traceOf(taskId: string): Promise<Span[]> {
    return waitFor(
      'the trace',
      () => {
        const mine = collector.spans().find(({ attributes }) => attributes['recognize.task_id'] === taskId);
        const trace = collector.spans().filter(({ traceId }) => traceId === mine?.traceId);
        const names = trace.map(({ name }) => name);
        return names.some((name) => name.startsWith('POST ')) && names.some((name) => name.startsWith('process'))
          ? trace
          : undefined;
      },
      { timeoutMs: 20_000 },
    );
  }

  it('join request, queue and detection in one', async () => {
    const id = await fleet.post();
    expect((await ended(fleet.url, id)).state).toBe('SUCCESS');
    const trace = await traceOf(id);
    const byId = new Map(trace.map((span) => [span.spanId, span]));
    const detect = trace.find(({ name }) => name === 'detect object image');
    const path: Span[] = [];
    for (let span = detect; span !== undefined; span = byId.get(span.parentSpanId)) path.unshift(span);
    expect(path.map(({ service, name }) => [service, name.split(' ')[0]])).toEqual([
      ['recognize-web', 'POST'],
      ['recognize-web', 'add'],
      ['recognize-object-worker', 'process'],
      ['recognize-object-worker', 'detect'],
    ]);
    expect(path[0]).toMatchObject({
      name: 'POST /api/detect/object/image',
      parentSpanId: '',
      failed: false,
      attributes: { 'http.route': '/api/detect/object/image', 'http.response.status_code': 202 },
    });
    expect(detect).toMatchObject({
      events: ['decode', 'inference', 'postprocess', 'annotate'],
      attributes: {
        'recognize.worker': 'object_worker_1',
        'recognize.media': 'image',
        'recognize.model': 'yolox_nano',
        'recognize.request_id': path[0]?.attributes['recognize.request_id'],
      },
    });
    expect(collector.credentials()).toEqual(['Basic abc']);
    for (const [index, span] of path.entries()) expect(span.startedAt >= (path[index - 1]?.startedAt ?? 0n)).toBe(true);
  });

  it('go on from the trace of the caller', async () => {
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const headers = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    const answer = await post(fleet.url, 'object/image', { file: goodPicture(), headers });
    const trace = await traceOf(String(answer.body.data.task_id));
    expect(trace.every((span) => span.traceId === traceId)).toBe(true);
    expect(trace.find(({ name }) => name.startsWith('POST'))?.parentSpanId).toBe('00f067aa0ba902b7');
  });

  it('show an attempt that failed', async () => {
    const worker = await fleet.startWorker({ TASK_TIME_LIMIT: '1' });
    try {
      // Both workers hold: the one with the short limit gives its task up.
      worker.freeze();
      const ids = await Promise.all([fleet.post(), fleet.post(), fleet.post()]);
      await Promise.all(ids.map((id) => ended(fleet.url, id)));
      await waitFor('a span that failed', () =>
        collector.spans().some(({ name, failed }) => failed && name === 'detect object image'),
      );
    } finally {
      worker.thaw();
    }
  });

  it('are not begun by health checks or by workers that look for work', async () => {
    await call(`${fleet.url}/api/health`);
    await call(`${fleet.url}/api/models`);
    await waitFor('a later trace', () => collector.spans().some(({ name }) => name === 'GET /api/models'));
    const roots = new Set(collector.spans().flatMap(({ parentSpanId, name }) => (parentSpanId === '' ? name : [])));
    expect(roots).toContain('GET /api/models');
    for (const name of roots) expect(name).toMatch(/^(POST|GET) \/api\/(detect|task|models)/);
  });
});

it.skipIf(!requireShared())(
  'without a collector nothing of it is loaded, with one that is away all goes on',
  async () => {
    const fleet = await startFleet({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' });
    try {
      await fleet.startWorker();
      const id = await submit(fleet.url, 'object/image', { file: goodPicture() });
      expect((await ended(fleet.url, id)).state).toBe('SUCCESS');
      const { ms } = await fleet.web.stop();
      expect(ms).toBeLessThan(15_000);
    } finally {
      await fleet.stop();
    }
  },
);

it('nothing of it is loaded where no collector is set', () => {
  const main = (path: string) => resolve(import.meta.dirname, '../../src', path);
  const program = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    for (const path of process.argv.slice(1)) await import(path);
    const { startTracing } = await import(process.argv[1]);
    if ((await startTracing(undefined, 'a', undefined)) !== undefined) throw new Error('traces');
    console.log(JSON.stringify(loaded));
    process.exit(0);`;
  const paths = ['telemetry/tracing.ts', 'web/run-web.ts', 'worker/run-worker.ts', 'dashboard/run-dashboard.ts'];
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program, ...paths.map(main)], {
    encoding: 'utf8',
  });
  const loaded = JSON.parse(output) as string[];
  expect(loaded.some((url) => url.endsWith('src/worker/consumer.ts'))).toBe(true);
  // The API alone, a few small files, comes with prom-client.
  expect(loaded.filter((url) => /sdk-trace|otlp|bullmq-otel/.test(url))).toEqual([]);
});
