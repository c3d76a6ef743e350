import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type {
  FaceImageResult,
  FaceVideoResult,
  ObjectImageResult,
  ObjectVideoResult,
  VideoResult,
} from '../../src/contract/results.ts';
import type { Task } from '../../src/contract/task.ts';
import { call, expectError, getTask, post, submit, taskIn } from '../support/api.ts';
import { iou } from '../support/boxes.ts';
import { openEvents } from '../support/events.ts';
import { ffmpeg, ffmpegsOn, ffprobe } from '../support/ffmpeg.ts';
import { sharedFile } from '../support/pictures.ts';
import { requireShared, sharedPath } from '../support/shared.ts';
import { knownVideos } from '../support/videos.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

const VIDEOS = new Map(knownVideos());
const WITH_ONE_FACE = [...VIDEOS.keys()].filter((name) => name.startsWith('signer'));

const video = (name: string) => sharedFile(`videos/${name}`);

async function probe(path: string) {
  const { streams } = await ffprobe<{
    streams: { width: number; height: number; pix_fmt: string; codec_name: string; nb_read_frames: string }[];
  }>(path, '-count_frames', '-select_streams', 'v:0', '-show_streams');
  return streams[0];
}

const NOWHERE = { x: 0, y: 0, width: 0, height: 0 };

/** One frame of a video as PNG, of the size at which a person sees it; ffmpeg turns rotated videos by itself. */
async function frameAsPicture(path: string, frame: number, size: string): Promise<Uint8Array<ArrayBuffer>> {
  const filter = `select=eq(n\\,${frame}),scale=${size}`;
  return new Uint8Array(
    await ffmpeg('-i', path, '-vf', filter, '-frames:v', '1', '-f', 'image2pipe', '-c:v', 'png', '-'),
  );
}

