import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { call, checkEnvelope, type Envelope, ended, expectError, post, submit } from '../support/api.ts';
import { BROKEN_REQUESTS } from '../support/bad-files.ts';
import { goodPicture } from '../support/pictures.ts';
import { BODY_END, openRaw, partHead, type RawAnswer, type RawConnection, requestHead } from '../support/raw-http.ts';
import { requireShared } from '../support/shared.ts';
import { waitFor } from '../support/wait-for.ts';
import { startWeb, storedIn, type TestWeb, temporaryIn } from '../support/web.ts';

const MIB = 2 ** 20;
const FILE_PART = partHead('name="file"; filename="picture.jpg"', 'image/jpeg');

const bytes = (...parts: (string | Uint8Array)[]) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const chunk = (data: Uint8Array) => bytes(`${data.length.toString(16)}\r\n`, data, '\r\n');

describe.skipIf(!requireShared())('broken requests', () => {
  let web: TestWeb;
  let file: Uint8Array<ArrayBuffer>;
  const connections: RawConnection[] = [];
  let before: string[];
  const accepted: string[] = [];
  beforeAll(async () => {
    file = goodPicture();
    web = await startWeb({ workers: ['face'] });
  });
  afterAll(() => web?.stop());
  beforeEach(() => {
    before = stored();
  });
  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.destroy();
    for (const id of accepted.splice(0)) expect((await ended(web.url, id)).state).toBe('SUCCESS');
    await waitFor('temporary files to be gone', () => temporary().length === 0, { timeoutMs: 3000 });
    // The service is as good as before.
    const id = await submit(web.url, 'face/image', { file });
    expect((await ended(web.url, id)).state).toBe('SUCCESS');
  });

  const stored = () => storedIn(web.folders);
  const temporary = () => temporaryIn(web.folders);

  function open(): RawConnection {
    const connection = openRaw(web.url);
    connections.push(connection);
    return connection;
  }

  /** Sends one request with a body that is all there, and answers what comes back. */
  async function send(body: Uint8Array, headers: Record<string, string | number> = {}): Promise<RawAnswer> {
    const connection = open();
    await connection.write(requestHead('face/image', { 'Content-Length': body.length, ...headers }));
    await connection.write(body);
    return connection.answer();
  }

  function envelopeOf(answer: RawAnswer): Envelope {
    const envelope = JSON.parse(answer.body) as Envelope;
    checkEnvelope(envelope, answer.body);
    return envelope;
  }

  function expectRefused(answer: RawAnswer, status: number, code: string): void {
    expect({ status: answer.status, code: envelopeOf(answer).error_code }).toEqual({ status, code });
    expect(stored()).toEqual(before);
  }

  const oneMiB = Buffer.alloc(MIB);

  /** As a client that neither reads nor cares before it has sent everything. */
  async function sendStubbornly(connection: RawConnection, head: string, piece: Uint8Array, times: number) {
    await connection.write(head);
    for (let i = 0; i < times; i++) await connection.write(piece);
  }

  /** One sender for each request that the manifest lists. */
  const SENDERS: Record<string, () => Promise<RawAnswer>> = {
    'no multipart body': () => send(file, { 'Content-Type': 'image/jpeg' }),
    'multipart without the field file': () => send(bytes(partHead('name="annotate"'), 'auto', BODY_END)),
    'field file is text, not a file part': () => send(bytes(partHead('name="file"'), 'picture', BODY_END)),
    'two parts named file': () => send(bytes(FILE_PART, file, '\r\n', FILE_PART, file, BODY_END)),
    'file part last, after 1000 other fields': () =>
      send(
        bytes(
          ...Array.from({ length: 1000 }, (_, index) => `${partHead(`name="field${index}"`)}x\r\n`),
          FILE_PART,
          file,
          BODY_END,
        ),
      ),
    'body cut off in the middle of the file part': async () => {
      const half = file.subarray(0, file.length / 2);
      return send(bytes(FILE_PART, half), { Connection: 'close' });
    },
    'Content-Length 101 MB': async () => {
      const connection = open();
      const head = requestHead('face/image', { 'Content-Length': 101 * MIB });
      await sendStubbornly(connection, head, oneMiB, 101);
      return connection.answer();
    },
    'chunked body of 101 MB without Content-Length': async () => {
      const connection = open();
      const head = requestHead('face/image', { 'Transfer-Encoding': 'chunked' });
      await connection.write(head);
      await connection.write(chunk(Buffer.from(FILE_PART)));
      await sendStubbornly(connection, '', chunk(oneMiB), 101);
      await connection.write(bytes(chunk(Buffer.from(BODY_END)), '0\r\n\r\n'));
      return connection.answer();
    },
    'boundary missing from Content-Type': () =>
      send(bytes(FILE_PART, file, BODY_END), { 'Content-Type': 'multipart/form-data' }),
    'part Content-Type says image/png for a JPEG': () =>
      send(bytes(partHead('name="file"; filename="picture.png"', 'image/png'), file, BODY_END)),
  };

  it('broken JSON is BAD_REQUEST, JSON without a file NO_FILE', async () => {
    const json = { 'Content-Type': 'application/json' };
    expectRefused(await send(bytes('{"file": '), json), 400, 'BAD_REQUEST');
    expectRefused(await send(bytes('{"file": "x"}'), json), 400, 'NO_FILE');
  });

  it('of a form that has no file and no end no more is taken in than of a file', async () => {
    const connection = open();
    await connection.write(requestHead('face/image', { 'Transfer-Encoding': 'chunked' }));
    await connection.write(chunk(Buffer.from(partHead('name="picture"; filename="x"'))));
    const piece = chunk(oneMiB);
    for (let sent = 0; sent <= 101; sent++) await connection.write(piece);
    // It is not over, and answered all the same.
    expectRefused(await connection.answer(), 413, 'FILE_TOO_LARGE');
  });

  it('a file that comes after the refusal is not kept', async () => {
    const connection = open();
    await connection.write(requestHead('face/image', { 'Transfer-Encoding': 'chunked' }));
    await sendStubbornly(connection, '', chunk(oneMiB), 101);
    expectRefused(await connection.answer(), 413, 'FILE_TOO_LARGE');
    await connection.write(bytes(chunk(bytes('\r\n', FILE_PART, file, BODY_END)), '0\r\n\r\n'));
    await sleep(300);
    expect(temporary()).toEqual([]);
    expect(stored()).toEqual(before);
  });

  it('a file that comes byte by byte is taken', async () => {
    const connection = open();
    await connection.write(requestHead('face/image', { 'Transfer-Encoding': 'chunked' }));
    const bodyBytes = bytes(FILE_PART, file, BODY_END);
    await connection.write(bytes(...Array.from(bodyBytes, (byte) => chunk(Buffer.of(byte))), '0\r\n\r\n'));
    const answer = await connection.answer();
    expect(answer.status).toBe(202);
    accepted.push(String(envelopeOf(answer).data.task_id));
  });

  it.each(BROKEN_REQUESTS)('as the manifest lists them: $what', async ({ what, status, error_code }) => {
    const answer = await SENDERS[what]?.();
    if (answer === undefined) throw new Error(`No sender for "${what}".`);
    expect(status).toContain(answer.status);
    const envelope = envelopeOf(answer);
    if (envelope.success) accepted.push(String(envelope.data.task_id));
    else {
      expect(stored()).toEqual(before);
      if (error_code !== undefined) expect(error_code).toContain(envelope.error_code);
    }
  });

  describe('too large', () => {
    it('is readable for ordinary clients as well', async () => {
      const answer = await post(web.url, 'face/image', { file: new Uint8Array(101 * MIB) });
      expectError(answer, 413, 'FILE_TOO_LARGE');
      expect(answer.body.message).toContain('104857600');
    });

    it('is said before the body comes, where its length is announced', async () => {
      const connection = open();
      await connection.write(requestHead('face/image', { 'Content-Length': 200 * MIB }));
      expectRefused(await connection.answer(), 413, 'FILE_TOO_LARGE');
    });

    it('is said as soon as the limit is passed, where it is not, and nothing is kept of it', async () => {
      const connection = open();
      await connection.write(requestHead('face/image', { 'Transfer-Encoding': 'chunked' }));
      await connection.write(chunk(Buffer.from(FILE_PART)));
      await sendStubbornly(connection, '', chunk(oneMiB), 101);
      expectRefused(await connection.answer(), 413, 'FILE_TOO_LARGE');
      expect(temporary()).toEqual([]);
      // A client that goes on and on is not listened to for ever; one that falls silent is not waited for.
      const start = performance.now();
      await connection.closed;
      expect(performance.now() - start).toBeLessThan(15_000);
    });

    it('a file of just the limit is looked at', async () => {
      const answer = await post(web.url, 'face/image', { file: new Uint8Array(100 * MIB) });
      expectError(answer, 415, 'UNSUPPORTED_MEDIA_TYPE');
    });
  });

  describe('bodies that are no form', () => {
    it.each<[string, Uint8Array | (() => Uint8Array)]>([
      ['without an end', () => bytes(FILE_PART, file)],
      ['without a blank line', () => bytes('--boundary-of-a-test\r\nContent-Disposition: form-data; name="file"')],
      [
        'of another boundary',
        () =>
          bytes(
            '--another\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n',
            file,
            '\r\n--another--\r\n',
          ),
      ],
      ['of noise', () => Buffer.alloc(5000, 0xa5)],
      ['with a malformed part header', () => bytes('--boundary-of-a-test\r\nnonsense\r\n\r\n', file, BODY_END)],
      [
        'with a name longer than any',
        () => bytes(partHead(`name="${'n'.repeat(200)}"`), 'x\r\n', FILE_PART, file, BODY_END),
      ],
      [
        'with a value longer than any',
        () => bytes(partHead('name="classes"'), 'c'.repeat(20_000), '\r\n', FILE_PART, file, BODY_END),
      ],
      ['with a file in another field', () => bytes(partHead('name="image"; filename="x.jpg"'), file, BODY_END)],
      ['with a part that has no name', () => bytes(partHead('filename="x.jpg"'), file, BODY_END)],
      ['that are empty', () => Buffer.alloc(0)],
      ['with nothing but an end', () => bytes('--boundary-of-a-test--\r\n')],
    ])('%s', async (_what, body) => {
      const answer = await send(typeof body === 'function' ? body() : body);
      expect(answer.status).toBe(400);
      expect(['BAD_REQUEST', 'NO_FILE']).toContain(envelopeOf(answer).error_code);
      expect(stored()).toEqual(before);
    });

    it('a field file in another field than file is NO_FILE', async () => {
      expectRefused(await send(bytes(partHead('name="image"; filename="x.jpg"'), file, BODY_END)), 400, 'NO_FILE');
    });

    it.each(['confidence[a]', 'confidence[]', 'a[b][c][d]', 'confidence[99999999]', '__proto__', 'constructor'])(
      'the option %s is none',
      async (name) => {
        const answer = await send(bytes(partHead(`name="${name}"`), '0.5\r\n', FILE_PART, file, BODY_END));
        expectRefused(answer, 400, 'INVALID_OPTION');
        expect(envelopeOf(answer).message).toContain(name);
      },
    );
  });

  describe('clients that hang up', () => {
    it('in the middle of their file leave nothing', async () => {
      const slow = Array.from({ length: 5 }, () => open());
      await Promise.all(
        slow.map(async (connection) => {
          await connection.write(requestHead('face/image', { 'Content-Length': 10 * MIB }));
          await connection.write(bytes(FILE_PART, oneMiB));
        }),
      );
      await waitFor('their files to be written', () => temporary().length === 5);
      for (const connection of slow) connection.destroy();
      await waitFor('their files to be gone', () => temporary().length === 0);
      expect(stored()).toEqual(before);
    });

    it('at any moment at all leave nothing or a whole task', async () => {
      const body = bytes(FILE_PART, file, BODY_END);
      const head = requestHead('object/image', { 'Content-Length': body.length });
      const whole = bytes(head, body);
      await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          const connection = open();
          await connection.write(whole.subarray(0, Math.ceil((whole.length * (index + 1)) / 40)));
          await sleep(index % 7);
          connection.destroy();
          await connection.closed;
        }),
      );
      await waitFor('temporary files to be gone', () => temporary().length === 0);
      // Only complete requests can have become tasks: here the last one. Nobody works on objects here.
      const list = await call(`${web.url}/api/tasks?queue=object_detection`);
      const tasks = list.body.data.tasks as { task_id: string }[];
      expect(tasks.length).toBeLessThanOrEqual(1);
      expect(stored().length).toBe(before.length + tasks.length);
      for (const { task_id } of tasks) await call(`${web.url}/api/task/${task_id}`, { method: 'DELETE' });
    });

    it('and those that take their time are served', async () => {
      const body = bytes(FILE_PART, file, BODY_END);
      const connection = open();
      await connection.write(requestHead('face/image', { 'Content-Length': body.length }));
      for (let at = 0; at < body.length; at += 3000) {
        await connection.write(body.subarray(at, at + 3000));
        await sleep(20);
      }
      const answer = await connection.answer();
      expect(answer.status).toBe(202);
      accepted.push(String(envelopeOf(answer).data.task_id));
    });
  });

  it('Expect: 100-continue is answered with the verdict', async () => {
    const connection = open();
    const tooLong = { 'Content-Length': 200 * MIB, Expect: '100-continue' };
    await connection.write(requestHead('face/image', tooLong));
    expectRefused(await connection.answer(), 413, 'FILE_TOO_LARGE');
  });
});
