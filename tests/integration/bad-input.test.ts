import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_STATUS } from '../../src/errors.ts';
import { checkEnvelope, type Envelope, ended, getTask, post, submit } from '../support/api.ts';
import {
  AWKWARD_NAMES,
  BAD_PICTURES,
  type BadPicture,
  expectAsListed,
  startBait,
  type Verdict,
} from '../support/bad-files.ts';
import { boxOf, iou } from '../support/boxes.ts';
import { lanePids, residentBytes } from '../support/lanes.ts';
import { goodPicture, sharedFile } from '../support/pictures.ts';
import { BODY_END, openRaw, partHead, requestHead } from '../support/raw-http.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Bytes that this process needs, once what it no longer needs is collected. */
function memoryInUse(): { heap: number; resident: number } {
  collectGarbage();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, resident: rss };
}

describe.skipIf(!requireShared())('bad input', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  let bait: Awaited<ReturnType<typeof startBait>>;
  let canary: string;
  let memory: { heap: number; resident: number; lanes: number[] };
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb();
    bait = await startBait();
    canary = join(web.folders.root, 'canary');
    mkdirSync(canary);
    writeFileSync(join(canary, 'x'), '');
    // What a process needs for good is there after its first tasks.
    for (let i = 0; i < 10; i++) {
      for (const route of ['face/image', 'object/image']) await ended(web.url, await submit(web.url, route, { file }));
    }
    memory = { ...memoryInUse(), lanes: lanePids().map(residentBytes) };
  });
  afterAll(async () => {
    bait?.stop();
    await web?.stop();
  });

  const stored = () => storedIn(web.folders);
  const temporary = () => temporaryIn(web.folders);

  /** Posts it and follows it to its end; checks what holds for every case. */
  async function judge(route: string, { file: path, reference }: BadPicture): Promise<Verdict> {
    const before = stored();
    const answer = await post(web.url, route, { file: sharedFile(`bad/${path}`), name: path.split('/').at(-1) ?? '' });
    const { status, ms } = answer;
    expect(temporary()).toEqual([]);
    if (status !== 202) {
      expect(status).toBeLessThan(500);
      expect(stored()).toEqual(before);
      return { accepted: false, atUpload: true, status, code: answer.body.error_code, ms };
    }
    const task = await ended(web.url, String(answer.body.data.task_id));
    expect(JSON.stringify(task)).not.toContain(web.folders.root);
    expect(task.attempts).toBe(1);
    expect(temporary()).toEqual([]);
    if (task.state === 'FAILURE') {
      const { error_code, message } = task.error ?? { error_code: 'INTERNAL', message: '' };
      checkEnvelope({ success: false, message, error_code, timestamp: new Date().toISOString() } as Envelope, message);
      return { accepted: false, atUpload: false, status: ERROR_STATUS[error_code], code: error_code, ms };
    }
    expect(task.state).toBe('SUCCESS');
    if (reference !== undefined) {
      expect(task.result?.image).toEqual({ width: reference.width, height: reference.height });
      checkBoxes(task.result, reference);
    }
    return { accepted: true, atUpload: false, status, code: undefined, ms };
  }

  function checkBoxes(result: object | undefined, reference: NonNullable<BadPicture['reference']>): void {
    const { faces, objects } = (result ?? {}) as {
      faces?: { bbox: ReturnType<typeof boxOf> }[];
      objects?: { class: string; bbox: ReturnType<typeof boxOf> }[];
    };
    for (const corners of faces === undefined ? [] : (reference.faces ?? [])) {
      const overlaps = faces?.map(({ bbox }) => iou(bbox, boxOf(corners))) ?? [];
      expect(Math.max(0, ...overlaps)).toBeGreaterThanOrEqual(0.5);
      expect(faces?.length).toBe(reference.faces?.length);
    }
    for (const [label, corners] of objects === undefined ? [] : (reference.objects ?? [])) {
      const same = objects?.filter((object) => object.class === label) ?? [];
      expect(Math.max(0, ...same.map(({ bbox }) => iou(bbox, boxOf(corners))))).toBeGreaterThanOrEqual(0.5);
    }
    for (const { bbox } of [...(faces ?? []), ...(objects ?? [])]) {
      expect(bbox.x + bbox.width).toBeLessThanOrEqual(reference.width);
      expect(bbox.y + bbox.height).toBeLessThanOrEqual(reference.height);
    }
  }

  describe.each(['face/image', 'object/image'])('at %s', (route) => {
    it.each(BAD_PICTURES)('$file: $expect ($why)', async (one) => {
      const verdict = await judge(route, one);
      expectAsListed(verdict, one);
      if (/within 1 s/.test(one.why)) expect(verdict.ms).toBeLessThan(1000);
    });
  });

  describe('the name of a file', () => {
    it.each(AWKWARD_NAMES.map((name, index) => [index, name.slice(0, 60), name] as const))(
      "is nobody's business: %i %j",
      async (_index, _shown, name) => {
        const before = stored();
        const quoted = name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
        const dispositions = [
          // As a browser sends it, as it is, and in the words of RFC 5987.
          `name="file"; filename="${quoted}"`,
          `name="file"; filename="${name}"`,
          `name="file"; filename="x"; filename*=UTF-8''${encodeURIComponent(name)}`,
        ];
        const answers = await Promise.all(
          dispositions.map(async (disposition) => {
            const body = Buffer.concat([partHead(disposition), file, BODY_END].map((part) => Buffer.from(part)));
            const raw = openRaw(web.url);
            await raw.write(requestHead('face/image', { 'Content-Length': body.length }));
            await raw.write(body);
            const answer = await raw.answer().finally(() => raw.destroy());
            const envelope = JSON.parse(answer.body) as Envelope;
            checkEnvelope(envelope, answer.body);
            expect(answer.headers).not.toHaveProperty('x-injected');
            return { status: answer.status, envelope };
          }),
        );
        const accepted = answers.filter(({ status }) => status === 202);
        for (const { status } of answers) expect(status === 202 || (status >= 400 && status < 500)).toBe(true);
        expect(accepted.length).toBeGreaterThanOrEqual(1);
        const results = await Promise.all(
          accepted.map(({ envelope }) => ended(web.url, String(envelope.data.task_id))),
        );
        for (const { state, result } of results) {
          expect(state).toBe('SUCCESS');
          expect(result).toMatchObject({ faces_detected: 1 });
          expect(result?.original_image).toMatch(/^\/api\/uploads\/[0-9a-f]{32}\.jpg$/);
        }
        const names = results.map(({ result }) => result?.original_image.split('/').at(-1));
        expect(new Set(stored())).toEqual(new Set([...before, ...names]));
        expect(temporary()).toEqual([]);
      },
    );

    it("of files that lie about is nobody's business, either", async () => {
      for (const name of readdirSync(sharedPath('data/bad/names'))) {
        const id = await submit(web.url, 'face/image', { file: sharedFile(`bad/names/${name}`), name });
        expect(await ended(web.url, id)).toMatchObject({ state: 'SUCCESS', result: { faces_detected: 1 } });
      }
    });
  });

  describe('after all that', () => {
    it('good pictures are looked at as before, by the workers of before', async () => {
      for (const [route, found] of [
        ['face/image', { faces_detected: 1 }],
        ['object/image', { objects_detected: 1 }],
      ] as const) {
        const id = await submit(web.url, route, { file });
        expect(await ended(web.url, id)).toMatchObject({ state: 'SUCCESS', attempts: 1, result: found });
      }
    });

    it('nobody has called anywhere, and no other file was touched', async () => {
      expect(bait.connections()).toBe(0);
      expect(readdirSync(web.folders.root).sort()).toEqual(['canary', 'logs', 'models', 'uploads']);
      expect(readdirSync(canary)).toEqual(['x']);
    });

    it('what is stored is what was accepted, and nothing is half written', async () => {
      expect(temporary()).toEqual([]);
      for (const name of stored()) expect(name).toMatch(/^[0-9a-f]{32}\.(jpg|png|webp|gif|tiff|avif|bmp)$/);
    });

    it('memory is where it was, within reason', async () => {
      const now = memoryInUse();
      // The tests live in this process, too: some of it are their own results.
      expect(now.heap - memory.heap).toBeLessThan(30 * 2 ** 20);
      expect(now.resident - memory.resident).toBeLessThan(250 * 2 ** 20);
      const lanes = lanePids().map(residentBytes);
      expect(lanes.length).toBe(memory.lanes.length);
      for (const bytes of lanes) expect(bytes).toBeLessThan(700 * 2 ** 20);
    });
  });

  it('a picture that was refused leaves its task to be read about', async () => {
    const id = await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') });
    await ended(web.url, id);
    expect(await getTask(web.url, id)).toMatchObject({ state: 'FAILURE', error: { error_code: 'UNREADABLE_MEDIA' } });
  });
});
