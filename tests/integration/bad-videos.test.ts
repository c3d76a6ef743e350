import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult, VideoResult } from '../../src/contract/results.ts';
import { ERROR_STATUS } from '../../src/errors.ts';
import { post, taskIn } from '../support/api.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { startWeb, type TestWeb } from '../support/web.ts';

type Case = {
  file: string;
  endpoint: string;
  expect: 'accept' | 'reject' | 'either';
  why: string;
  at_upload?: boolean;
  status?: number[];
  error_code?: string[];
  task_error_code?: string[];
  reference?: {
    width?: number;
    height?: number;
    fps?: number;
    frames?: number;
    faces_per_frame?: number;
    objects?: string[];
  };
};

const CASES: Case[] = requireShared()
  ? (JSON.parse(readFileSync(sharedPath('data/bad/manifest.json'), 'utf8')) as { cases: Case[] }).cases.filter(
      ({ endpoint }) => endpoint === 'video',
    )
  : [];

/** Where some files of the set would like to connect to. */
const BAIT_PORT = 9;

describe.skipIf(!requireShared())('bad videos', () => {
  let web: TestWeb;
  let bait: Server;
  let connections = 0;
  beforeAll(async () => {
    web = await startWeb();
    bait = createServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => {
      bait.once('error', () => resolve());
      bait.listen(BAIT_PORT, '127.0.0.1', () => resolve());
    });
  });
  afterAll(async () => {
    bait?.close();
    await web?.stop();
  });

  const stored = () => readdirSync(web.folders.uploads).filter((name) => name !== '.tmp');
  const temporary = () => readdirSync(web.folders.tmp);

  type Verdict = { accepted: boolean; atUpload: boolean; status: number; code: string | undefined };

  function checkResult(
    result: VideoResult | undefined,
    { width, height, fps, frames, faces_per_frame, objects }: NonNullable<Case['reference']>,
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
    { file: path, reference }: Case,
    fields: Record<string, string>,
  ): Promise<Verdict> {
    const before = stored();
    const answer = await post(web.url, route, {
      file: sharedFile(`bad/${path}`),
      name: path.split('/').at(-1) ?? '',
      fields,
    });
    if (answer.status !== 202) {
      expect(answer.status).toBeLessThan(500);
      expect(stored()).toEqual(before);
      expect(temporary()).toEqual([]);
      return { accepted: false, atUpload: true, status: answer.status, code: answer.body.error_code };
    }
    const id = String(answer.body.data.task_id);
    const task = await taskIn<VideoResult>(web.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 110_000 });
    expect(JSON.stringify(task)).not.toContain(web.folders.root);
    expect(task.attempts).toBe(1);
    expect(temporary()).toEqual([]);
    if (task.state === 'FAILURE') {
      const code = task.error?.error_code ?? 'INTERNAL';
      return { accepted: false, atUpload: false, status: ERROR_STATUS[code], code };
    }
    if (reference !== undefined) checkResult(task.result, reference);
    return { accepted: true, atUpload: false, status: answer.status, code: undefined };
  }

  // Objects are looked for without a copy, faces with one: each file goes both ways.
  describe.each<[string, Record<string, string>]>([
    ['face/video', { annotate: 'auto' }],
    ['object/video', { annotate: 'false', frame_skip: '25' }],
  ])('at %s with %o', (route, fields) => {
    it.each(CASES)(
      '$file: $expect ($why)',
      async (one) => {
        const verdict = await judge(route, one, fields);
        const said = JSON.stringify(verdict);
        if (one.expect === 'accept') expect(verdict.accepted, said).toBe(true);
        if (one.expect === 'reject') expect(verdict.accepted, said).toBe(false);
        if (one.at_upload) expect(verdict.atUpload, said).toBe(true);
        if (!verdict.accepted) {
          const late = !verdict.atUpload && verdict.code === 'UNREADABLE_MEDIA';
          const codes = [...(one.error_code ?? []), ...(verdict.atUpload ? [] : (one.task_error_code ?? []))];
          expect(late || codes.includes(verdict.code ?? ''), said).toBe(true);
          if (verdict.atUpload) expect(one.status, said).toContain(verdict.status);
        }
        expect(connections).toBe(0);
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