describe.skipIf(!requireShared())('videos over HTTP', () => {
  let web: TestWeb;
  beforeAll(async () => {
    web = await startWeb({ env: { WORKER_CONCURRENCY: '2' } });
  });
  afterAll(async () => {
    await web?.stop();
  });

  const stored = () => storedIn(web.folders);
  const temporary = () => temporaryIn(web.folders);
  const fileOf = (path: string | null | undefined) => join(web.folders.uploads, path?.split('/').at(-1) ?? '');
  const ffmpegs = () => ffmpegsOn(web.folders.root);

  async function succeed<R extends VideoResult>(
    route: string,
    name: string,
    fields: Record<string, string> = {},
  ): Promise<R> {
    const id = await submit(web.url, route, { file: video(name), name, fields });
    const task = await taskIn<R>(web.url, id, ['SUCCESS', 'FAILURE'], { timeoutMs: 55_000 });
    expect(task.error).toBeUndefined();
    expect(task.state).toBe('SUCCESS');
    if (task.result === undefined) throw new Error('There is no result.');
    return task.result;
  }

  it.each(WITH_ONE_FACE)('%s: one face in every analysed frame, one in all', async (name) => {
    const result = await succeed<FaceVideoResult>('face/video', name, { annotate: 'false' });
    const facts = VIDEOS.get(name);
    expect(result.total_frames).toBe(facts?.frames);
    expect(result.processed_frames).toBe(Math.ceil((facts?.frames ?? 0) / 5));
    expect([result.video.width, result.video.height]).toEqual(facts?.shown);
    expect(result.video.codec).toBe(facts?.codec);
    expect(result.frames_with_faces.map(({ frame }) => frame)).toEqual(
      Array.from({ length: result.processed_frames }, (_, i) => 5 * i),
    );
    expect(result.frames_with_faces.every(({ faces_count, faces }) => faces_count === 1 && faces.length === 1)).toBe(
      true,
    );
    expect(result.total_faces_detected).toBe(result.processed_frames);
    expect(result.unique_faces).toBe(1);
    expect(result.annotated_video).toBeNull();
    for (const { faces } of result.frames_with_faces) {
      for (const { bbox, track_id } of faces) {
        expect(track_id).toBe(1);
        expect(bbox.x + bbox.width).toBeLessThanOrEqual(result.video.width);
        expect(bbox.y + bbox.height).toBeLessThanOrEqual(result.video.height);
      }
    }
  });

  it('counts two people once each, and not at all without tracking', async () => {
    const tracked = await succeed<FaceVideoResult>('face/video', 'two-faces.mp4', { annotate: 'false' });
    expect(tracked.unique_faces).toBe(2);
    expect(tracked.frames_with_faces.every(({ faces_count }) => faces_count === 2)).toBe(true);
    const untracked = await succeed<FaceVideoResult>('face/video', 'two-faces.mp4', {
      annotate: 'false',
      track: 'false',
    });
    expect(untracked.unique_faces).toBeUndefined();
    expect(untracked.frames_with_faces[0]?.faces[0]?.track_id).toBeUndefined();
  });

  it('finds objects with their labels, counted and followed', async () => {
    const result = await succeed<ObjectVideoResult>('object/video', 'signer.mkv', {
      annotate: 'false',
      classes: 'person',
      frame_skip: '10',
    });
    expect(result.object_summary).toEqual({ person: 9 });
    expect(result.unique_objects).toEqual({ person: 1 });
    expect(result.frames_with_objects.map(({ frame, objects }) => [frame, objects])).toEqual(
      Array.from({ length: 9 }, (_, i) => [10 * i, ['person']]),
    );
  });

  it.each(WITH_ONE_FACE)('%s: finds in a frame what it finds in that frame sent as a picture', async (name) => {
    const [inVideo, objects] = await Promise.all([
      succeed<FaceVideoResult>('face/video', name, { annotate: 'false', frame_skip: '15' }),
      succeed<ObjectVideoResult>('object/video', name, { annotate: 'false', frame_skip: '15', classes: 'person' }),
    ]);
    const { frame = -1, faces = [] } = inVideo.frames_with_faces[1] ?? {};
    const person = objects.frames_with_objects[1]?.detections[0];
    expect([frame, objects.frames_with_objects[1]?.frame]).toEqual([15, 15]);
    const { width, height } = inVideo.video;
    const file = await frameAsPicture(sharedPath(`data/videos/${name}`), frame, `${width}:${height}`);
    const [face, object] = await Promise.all([
      post(web.url, 'face/image', { file, query: 'wait=30' }),
      post(web.url, 'object/image', { file, query: 'wait=30&classes=person' }),
    ]);
    const [picturedFace] = (face.body.data as { result: FaceImageResult }).result.faces;
    const [picturedPerson] = (object.body.data as { result: ObjectImageResult }).result.objects;
    expect(iou(faces[0]?.bbox ?? NOWHERE, picturedFace?.bbox ?? NOWHERE)).toBeGreaterThan(0.85);
    expect(faces[0]?.confidence).toBeCloseTo(picturedFace?.confidence ?? 0, 0.9);
    expect(iou(person?.bbox ?? NOWHERE, picturedPerson?.bbox ?? NOWHERE)).toBeGreaterThan(0.85);
  });

  it('looks only at the wanted time, with frame numbers and times of the whole file', async () => {
    const result = await succeed<FaceVideoResult>('face/video', 'signer.mkv', {
      start: '1',
      end: '2',
      frame_skip: '3',
      annotate: 'false',
    });
    expect(result.total_frames).toBe(89);
    expect(result.processed_frames).toBe(10);
    expect(result.frames_with_faces[0]).toMatchObject({ frame: 30 });
    expect(result.frames_with_faces[0]?.timestamp).toBeCloseTo(1, 1);
    expect(result.frames_with_faces.at(-1)?.timestamp).toBeLessThan(2);
  });

  it('draws a copy that a browser plays, and serves it and the detections in parts', async () => {
    const result = await succeed<FaceVideoResult>('face/video', 'signer-phone-rotated.mov');
    const copy = await probe(fileOf(result.annotated_video));
    expect(copy).toMatchObject({
      codec_name: 'h264',
      pix_fmt: 'yuv420p',
      width: 480,
      height: 360,
      nb_read_frames: '89',
    });
    const part = await fetch(`${web.url}${result.annotated_video}`, { headers: { Range: 'bytes=0-99' } });
    expect([part.status, part.headers.get('content-type'), (await part.arrayBuffer()).byteLength]).toEqual([
      206,
      'video/mp4',
      100,
    ]);
    const original = await fetch(`${web.url}${result.original_video}`, { method: 'HEAD' });
    expect([
      original.status,
      original.headers.get('content-type'),
      original.headers.get('x-content-type-options'),
    ]).toEqual([200, 'video/quicktime', 'nosniff']);
    const detections = await fetch(`${web.url}${result.detections_url}`);
    expect(detections.headers.get('content-type')).toContain('application/json');
    expect(await detections.json()).toEqual({ frames: result.frames_with_faces });
    const lines = await fetch(`${web.url}${result.detections_url.replace('.json', '.ndjson')}`);
    expect(
      (await lines.text())
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(result.frames_with_faces);
  });

  it('keeps the list in the result short and all of it in the file', async () => {
    const result = await succeed<ObjectVideoResult>('object/video', 'crowd.mp4', {
      annotate: 'false',
      frame_skip: '1',
      confidence: '0.02',
      max_detections: '100',
    });
    expect(result.truncated).toBe(true);
    expect(JSON.stringify(result).length).toBeLessThan(256 * 1024);
    const all = (await (await fetch(`${web.url}${result.detections_url}`)).json()) as { frames: unknown[] };
    expect(all.frames.length).toBeGreaterThan(result.frames_with_objects.length);
    expect(all.frames.slice(0, result.frames_with_objects.length)).toEqual(result.frames_with_objects);
  });

  it('says how far it is, by polling and as events', async () => {
    const id = await submit(web.url, 'object/video', {
      file: video('people-one-by-one.mp4'),
      fields: { annotate: 'false', frame_skip: '10' },
    });
    const events = await openEvents(`${web.url}/api/task/${id}/events`);
    const running = await waitFor('progress', async () => {
      const task = await getTask<ObjectVideoResult>(web.url, id);
      return (task.progress?.done ?? 0) > 0 ? task : undefined;
    });
    expect(running.status).toMatch(/^Detecting objects: frame \d+ of 1394$/);
    expect(running.progress).toMatchObject({ unit: 'frames', total: 1394 });
    await events.closed;
    const said = events.events.map(({ event, data }) => ({ event, task: data as Task }));
    const percents = said.flatMap(({ event, task }) => (event === 'progress' ? [task.progress?.percent ?? 0] : []));
    expect(percents.length).toBeGreaterThan(4);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(said.at(-1)).toMatchObject({ event: 'done', task: { state: 'SUCCESS' } });
  });

  it('cancels a running video for good within two seconds', async () => {
    const before = stored();
    const id = await submit(web.url, 'face/video', {
      file: video('people-one-by-one.mp4'),
      fields: { frame_skip: '1' },
    });
    await waitFor('ffmpeg', () => ffmpegs().length > 0);
    const answer = await call(`${web.url}/api/task/${id}`, { method: 'DELETE' });
    expect(answer.status).toBe(200);
    expect(answer.ms).toBeLessThan(2000);
    expect((await getTask(web.url, id)).state).toBe('REVOKED');
    await waitFor('ffmpeg to be gone', () => ffmpegs().length === 0, { timeoutMs: 5000 });
    await waitFor('its files to be gone', () => stored().length === before.length && temporary().length === 0);
    await succeed('face/video', 'two-faces.mp4', { annotate: 'false' });
  });

  it('keeps a slot free for pictures while videos run and wait', async () => {
    const fields = { annotate: 'false', frame_skip: '1', priority: '9' };
    const ids = [];
    for (let i = 0; i < 3; i++)
      ids.push(await submit(web.url, 'object/video', { file: video('people-one-by-one.mp4'), fields }));
    await taskIn(web.url, ids[0] ?? '', ['PROCESSING']);
    for (let i = 0; i < 3; i++) {
      const picture = await post(web.url, 'object/image', {
        file: sharedFile('samples/dog.jpg'),
        fields: { priority: '0', wait: '20' },
      });
      expect(picture.status).toBe(200);
      expect(picture.body.data).toMatchObject({ state: 'SUCCESS', attempts: 1 });
    }
    const videos = await Promise.all(ids.map((id) => getTask(web.url, id)));
    expect(videos.map(({ state }) => state)).toEqual(['PROCESSING', 'PENDING', 'PENDING']);
    for (const id of ids) expect((await call(`${web.url}/api/task/${id}`, { method: 'DELETE' })).status).toBe(200);
  });

  it.each([
    ['frame_skip', '0'],
    ['frame_skip', '-1'],
    ['frame_skip', 'abc'],
    ['frame_skip', '1.5'],
    ['start', '-1'],
    ['start', 'NaN'],
    ['end', '0'],
    ['track', 'maybe'],
  ])('refuses %s=%s', async (name, value) => {
    const answer = await post(web.url, 'face/video', { file: video('two-faces.mp4'), fields: { [name]: value } });
    expectError(answer, 400, 'INVALID_OPTION');
    expect(answer.body.message).toContain(name);
    expect(temporary()).toEqual([]);
  });

  it('refuses an end before the start, and options of videos for pictures', async () => {
    const twisted = await post(web.url, 'face/video', {
      file: video('two-faces.mp4'),
      fields: { start: '3', end: '2' },
    });
    expectError(twisted, 400, 'INVALID_OPTION');
    expectError(
      await post(web.url, 'face/image', { file: sharedFile('samples/dog.jpg'), fields: { frame_skip: '5' } }),
      400,
      'INVALID_OPTION',
    );
  });

  it('analyses one frame where the step is longer than the video, and none after its end', async () => {
    const one = await succeed<FaceVideoResult>('face/video', 'signer.mkv', {
      frame_skip: '1000000000',
      annotate: 'false',
    });
    expect([one.processed_frames, one.total_frames, one.unique_faces]).toEqual([1, 89, 1]);
    const none = await succeed<FaceVideoResult>('face/video', 'signer.mkv', { start: '100', annotate: 'false' });
    expect([none.processed_frames, none.total_frames, none.frames_with_faces]).toEqual([0, 89, []]);
    expect(existsSync(fileOf(none.detections_url))).toBe(true);
  });
});
