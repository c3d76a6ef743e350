import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { submit } from '../support/api.ts';
import { openEvents } from '../support/events.ts';
import { openRaw, requestHead } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { expectWorkers, PICTURE, video } from './load.ts';
import { createStack, HAS_V2, type Stack } from './stack.ts';

describe.skipIf(!requireShared())('nginx in front of several web containers', () => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(HAS_V2 ? 2 : 1, { WEB_PORT: '0', TRUST_PROXY: '1' });
    const scale = ['--scale', 'web=3', '--scale', 'face-worker=1', '--scale', 'object-worker=1'];
    await stack.compose('--profile', 'lb', 'up', '-d', ...scale);
    await waitFor('web', async () => (await fetch(`${stack.balancerUrl}/api/health/ready`)).ok, { timeoutMs: 60_000 });
    await expectWorkers(stack.balancerUrl, 'face', 1);
  });
  afterAll(async () => {
    await stack?.down();
  });

  it('is healthy, and so is all behind it', async () => {
    await stack.expectHealthy(['nginx', 'web']);
  });

  it('shares the requests out', async () => {
    const id = await submit(stack.balancerUrl, 'face/video', {
      file: video('people-one-by-one.mp4'),
      name: 'people.mp4',
      fields: { annotate: 'false' },
    });
    const events = await openEvents(`${stack.balancerUrl}/api/task/${id}/events`);
    await waitFor('progress', () => events.events.filter(({ event }) => event === 'progress').length >= 2, {
      timeoutMs: 60_000,
    });
    await events.closed;
    expect(events.events.at(-1)).toMatchObject({ event: 'done', data: { state: 'SUCCESS' } });
    const times = events.events.map(({ at }) => at);
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(500);

    // Refused by its head alone: web has it before the body, of which most is never sent.
    const raw = openRaw(stack.balancerUrl);
    await raw.write(`${requestHead('face/image', { 'Content-Length': 1e9 })}--boundary-of-a-test\r\n`);
    expect((await raw.answer()).status).toBe(413);
    raw.destroy();

    for (let n = 0; n < 40; n++) await submit(stack.balancerUrl, 'object/image', { file: PICTURE() });
    const texts = await Promise.all((await stack.containers('web')).map((container) => stack.logs(container)));
    expect(texts).toHaveLength(3);
    for (const text of texts) expect(text).toContain('"msg":"task accepted"');
  });
});
