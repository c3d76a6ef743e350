import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaceVideoResult, ImageResult } from '../../src/contract/results.ts';
import { submit, taskIn } from '../support/api.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { PICTURE, video } from './load.ts';
import { createStack, docker, HAS_V2, ROOT, type Stack } from './stack.ts';

const BUCKET = 'recognize-test';
const END = ['SUCCESS', 'FAILURE', 'REVOKED'];

/** Tells which of the needles, in base64, are in files below the folders. */
const SEARCH = `
const { globSync, readFileSync, statSync } = require('node:fs');
const [folders, needles] = process.argv.slice(1).map((text) => JSON.parse(text));
const files = globSync(folders.map((folder) => folder + '/**')).filter((path) => statSync(path).isFile());
const found = needles.filter((needle) => files.some((path) => readFileSync(path).includes(Buffer.from(needle, 'base64'))));
console.log(JSON.stringify({ files: files.length, found }));`;

describe.skipIf(!requireShared())('files in object storage, encrypted', () => {
  let stack: Stack;
  let store: string;

  beforeAll(async () => {
    const settings = {
      STORAGE_URL: `s3://${BUCKET}/files`,
      S3_ENDPOINT: 'http://store:9000',
      AWS_ACCESS_KEY_ID: 'S3RVER',
      AWS_SECRET_ACCESS_KEY: 'S3RVER',
      RESULT_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}`,
    };
    stack = await createStack(HAS_V2 ? 2 : 1, settings, join(ROOT, 'deploy/compose/outside.yml'));
    const scale = ['--scale', 'face-worker=1', '--scale', 'object-worker=1'];
    await stack.compose('up', '--no-start', ...scale);
    store = `${stack.project}-store`;
    // On the network that only outside.yml lets workers into.
    const network = ['--network', `${stack.project}_front`, '--network-alias', 'store'];
    const modules = ['-v', `${join(ROOT, 'node_modules')}:/app/node_modules:ro`, '--tmpfs', '/data'];
    const server = '/app/node_modules/s3rver/bin/s3rver.js --no-vhost-buckets -d /data -a 0.0.0.0 -p 9000';
    const words = ['node', '--no-deprecation', ...server.split(' '), '--configure-bucket', BUCKET];
    await docker('run', '-d', '--name', store, ...network, ...modules, 'node:24-trixie-slim', ...words);
    await stack.compose('up', '-d', ...scale);
    await waitFor('web', async () => (await fetch(`${stack.url}/api/health/ready`)).ok, { timeoutMs: 60_000 });
  });
  afterAll(async () => {
    await docker('rm', '-f', store).catch(() => '');
    await stack?.down();
  });

  it('serves a picture and a video, and leaves no plain text in the volumes', async () => {
    const picture = PICTURE();
    const clip = video('two-faces.mp4');
    const object = await submit(stack.url, 'object/image', { file: picture, name: 'holiday-in-rome.jpg' });
    const face = await submit(stack.url, 'face/video', { file: clip, name: 'wedding-of-ann.mp4' });
    const still = await taskIn<ImageResult>(stack.url, object, END, { timeoutMs: 60_000 });
    const moving = await taskIn<FaceVideoResult>(stack.url, face, END, { timeoutMs: 120_000 });
    expect([still.state, moving.state]).toEqual(['SUCCESS', 'SUCCESS']);
    expect(JSON.stringify(still.result)).toContain('"class":"dog"');
    expect(moving.result?.frames_with_faces.length).toBeGreaterThan(0);
    const original = await fetch(`${stack.url}${still.result?.original_image}`);
    expect(Buffer.from(await original.arrayBuffer()).equals(picture)).toBe(true);
    const part = await fetch(`${stack.url}${moving.result?.annotated_video}`, { headers: { range: 'bytes=4-7' } });
    expect([part.status, await part.text()]).toEqual([206, 'ftyp']);

    // Redis writes its file to the disk every second.
    await sleep(1500);
    const plain = [
      // None so short that ciphertext holds it by chance.
      ...['"class":"dog"', 'right_eye', 'frames_with_faces', 'max_detections', 'holiday-in-rome', 'wedding-of-ann'].map(
        (text) => Buffer.from(text),
      ),
      picture.subarray(1000, 1100),
      clip.subarray(1000, 1100),
    ].map((bytes) => bytes.toString('base64'));
    const there = Buffer.from(object).toString('base64');
    const search = async (needles: string[], ...from: string[]) =>
      JSON.parse(
        await docker(
          ...['run', '--rm', ...from, 'node:24-trixie-slim', 'node', '-e', SEARCH, '["/volumes"]'],
          JSON.stringify(needles),
        ),
      ) as { files: number; found: string[] };
    const volume = (name: string) => ['-v', `${stack.project}_${name}:/volumes/${name}:ro`];
    expect((await search([...plain, there], ...volume('redis'))).found).toEqual([there]);
    expect(await search(plain, ...volume('uploads'))).toEqual({ files: 0, found: [] });

    const names = (await docker('exec', store, 'sh', '-c', `ls /data/${BUCKET}/files`)).split('\n');
    const objects = names.filter((name) => name.endsWith('._S3rver_object'));
    expect(objects.length).toBeGreaterThanOrEqual(4);
    expect(objects.filter((name) => !/^probe\._|\.sealed\._/.test(name))).toEqual([]);
    for (const needle of ['right_eye', 'frames_with_faces', 'JFIF', 'ftyp']) {
      expect(await docker('exec', store, 'sh', '-c', `grep -rlaF ${needle} /data/${BUCKET}/files || true`)).toBe('');
    }
  });
});
