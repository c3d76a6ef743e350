import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, ended, getTask, submit, taskIn } from '../support/api.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { serviceProcesses } from '../support/processes.ts';
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

const environmentOf = (pid: number | string) => readFileSync(`/proc/${pid}/environ`, 'utf8');

/** Environments of the programs that the threads of a process run; one that just ends has none any more. */
function programsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' '))
      .filter((child) => child !== '')
      .map(environmentOf)
      .filter((environment) => environment !== '');
  } catch {
    // A thread or a program has ended in between.
    return [];
  }
}

describe.skipIf(!requireShared())('encryption at rest in the whole service', () => {
  let service: Service;
  /** Of detection processes and the ffmpeg that reads a video, while it does. */
  let environments = { lanes: [] as string[], programs: [] as string[] };
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
    await waitFor('ffmpeg', () => {
      const lanes = serviceProcesses(service.home.root).filter(({ command }) => /lanes\/lane\.ts/.test(command));
      environments = {
        lanes: lanes.map(({ pid }) => environmentOf(pid)),
        programs: lanes.flatMap(({ pid }) => programsOf(pid)),
      };
      return environments.programs.length > 0;
    });
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
      '"bbox":',
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

  it('hands no secret to the programs that read files of strangers', () => {
    const { lanes, programs } = environments;
    expect(lanes.length).toBe(2);
    expect(programs.length).toBeGreaterThanOrEqual(1);
    for (const environment of [...lanes, ...programs]) {
      expect(environment).toContain('PATH=');
      expect(environment).not.toMatch(/(^|\0)(RESULT_ENCRYPTION_KEY|REDIS_URL|API_KEYS)=/);
      expect(environment).not.toContain('k1:');
    }
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
