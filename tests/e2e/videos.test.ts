import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult } from '../../src/contract/results.ts';
import { ended, getTask, submit, taskIn } from '../support/api.ts';
import { launchBrowser } from '../support/browser.ts';
import { sharedFile } from '../support/pictures.ts';
import { type Service, startService } from '../support/service.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

describe.skipIf(!requireShared())('videos in the whole service', () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService({ env: { WORKER_CONCURRENCY: '1' } });
  });
  afterAll(async () => {
    await service?.stop();
  });

  const temporary = () => readdirSync(join(service.home.environment.DATA_DIR ?? '', 'uploads', '.tmp'));

  it('a worker that is killed in the middle of a video leaves nothing behind, and the video is done by the next one', async () => {
    const file = sharedFile('videos/people-one-by-one.mp4');
    const id = await submit(service.url, 'face/video', { file, fields: { frame_skip: '8' } });
    await waitFor('progress', async () => ((await getTask(service.url, id)).progress?.done ?? 0) > 50, {
      timeoutMs: 30_000,
    });
    expect(temporary().length).toBeGreaterThan(0);
    service.kill9('worker:face');
    const task = await taskIn<FaceVideoResult>(service.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 120_000 });
    expect(task.error).toBeUndefined();
    expect(task.attempts).toBe(2);
    expect(task.result).toMatchObject({ total_frames: 1394, processed_frames: 175 });
    expect(temporary()).toEqual([]);
    expect(service.processes().filter(({ command }) => command.includes('ffmpeg'))).toEqual([]);
  });

  it('the annotated copy plays and can be sought in a browser', async () => {
    const id = await submit(service.url, 'face/video', { file: sharedFile('videos/signer-mpeg4.avi') });
    const { result } = await ended<FaceVideoResult>(service.url, id);
    const browser = await launchBrowser();
    try {
      const { page } = await browser.open();
      const seen = await page.evaluate(`(async () => {
        const video = document.createElement('video');
        const event = (name) => new Promise((resolve, reject) => {
          video.addEventListener(name, resolve, { once: true });
          video.addEventListener('error', () => reject(new Error(video.error.message)), { once: true });
          setTimeout(() => reject(new Error('no ' + name)), 15000);
        });
        Object.assign(video, { muted: true, preload: 'auto', src: '${service.url}${result?.annotated_video}' });
        document.body.append(video);
        await event('canplay');
        const { duration, videoWidth, videoHeight } = video;
        await video.play();
        await event('timeupdate');
        video.pause();
        const sought = event('seeked');
        video.currentTime = 2;
        await sought;
        return { duration, videoWidth, videoHeight, soughtTo: video.currentTime };
      })()`);
      expect(seen).toMatchObject({ videoWidth: 480, videoHeight: 360, soughtTo: 2 });
      expect((seen as { duration: number }).duration).toBeCloseTo(2.97, 1);
    } finally {
      await browser.close();
    }
  });
});
