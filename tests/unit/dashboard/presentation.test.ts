import { expect, test } from 'vitest';
import { presentBody, publicReason, shortened } from '../../../src/dashboard/presentation.ts';

test.each([
  ['UNREADABLE_MEDIA: The picture is broken.', 'UNREADABLE_MEDIA: The picture is broken.'],
  ['REVOKED: cancelled', 'REVOKED: cancelled'],
  ['INVALID_OPTION: wrong\n[{"option":"model"}]', 'INVALID_OPTION: wrong\n[{"option":"model"}]'],
  ['the file could not be stored', 'the file could not be stored'],
  ["ENOENT: no such file or directory, open '/srv/my data/a.jpg'", "ENOENT: no such file or directory, open '...'"],
  ['cannot read /srv/data/a.jpg: busy', 'cannot read ...: busy'],
  ['boom\n    at run (/srv/app/src/lane.ts:3:1)', 'boom'],
  ['failed at file:///srv/app/src/lane.ts:3:1', 'failed at file:...:3:1'],
  ['20 frames/s is too much', '20 frames/s is too much'],
  ['', ''],
])('the reason %j is shown as %j', (reason, shown) => {
  expect(publicReason(reason)).toBe(shown);
});

test('long lists in a result are cut, at any depth', () => {
  const result = { success: true, faces: Array.from({ length: 50 }, (_, id) => ({ id })), image: { width: 3 } };
  const shown = shortened({ outer: result }) as { outer: { faces: unknown[] } };
  expect(shown.outer.faces).toHaveLength(21);
  expect(shown.outer.faces[19]).toEqual({ id: 19 });
  expect(shown.outer.faces[20]).toBe('... and 30 more');
  expect(shown).toMatchObject({ outer: { success: true, image: { width: 3 } } });
  expect(shortened(null)).toBeNull();
  expect(shortened([1, 2])).toEqual([1, 2]);
});

test('neither stack traces nor socket paths are in a body', () => {
  const job = {
    id: 'a',
    failedReason: 'boom at /srv/app',
    stacktrace: ['Error: boom\n at /srv/app/x.ts'],
    data: { v: 1 },
  };
  const body = {
    queues: [{ name: 'q', jobs: [job] }],
    job,
    workers: [
      { name: 'w', addr: '/tmp/redis.sock:0' },
      { name: 'v', addr: '10.0.0.5:4711' },
    ],
  };
  const shown = presentBody(body);
  expect(JSON.stringify(shown)).not.toMatch(/srv|redis\.sock/);
  expect(shown).toMatchObject({
    job: { id: 'a', failedReason: 'boom at ...', stacktrace: [], data: { v: 1 } },
    queues: [{ name: 'q', jobs: [{ id: 'a', stacktrace: [] }] }],
    workers: [{ addr: 'local socket' }, { addr: '10.0.0.5:4711' }],
  });
  expect(presentBody('text')).toBe('text');
});
