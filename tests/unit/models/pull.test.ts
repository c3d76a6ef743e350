import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ModelEntry } from '../../../src/models/manifest.ts';
import { type PullPlaces, pullModel, removeStaleParts, verifyModel } from '../../../src/models/pull.ts';
import { tempDir } from '../../support/temp.ts';

const CONTENT = randomBytes(300_000);
/** Long enough for a busy machine; the tests of a silent server shorten the one that they wait for. */
const TIMEOUTS = { answerMs: 10_000, stallMs: 10_000 };
const SHORT_MS = 300;
const LFS_POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize ${CONTENT.length}\n`;

function entryWith(sources: string[]): ModelEntry {
  return {
    ...{ name: 'one', task: 'object', family: 'yolox', layout: 'yolox', file: 'one.onnx' },
    sha256: createHash('sha256').update(CONTENT).digest('hex'),
    bytes: CONTENT.length,
    ...{ licence: 'Apache-2.0', licenceNote: '', sources, published: [], labels: ['thing'] },
    input: { width: 416, height: 416, free: false },
    defaults: { confidence: 0.3, nms: 0.45 },
  } as ModelEntry;
}

type Route = (request: IncomingMessage, response: ServerResponse) => void;

/** What a server on the internet may do to one. */
const ROUTES: Record<string, Route> = {
  '/good': (_, response) => response.end(CONTENT),
  '/one.onnx': (_, response) => response.end(CONTENT),
  '/slow': (_, response) => {
    let sent = 0;
    const timer = setInterval(() => {
      response.write(CONTENT.subarray(sent, sent + 60_000));
      sent += 60_000;
      if (sent < CONTENT.length) return;
      clearInterval(timer);
      response.end();
    }, 120);
  },
  '/moved': (_, response) => response.writeHead(302, { location: '/good' }).end(),
  '/missing': (_, response) => response.writeHead(404).end('not here'),
  '/broken': (_, response) => response.writeHead(500).end(),
  '/pointer': (_, response) => response.end(LFS_POINTER),
  '/wrong': (_, response) => response.end(randomBytes(CONTENT.length)),
  '/short': (_, response) => response.end(CONTENT.subarray(1)),
  '/endless': (_, response) => {
    const timer = setInterval(() => response.write(CONTENT), 1);
    response.on('close', () => clearInterval(timer));
  },
  '/mute': () => undefined,
  '/stalling': (_, response) => {
    response.write(CONTENT.subarray(0, 1000));
  },
  '/cut': (_, response) => {
    response.writeHead(200, { 'content-length': CONTENT.length });
    response.write(CONTENT.subarray(0, 1000), () => response.destroy());
  },
  '/circle': (_, response) => response.writeHead(302, { location: '/circle' }).end(),
  '/private/one.onnx': (request, response) => {
    const wanted = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;
    if (request.headers.authorization === wanted) response.end(CONTENT);
    else response.writeHead(401).end();
  },
};

describe('pullModel', () => {
  let server: Server;
  let base: string;
  let dir: string;
  let asked: string[];

  beforeEach(async () => {
    dir = join(tempDir('pull'), 'models');
    asked = [];
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      (ROUTES[request.url ?? ''] ?? ROUTES['/missing'])?.(request, response);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });

  const nowhere: PullPlaces = { mirrors: [], siblings: [], cascadeDirs: [] };
  const pull = (sources: string[], places: Partial<PullPlaces> = {}, timeouts: Partial<typeof TIMEOUTS> = {}) =>
    pullModel(
      entryWith(sources.map((path) => `${base}${path}`)),
      dir,
      { ...nowhere, ...places },
      { ...TIMEOUTS, ...timeouts },
    );
  const taken = async () => (await readFile(join(dir, 'one.onnx'))).equals(CONTENT);

  it.each(['/good', '/slow', '/moved'])('takes a file from %s', async (path) => {
    const outcome = await pull([path]);
    expect(outcome).toEqual({ state: 'pulled', from: `${base}${path}`, attempts: [] });
    expect(await taken()).toBe(true);
    expect(await readdir(dir)).toEqual(['one.onnx']);
  });

  it.each<[path: string, why: string, timeouts?: Partial<typeof TIMEOUTS>]>([
    ['/missing', 'answered 404'],
    ['/broken', 'answered 500'],
    ['/pointer', 'holds a Git LFS pointer instead of the file'],
    ['/wrong', 'has the wrong SHA-256 sum'],
    ['/short', 'has 299999 bytes instead of 300000'],
    ['/endless', 'has more than the expected 300000 bytes'],
    ['/mute', 'gave no answer within 0.3 s', { answerMs: SHORT_MS }],
    ['/stalling', 'sent nothing more for 0.3 s', { stallMs: SHORT_MS }],
    ['/cut', 'broke off'],
    ['/circle', 'cannot be reached (redirect count exceeded)'],
  ])('does not take what %s gives, and says that it %s', async (path, why, timeouts = {}) => {
    const outcome = await pull([path], {}, timeouts);
    expect(outcome.state).toBe('failed');
    expect(outcome.attempts).toEqual([{ where: `${base}${path}`, why: expect.stringContaining(why) }]);
    expect(await readdir(dir)).toEqual([]);
  });

  it('says when a server cannot be reached at all', async () => {
    const { port } = server.address() as AddressInfo;
    await new Promise((done) => server.close(done));
    const outcome = await pull(['/good']);
    expect(outcome.attempts).toEqual([
      { where: `http://127.0.0.1:${port}/good`, why: expect.stringMatching(/^cannot be reached \(ECONNREFUSED\)$/) },
    ]);
  });

  it('goes on to the next place and names what it tried', async () => {
    const outcome = await pull(['/missing', '/wrong', '/good', '/slow']);
    expect(outcome).toMatchObject({ state: 'pulled', from: `${base}/good` });
    expect(outcome.attempts.map(({ where }) => where)).toEqual([`${base}/missing`, `${base}/wrong`]);
    expect(asked).toEqual(['/missing', '/wrong', '/good']);
  });

  it('leaves a file alone that is there, and replaces one that is wrong', async () => {
    await pull(['/good']);
    asked = [];
    expect(await pull(['/good'])).toEqual({ state: 'present', attempts: [] });
    expect(asked).toEqual([]);

    await writeFile(join(dir, 'one.onnx'), randomBytes(CONTENT.length));
    expect(await verifyModel(entryWith([]), dir)).toBe('wrong sum');
    const outcome = await pull(['/good']);
    expect(outcome.attempts).toEqual([{ where: join(dir, 'one.onnx'), why: 'has the wrong sum' }]);
    expect([outcome.state, await taken()]).toEqual(['pulled', true]);
    expect(await verifyModel(entryWith([]), dir)).toBe('ok');
  });

  it('asks mirrors, then siblings, then the official places; cascades also from the system', async () => {
    const [mirror, sibling, system] = [tempDir('mirror'), tempDir('sibling'), tempDir('system')];
    const everywhere = { mirrors: [mirror, `${base}/sub/`], siblings: [sibling], cascadeDirs: [system] };
    const first = await pull(['/missing'], everywhere);
    expect(first.attempts.map(({ where, why }) => `${where} ${why}`)).toEqual([
      `${join(mirror, 'one.onnx')} is not there`,
      `${base}/sub/one.onnx answered 404`,
      `${join(sibling, 'one.onnx')} is not there`,
      `${base}/missing answered 404`,
    ]);
    const cascade = { ...entryWith([]), layout: 'cascade' } as const;
    await writeFile(join(system, 'one.onnx'), CONTENT);
    expect(await pullModel(cascade, dir, everywhere, TIMEOUTS)).toMatchObject({ from: join(system, 'one.onnx') });
    await writeFile(join(dir, 'one.onnx'), '');
    await writeFile(join(sibling, 'one.onnx'), CONTENT);
    expect(await pull([], everywhere)).toMatchObject({ from: join(sibling, 'one.onnx') });
    await writeFile(join(dir, 'one.onnx'), '');
    expect(await pull([], { ...everywhere, mirrors: [mirror, base] })).toMatchObject({ from: `${base}/one.onnx` });
    await writeFile(join(dir, 'one.onnx'), '');
    await writeFile(join(mirror, 'one.onnx'), CONTENT);
    expect(await pull([], everywhere)).toMatchObject({ from: join(mirror, 'one.onnx') });
  });

  it('takes nothing wrong from a folder either', async () => {
    const mirrors = [tempDir('a'), tempDir('b'), tempDir('c'), tempDir('d')];
    const [pointer = '', wrong = '', long = '', folder = ''] = mirrors.map((mirror) => join(mirror, 'one.onnx'));
    await writeFile(pointer, LFS_POINTER);
    await writeFile(wrong, randomBytes(CONTENT.length));
    await writeFile(long, Buffer.concat([CONTENT, CONTENT]));
    await mkdir(folder);
    const outcome = await pull([], { mirrors });
    expect(outcome.attempts.map(({ why }) => why)).toEqual([
      'holds a Git LFS pointer instead of the file',
      'has the wrong SHA-256 sum',
      'has more than the expected 300000 bytes',
      'cannot be read (EISDIR)',
    ]);
    expect(await readdir(dir)).toEqual([]);
  });

  it('sends the credentials of a mirror and never shows them', async () => {
    const [secret, wrong] = ['me:p%40ss', 'me:guess'].map((login) => base.replace('//', `//${login}@`));
    const refused = await pull([], { mirrors: [`${wrong}/private`] });
    expect(refused.attempts).toEqual([{ where: `${base}/private/one.onnx`, why: 'answered 401' }]);
    const outcome = await pull([], { mirrors: [`${secret}/private/`] });
    expect(outcome).toEqual({ state: 'pulled', from: `${base}/private/one.onnx`, attempts: [] });
    expect(await taken()).toBe(true);
  });

  it('names a mirror that is no valid URL, without its password', async () => {
    const outcome = await pull([], { mirrors: ['http://me:secret@:99999'] });
    expect(outcome.attempts).toEqual([{ where: 'http://:99999/one.onnx', why: 'is no valid URL' }]);
  });

  it('fails for a fault of its own folder, and does not blame the places', async () => {
    await writeFile(dir, 'a file where the folder should be');
    await expect(pull(['/good'])).rejects.toThrow();
    expect(asked).toEqual([]);
  });

  it('clears away what killed transfers left an hour ago', async () => {
    await mkdir(dir, { recursive: true });
    const old = new Date(Date.now() - 2 * 3_600_000);
    for (const name of ['.one.onnx.old.part', '.one.onnx.new.part', 'mine.part', '.hidden']) {
      await writeFile(join(dir, name), '');
      if (!name.includes('new')) await utimes(join(dir, name), old, old);
    }
    await removeStaleParts(dir);
    expect((await readdir(dir)).toSorted()).toEqual(['.hidden', '.one.onnx.new.part', 'mine.part']);
    await expect(removeStaleParts(join(dir, 'none'))).resolves.toBeUndefined();
  });
});
