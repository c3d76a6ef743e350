import { existsSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JOB_VERSION, type JobData } from '../../src/contract/task.ts';
import { createLanes, type Lanes } from '../../src/lanes/lanes.ts';
import { NO_KEYS } from '../../src/sealing/keyring.ts';
import { annotatedName, newBase, originalName } from '../../src/storage/names.ts';
import { storageSettings } from '../../src/storage/settings.ts';
import { openStorage } from '../../src/storage/storage.ts';
import { laneSettings } from '../../src/worker/lane-settings.ts';
import { runTask } from '../../src/worker/task-runner.ts';
import { requireShared } from '../support/shared.ts';
import { makeFolders, pullModels, testConfig } from '../support/web.ts';

const log = pino({ level: 'silent' });

describe.skipIf(!requireShared())('an attempt that fails', () => {
  let lanes: Lanes | undefined;

  afterAll(() => lanes?.close());

  let fail: (taskId: string) => Promise<unknown>;
  let tmp = '';

  beforeAll(async () => {
    const folders = await makeFolders();
    await pullModels(folders.models, ['yolox_nano']);
    const config = testConfig(folders);
    tmp = folders.tmp;
    const storage = await openStorage(storageSettings(config), NO_KEYS, log);
    const running = createLanes(1, laneSettings(config, ['yolox_nano']), 10, log);
    lanes = running;
    const base = newBase();
    const path = storage.temporaryPath();
    writeFileSync(path, 'not a picture at all');
    const name = originalName(base, 'jpg');
    await storage.commit(path, name);
    const data: JobData = {
      v: JOB_VERSION,
      kind: 'object',
      media: 'image',
      owner: null,
      request_id: 'test',
      file: { name, mime: 'image/jpeg', bytes: 20, sha256: '0'.repeat(64), width: 64, height: 48 },
      annotated: annotatedName(base, 'jpg'),
      options: {
        model: 'yolox_nano',
        confidence: 0.3,
        nms: 0.45,
        max_detections: 100,
        annotate: 'true',
        priority: 5,
      },
    };
    fail = (taskId) =>
      runTask(taskId, data, 0, { lanes: running, storage }, new AbortController().signal).catch(
        (error: unknown) => error,
      );
  });

  it('removes its own temporary files and none of another attempt at the same task', async () => {
    const ofSuccessor = join(tmp, `one-${'0'.repeat(32)}.part`);
    writeFileSync(ofSuccessor, 'half a picture');
    expect(await fail('one')).toMatchObject({ code: 'UNREADABLE_MEDIA' });
    expect(existsSync(ofSuccessor)).toBe(true);
    expect((await readdir(tmp)).filter((name) => name.startsWith('one-'))).toHaveLength(1);
  });
});
