import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { spawnCaged } from '../../../src/media/cage.ts';
import { LEASH } from '../../../src/media/leash.ts';
import { ownChild } from '../../support/child.ts';
import { isGone, untilGone } from '../../support/processes.ts';

const CAGE = JSON.stringify(new URL('../../../src/media/cage.ts', import.meta.url).href);

/** Starts a program that outlives every test, in the cage, and tells its process id. */
const startSleeper = (tell: string) => `
  import { spawnCaged } from ${CAGE};
  const caged = spawnCaged('sh', ['-c', 'echo $$; exec sleep 600'], {});
  caged.stdout.once('data', (chunk) => ${tell});
`;

/** Kills a process that runs `script` and so starts a program whose id it tells; that program is to end with it. */
async function expectToDieWith(script: string): Promise<void> {
  const parent = ownChild(
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  const [chunk] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(chunk.toString());
  expect(isGone(pid)).toBe(false);
  parent.kill('SIGKILL');
  await untilGone(pid);
}

test('this system can tie programs to whoever started them', () => {
  expect(LEASH.length > 0).toBe(process.platform === 'linux');
});

test.skipIf(LEASH.length === 0)('kill -9 of the process that started it ends a program', async () => {
  await expectToDieWith(startSleeper('process.stdout.write(chunk)'));
});

test.skipIf(LEASH.length === 0)('kill -9 also ends what a thread has started', async () => {
  const inThread = `${startSleeper('parentPort.postMessage(chunk.toString())')} import { parentPort } from 'node:worker_threads';`;
  await expectToDieWith(`
    import { Worker } from 'node:worker_threads';
    new Worker(new URL('data:text/javascript,${encodeURIComponent(inThread).replaceAll("'", '%27')}'))
      .once('message', (pid) => process.stdout.write(pid));
  `);
});

test.skipIf(LEASH.length === 0)('the end of the thread that started it ends a program', async () => {
  const script = `${startSleeper('parentPort.postMessage(chunk.toString())')} import { parentPort } from 'node:worker_threads';`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`));
  const [pid] = (await once(worker, 'message')) as [string];
  await worker.terminate();
  await untilGone(Number(pid));
});

test('a program can be fed, and reports beside its output', async () => {
  const caged = spawnCaged(
    'sh',
    ['-c', 'cat; echo aside >&3; echo complaint >&2'],
    {},
    { withInput: true, withReport: true },
  );
  const said = Promise.all([text(caged.stdout), text(caged.report ?? caged.stderr), text(caged.stderr)]);
  caged.stdin?.end('input');
  expect(await said).toEqual(['input', 'aside\n', 'complaint\n']);
  await caged.ended;
});

test('a program that ends before it has read its input is judged by its exit code', async () => {
  const caged = spawnCaged('sh', ['-c', 'exit 5'], {}, { withInput: true });
  caged.stdin?.write(Buffer.alloc(2 ** 20));
  await expect(caged.ended).rejects.toThrow('ended with code 5');
});

test('without being asked for there is neither input nor report', async () => {
  const caged = spawnCaged('sh', ['-c', 'cat; (echo aside >&3) 2>/dev/null || echo none'], {});
  expect(caged.stdin).toBeNull();
  expect(caged.report).toBeNull();
  expect(await text(caged.stdout)).toBe('none\n');
  await caged.ended;
});
