import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newBase, originalName } from '../../src/storage/names.ts';
import { call, ended, expectError, post, submit } from '../support/api.ts';
import { GOOD_FACE, goodPicture, sharedFile } from '../support/pictures.ts';
import { openRaw } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { tempDir } from '../support/temp.ts';
import { startAnotherWeb, startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

/** By way of a file: the service has shut its process' other loaders. */
function openPicture(bytes: Uint8Array) {
  const path = join(tempDir('pic'), 'picture');
  writeFileSync(path, bytes);
  return sharp(path);
}

describe.skipIf(!requireShared())('GET /api/uploads', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: ['face'] });
  });
  afterAll(() => web?.stop());

  const stored = () => storedIn(web.folders);

  /** Posts, waits for the end and answers the paths of its files. */
  async function files(picture = file, annotate = 'auto'): Promise<{ original: string; annotated: string }> {
    const { body } = await post(web.url, 'face/image', { file: picture, query: `wait=20&annotate=${annotate}` });
    const result = body.data.result as { original_image: string; annotated_image: string };
    return { original: result.original_image, annotated: result.annotated_image };
  }

  async function load(path: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${web.url}${path}`, { headers });
    return { response, bytes: new Uint8Array(await response.arrayBuffer()) };
  }

  describe('an original', () => {
    let path: string;
    beforeAll(async () => {
      path = (await files()).original;
    });

    it('comes back byte by byte, as what it is and as nothing that a browser would run', async () => {
      const { response, bytes } = await load(path);
      expect(response.status).toBe(200);
      expect(bytes).toEqual(file);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-type': 'image/jpeg',
        'content-length': String(file.length),
        'accept-ranges': 'bytes',
        'x-content-type-options': 'nosniff',
        'content-security-policy': 'sandbox',
        'content-disposition': 'inline',
        'cache-control': expect.stringMatching(/private/),
      });
    });

    it.each([
      ['bytes=0-99', 0, 100],
      ['bytes=100-', 100, undefined],
      ['bytes=-50', -50, undefined],
      ['bytes=10-10', 10, 11],
      ['bytes=0-999999999', 0, undefined],
      ['bytes=-999999999', 0, undefined],
    ])('comes in parts: %s', async (range, from, to) => {
      const { response, bytes } = await load(path, { Range: range });
      const expected = file.slice(from, to);
      expect(response.status).toBe(206);
      expect(bytes).toEqual(expected);
      const start = from < 0 ? file.length + from : from;
      expect(response.headers.get('content-range')).toBe(
        `bytes ${start}-${start + expected.length - 1}/${file.length}`,
      );
      expect(response.headers.get('content-type')).toBe('image/jpeg');
      expect(response.headers.get('content-security-policy')).toBe('sandbox');
    });

    it('has nothing behind its end', async () => {
      const answer = await call(`${web.url}${path}`, { headers: { Range: `bytes=${file.length}-` } });
      expect(answer.status).toBe(416);
      expect(answer.body.success).toBe(false);
      expect(answer.headers.get('content-range')).toBe(`bytes */${file.length}`);
      expect(answer.headers.get('cache-control')).toBeNull();
    });

    it('is told about by HEAD', async () => {
      const response = await fetch(`${web.url}${path}`, { method: 'HEAD' });
      expect(response.status).toBe(200);
      expect(response.headers.get('content-length')).toBe(String(file.length));
      expect(await response.text()).toBe('');
    });

    it('can be asked for anew only when it has changed', async () => {
      const { response } = await load(path);
      const since = response.headers.get('last-modified') ?? '';
      const raw = openRaw(web.url);
      await raw.write(`GET ${path} HTTP/1.1\r\nHost: recognize\r\nIf-Modified-Since: ${since}\r\n\r\n`);
      expect((await raw.answer()).status).toBe(304);
      raw.destroy();
    });

    it('cannot be changed', async () => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
        const answer = await call(`${web.url}${path}`, { method });
        expectError(answer, 405, 'METHOD_NOT_ALLOWED');
        expect(answer.headers.get('allow')).toBe('GET, HEAD');
      }
    });
  });

  it.each([
    ['bad/image/good.png', 'image/png', 'png'],
    ['bad/image/good.webp', 'image/webp', 'webp'],
    ['bad/image/animated.gif', 'image/gif', 'gif'],
    ['bad/image/good.tiff', 'image/tiff', 'tiff'],
    ['bad/image/good.bmp', 'image/bmp', 'bmp'],
    ['bad/image/good.avif', 'image/avif', 'avif'],
    ['bad/image/jpg-named.png', 'image/jpeg', 'jpg'],
    ['bad/image/polyglot-html-comment.jpg', 'image/jpeg', 'jpg'],
    ['bad/image/polyglot-zip.jpg', 'image/jpeg', 'jpg'],
  ])('%s is served as %s', async (name, type, extension) => {
    const picture = sharedFile(name);
    const { original } = await files(picture);
    expect(original).toMatch(new RegExp(`\\.${extension}$`));
    const { response, bytes } = await load(original);
    expect(response.headers.get('content-type')).toBe(type);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(bytes).toEqual(picture);
  });

  describe('a name that the service has not made is not found', () => {
    it.each([
      'picture.jpg',
      `${newBase()}.jpg`,
      `${newBase()}_annotated.jpg`,
      `${newBase()}.json`,
      `${newBase()}.html`,
      '.tmp',
      '.gitkeep',
      '%2e%2e%2f%2e%2e%2fpackage.json',
      '..%2f..%2fetc%2fpasswd',
      '%2fetc%2fpasswd',
      '..%5c..%5cwin.ini',
      'x%00.jpg',
      `${newBase()}.jpg%00.png`,
      '%252e%252e%252fetc%252fpasswd',
      'a'.repeat(5000),
    ])('%s', async (name) => {
      expectError(await call(`${web.url}/api/uploads/${name}`), 404, 'NOT_FOUND');
    });

    it.each([
      '/api/uploads/../../../../../../etc/passwd',
      '/api/uploads/..',
      '/api/uploads/',
      '/api/uploads',
      '/api/uploads//etc/passwd',
    ])('unnormalised: %s', async (path) => {
      const raw = openRaw(web.url);
      await raw.write(`GET ${path} HTTP/1.1\r\nHost: recognize\r\n\r\n`);
      const { status, body } = await raw.answer();
      raw.destroy();
      expect(status).toBe(404);
      expect(JSON.parse(body)).toMatchObject({ success: false, error_code: 'NOT_FOUND' });
      expect(body).not.toContain('root:');
    });

    it('nor one that cannot be decoded', async () => {
      expectError(await call(`${web.url}/api/uploads/%zz`), 400, 'BAD_REQUEST');
    });

    it('even where such a file lies in the folder', async () => {
      for (const name of ['secret.txt', `${newBase()}.json`, `${newBase()}.part`]) {
        writeFileSync(join(web.folders.uploads, name), 'secret');
        expectError(await call(`${web.url}/api/uploads/${name}`), 404, 'NOT_FOUND');
      }
    });
  });

  describe('an annotated copy', () => {
    /** Pixels that differ clearly between original and copy, within a box. */
    async function changed(
      original: Uint8Array,
      copy: Uint8Array,
    ): Promise<{ at: Set<string>; width: number; height: number }> {
      const raw = (bytes: Uint8Array) =>
        openPicture(bytes).autoOrient().toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
      const [before, after] = await Promise.all([raw(original), raw(copy)]);
      expect([after.info.width, after.info.height]).toEqual([before.info.width, before.info.height]);
      const at = new Set<string>();
      for (let i = 0; i < before.data.length; i += 3) {
        const difference = [0, 1, 2].reduce(
          (sum, c) => sum + Math.abs((before.data[i + c] ?? 0) - (after.data[i + c] ?? 0)),
          0,
        );
        const pixel = i / 3;
        if (difference > 150) at.add(`${pixel % before.info.width},${Math.floor(pixel / before.info.width)}`);
      }
      return { at, width: before.info.width, height: before.info.height };
    }

    it('is drawn when it is first asked for, once', async () => {
      const { original, annotated } = await files();
      const name = annotated.split('/').at(-1) ?? '';
      expect(stored()).not.toContain(name);
      const loads = await Promise.all(Array.from({ length: 8 }, () => load(annotated)));
      for (const { response } of loads) {
        expect(response.status).toBe(200);
        expect(response.headers.get('content-type')).toBe('image/jpeg');
        expect(response.headers.get('content-security-policy')).toBe('sandbox');
      }
      expect(new Set(loads.map(({ bytes }) => Buffer.from(bytes).toString('base64'))).size).toBe(1);
      expect(stored()).toContain(name);
      expect(temporaryIn(web.folders)).toEqual([]);
      const { mtimeMs } = statSync(join(web.folders.uploads, name));
      await load(annotated);
      expect(statSync(join(web.folders.uploads, name)).mtimeMs).toBe(mtimeMs);

      const { at } = await changed((await load(original)).bytes, loads[0]?.bytes ?? new Uint8Array());
      // The face is framed: somewhere on its edges there is colour, at the far corner of the picture there is none.
      const { x, y, width, height } = GOOD_FACE;
      const near = [...at]
        .map((place) => place.split(',').map(Number))
        .filter(([px = 0, py = 0]) => {
          return px > x - 15 && px < x + width + 15 && py > y - 30 && py < y + height + 15;
        });
      expect(near.length).toBeGreaterThan(100);
      expect(near.length).toBe(at.size);
    });

    it.each([
      ['bad/image/good.png', 'png', 'image/png'],
      ['bad/image/good.webp', 'webp', 'image/webp'],
      ['bad/image/animated.gif', 'jpg', 'image/jpeg'],
      ['bad/image/good.bmp', 'jpg', 'image/jpeg'],
      ['bad/image/good.tiff', 'jpg', 'image/jpeg'],
      ['bad/image/good.avif', 'jpg', 'image/jpeg'],
    ])('of %s is %s', async (name, extension, type) => {
      const { annotated } = await files(sharedFile(name));
      expect(annotated).toMatch(new RegExp(`_annotated\\.${extension}$`));
      const { response, bytes } = await load(annotated);
      expect([response.status, response.headers.get('content-type')]).toEqual([200, type]);
      expect((await openPicture(bytes).metadata()).format).toBe(extension === 'jpg' ? 'jpeg' : extension);
    });

    it('carries neither place nor author, and stands upright', async () => {
      const { annotated: gps } = await files(sharedFile('bad/image/exif-gps.jpg'));
      const header = await openPicture((await load(gps)).bytes).metadata();
      expect(header.exif).toBeUndefined();
      expect(header.xmp).toBeUndefined();
      expect(header.icc).toBeUndefined();
      const { annotated: turned } = await files(sharedFile('bad/image/exif-orientation-6.jpg'));
      const upright = await openPicture((await load(turned)).bytes).metadata();
      expect([upright.width, upright.height, upright.orientation ?? 1]).toEqual([320, 280, 1]);
    });

    it('is there with the task where it was asked for', async () => {
      const { annotated } = await files(file, 'true');
      expect(stored()).toContain(annotated.split('/').at(-1));
      expect((await load(annotated)).response.status).toBe(200);
    });

    it('is not there where it was not wanted', async () => {
      const { original, annotated } = await files(file, 'false');
      expect(annotated).toBeNull();
      expectError(await call(`${web.url}${original.replace('.jpg', '_annotated.jpg')}`), 404, 'NOT_FOUND');
    });

    it('has no other type than its own', async () => {
      const { annotated } = await files();
      expectError(await call(`${web.url}${annotated.replace('.jpg', '.png')}`), 404, 'NOT_FOUND');
    });

    it('can be asked for in parts the first time, too', async () => {
      const { annotated } = await files();
      const { response, bytes } = await load(annotated, { Range: 'bytes=0-1' });
      expect([response.status, [...bytes]]).toEqual([206, [0xff, 0xd8]]);
    });

    it('of a task that failed is not found', async () => {
      const id = await submit(web.url, 'face/image', { file: sharedFile('bad/image/truncated-half.png') });
      expect((await ended(web.url, id)).state).toBe('FAILURE');
      const newest = stored()
        .map((name) => ({ name, at: statSync(join(web.folders.uploads, name)).mtimeMs }))
        .sort((a, b) => b.at - a.at)[0]?.name;
      expect(newest).toMatch(/\.png$/);
      expectError(await call(`${web.url}/api/uploads/${newest?.replace('.png', '_annotated.png')}`), 404, 'NOT_FOUND');
    });

    it('whose original is gone is not found', async () => {
      const { annotated, original } = await files();
      rmSync(join(web.folders.uploads, original.split('/').at(-1) ?? ''));
      expectError(await call(`${web.url}${annotated}`), 404, 'NOT_FOUND');
      expectError(await call(`${web.url}${original}`), 404, 'NOT_FOUND');
    });
  });

  it('knows files of every web process that shares folder and Redis', async () => {
    const { annotated } = await files();
    const other = await startAnotherWeb(web.folders, web.env);
    try {
      const response = await fetch(`${other.url}${annotated}`);
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
      await response.arrayBuffer();
    } finally {
      await other.stop();
    }
  });

  it('no longer knows the files of a task that was cancelled', async () => {
    const name = originalName(newBase(), 'jpg');
    expectError(await call(`${web.url}/api/uploads/${name}`), 404, 'NOT_FOUND');
    const before = new Set(stored());
    const id = await submit(web.url, 'object/image', { file });
    const [original] = stored().filter((file) => !before.has(file));
    expect((await load(`/api/uploads/${original}`)).response.status).toBe(200);
    expect((await call(`${web.url}/api/task/${id}`, { method: 'DELETE' })).status).toBe(200);
    expectError(await call(`${web.url}/api/uploads/${original}`), 404, 'NOT_FOUND');
    expectError(await call(`${web.url}/api/uploads/${original?.replace('.jpg', '_annotated.jpg')}`), 404, 'NOT_FOUND');
  });
});
