import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ended, getTask, submit, taskIn } from '../support/api.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { type Service, startService } from '../support/service.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';

const FILE_NAME = 'holiday-of-somebody.jpg';

/** Every file below a folder with its content. */
function filesBelow(folder: string): { path: string; content: Buffer }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, content: readFileSync(path) }));
}

describe.skipIf(!requireShared())('encryption at rest in the whole service', () => {
  let service: Service;
  let picture: Uint8Array<ArrayBuffer>;
  let video: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    picture = goodPicture();
    video = sharedFile('videos/signer-mpeg4.avi');
    service = await startService({
      env: {
        RESULT_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}`,
        WORKER_CONCURRENCY: '1',
        LOG_LEVEL: 'trace',
      },
    });
    const { url } = service;
    const post = (route: string, file: Uint8Array<ArrayBuffer>, fields: Record<string, string> = {}) =>
      submit(url, route, { file, name: FILE_NAME, fields });
    const ids = [
      await post('object/image', picture, { classes: 'person,bicycle', confidence: '0.3217', annotate: 'true' }),
      await post('face/image', picture),
      await post('face/video', video),
      await post('face/image', sharedFile('bad/image/truncated-half.png')),
    ];
    for (const id of ids) await ended(url, id);
    const long = await post('object/video', sharedFile('videos/people-one-by-one.mp4'), { classes: 'toothbrush' });
    await taskIn(url, long, ['PROCESSING']);
    await waitFor('progress', async () => (await getTask(url, long)).progress !== undefined, { timeoutMs: 60_000 });
    await call(`${url}/api/task/${long}`, { method: 'DELETE' });
    const { result } = await getTask(url, ids[1] ?? '');
    const copy = await fetch(`${url}${result?.annotated_image}`);
    expect(copy.status).toBe(200);
    await copy.arrayBuffer();
  });
  afterAll(async () => {
    await service?.stop();
  });

  it('leaves nothing that anybody could read in Redis, folders and logs', () => {
    const { DATA_DIR = '', LOG_DIR = '' } = service.home.environment;
    const stored = filesBelow(DATA_DIR);
    const files = [...stored, ...filesBelow(LOG_DIR)];
    const paths = files.map(({ path }) => path).join('\n');
    for (const place of [
      /appendonly/,
      /uploads\/[0-9a-f]{32}\.jpg\.sealed/,
      /_annotated\.mp4\.sealed/,
      /_detections\.json\.sealed/,
      /face_worker_1\.log/,
    ])
      expect(paths).toMatch(place);
    const slice = (file: Uint8Array, at: number) => Buffer.from(file.subarray(at, at + 24));
    const secrets = [
      FILE_NAME,
      'holiday',
      '0.3217',
      'toothbrush',
      'bicycle',
      'max_detections',
      'faces_detected',
      'objects_detected',
      'landmarks',
      'bbox',
      'etaSeconds',
      slice(picture, 100),
      slice(picture, picture.length - 100),
      slice(video, video.length >> 1),
      Buffer.from('ftypisom'),
    ];
    for (const { path, content } of files) {
      for (const secret of secrets) expect(content.includes(secret), `${secret} in ${path}`).toBe(false);
    }
    // Why a task failed is for the log, in a sentence that says nothing of the file.
    for (const { path, content } of stored) expect(content.includes('damaged'), path).toBe(false);
    expect(service.output()).not.toMatch(/holiday|toothbrush|bicycle|0\.3217|landmarks/);
  });

  it('is the dashboard allowed to see through', async () => {
    const board = async (query: string) => {
      const response = await fetch(`${service.dashboardUrl}/api/queues?${query}`);
      expect(response.status).toBe(200);
      return response.text();
    };
    expect(await board('activeQueue=object_detection&status=completed&page=1&jobsPerPage=10')).toContain('0.3217');
    expect(await board('activeQueue=face_detection&status=failed&page=1&jobsPerPage=10')).toContain('UNREADABLE_MEDIA');
  });
});
