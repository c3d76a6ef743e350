import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult, VideoResult } from '../../src/contract/results.ts';
import { ERROR_STATUS } from '../../src/errors.ts';
import { post, taskIn } from '../support/api.ts';
import { BAD_VIDEOS, type BadVideo, expectAsListed, startBait, type Verdict } from '../support/bad-files.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { requireShared } from '../support/shared.ts';
import { startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

describe.skipIf(!requireShared())('bad videos', () => {
  let web: TestWeb;
  let bait: Awaited<ReturnType<typeof startBait>>;
  beforeAll(async () => {
    web = await startWeb();
    bait = await startBait();
  });
  afterAll(async () => {
    bait?.stop();
    await web?.stop();
  });

  const stored = () => storedIn(web.folders);
  const temporary = () => temporaryIn(web.folders);

  function checkResult(
    result: VideoResult | undefined,
    { width, height, fps, frames, faces_per_frame, objects }: NonNullable<BadVideo['reference']>,
  ): void {
    if (width !== undefined) expect(result?.video).toMatchObject({ width, height });
    if (fps !== undefined) expect(result?.video.fps).toBeCloseTo(fps, 0);
    if (frames !== undefined) expect(result?.total_frames).toBe(frames);
    if (faces_per_frame !== undefined && result !== undefined && 'frames_with_faces' in result) {
      expect(result.frames_with_faces.length).toBe(result.processed_frames);
      for (const frame of result.frames_with_faces) expect(frame.faces_count).toBe(faces_per_frame);
    }
    if (objects !== undefined && result !== undefined && 'object_summary' in result) {
      expect(Object.keys(result.object_summary)).toEqual(expect.arrayContaining(objects));
    }
  }

  /** Posts it and follows it to its end; checks what holds for every case. */
  async function judge(
    route: string,
    { file: path, reference }: BadVideo,
    fields: Record<string, string>,
  ): Promise<Verdict> {
    const before = stored();
    const answer = await post(web.url, route, {
      file: sharedFile(`bad/${path}`),
      name: path.split('/').at(-1) ?? '',
      fields,
    });
    const { status, ms } = answer;
    if (status !== 202) {
      expect(status).toBeLessThan(500);
      expect(stored()).toEqual(before);
      expect(temporary()).toEqual([]);
      return { accepted: false, atUpload: true, status, code: answer.body.error_code, ms };
    }
    const id = String(answer.body.data.task_id);
    const task = await taskIn<VideoResult>(web.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 110_000 });
    expect(JSON.stringify(task)).not.toContain(web.folders.root);
    expect(task.attempts).toBe(1);
    expect(temporary()).toEqual([]);
    if (task.state === 'FAILURE') {
      const code = task.error?.error_code ?? 'INTERNAL';
      return { accepted: false, atUpload: false, status: ERROR_STATUS[code], code, ms };
    }
    if (reference !== undefined) checkResult(task.result, reference);
    return { accepted: true, atUpload: false, status, code: undefined, ms };
  }

  // Objects are looked for without a copy, faces with one: each file goes both ways.
  describe.each<[string, Record<string, string>]>([
    ['face/video', { annotate: 'auto' }],
    ['object/video', { annotate: 'false', frame_skip: '25' }],
  ])('at %s with %o', (route, fields) => {
    it.each(BAD_VIDEOS)(
      '$file: $expect ($why)',
      async (one) => {
        expectAsListed(await judge(route, one, fields), one);
        expect(bait.connections()).toBe(0);
      },
      120_000,
    );
  });

  it('a video that breaks off in the middle says how much of it was read', async () => {
    const answer = await post(web.url, 'face/video', {
      file: sharedFile('bad/video/truncated-data.mp4'),
      fields: { annotate: 'false' },
    });
    const task = await taskIn<FaceVideoResult>(web.url, String(answer.body.data.task_id), ['SUCCESS', 'FAILURE']);
    expect(task.error?.error_code).toBe('UNREADABLE_MEDIA');
    expect(task.error?.details).toEqual([{ frames_read: expect.any(Number) }]);
  });

  it('pictures go on as before', async () => {
    const answer = await post(web.url, 'face/image', { file: goodPicture(), query: 'wait=20' });
    expect(answer.body.data).toMatchObject({ state: 'SUCCESS', result: { faces_detected: 1 } });
    expect(temporary()).toEqual([]);
  });
});
