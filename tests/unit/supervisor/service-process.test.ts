import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { StartError } from '../../../src/errors.ts';
import { identifyProcess } from '../../../src/process-identity.ts';
import { type ServiceProcess, startServiceProcess } from '../../../src/supervisor/service-process.ts';
import { tempDir } from '../../support/temp.ts';
import { waitFor } from '../../support/wait-for.ts';

const log = pino({ level: 'silent' });
const supervised = resolve(import.meta.dirname, '../../../src/supervisor/supervised.ts');

/** A program of a few lines, run as a supervised process; `pids` collects the process numbers of its runs. */
function run(body: string): { process: ServiceProcess; folder: string; pids(): number[] } {
  const folder = tempDir('proc');
  const entry = join(folder, 'entry.ts');
  const pidFile = join(folder, 'pids');
  writeFileSync(
    entry,
    `import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
    import { spawn } from 'node:child_process';
    import { reportReady, whenSupervisorGone } from ${JSON.stringify(supervised)};
    process.chdir(${JSON.stringify(folder)});
    appendFileSync('pids', process.pid + '\\n');
    ${body}\n`,
  );
  const service = startServiceProcess({ role: 'web', entry, environment: process.env, log });
  service.ready.catch(() => {});
  onTestFinished(async () => {
    service.kill();
    await service.stop();
  });
  return {
    process: service,
    folder,
    pids: () =>
      existsSync(pidFile)
        ? readFileSync(pidFile, 'utf8')
            .split('\n')
            .filter((line) => line !== '')
            .map(Number)
        : [],
  };
}

it('hands on the role and what the process says of its address', async () => {
  const { process: service } = run("setInterval(() => {}, 1000); reportReady('http://' + process.argv[2]);");
  expect(await service.ready).toEqual({ url: 'http://web' });
});

it('starts a process again that ended by itself', async () => {
  const { process: service, pids } = run('setInterval(() => {}, 1000); reportReady();');
  await service.ready;
  const [first] = pids();
  process.kill(Number(first), 'SIGKILL');
  await waitFor('a second run', () => pids().length === 2);
  expect(identifyProcess(Number(pids()[1]))).toBeDefined();
});

it('starts a process at once that ends because it was told to start anew, as often as that is', async () => {
  const { process: service, pids } = run('reportReady(); setTimeout(() => process.exit(75), 50);');
  await service.ready;
  // With the pauses after crashes the sixth run would begin after 15 seconds.
  await waitFor('six runs', () => pids().length >= 6, { timeoutMs: 10_000 });
  expect(new Set(pids()).size).toBe(pids().length);
});

it('tries a crash at the first start again', async () => {
  const { process: service, pids } = run(
    "if (!existsSync('tried')) { writeFileSync('tried', ''); process.exit(1); } setInterval(() => {}, 1000); reportReady();",
  );
  await service.ready;
  expect(pids()).toHaveLength(2);
});

it('gives up when the process says at its first start that it cannot run', async () => {
  const { process: service, pids } = run('process.exit(78);');
  await expect(service.ready).rejects.toThrow(StartError);
  await service.stop();
  expect(pids()).toHaveLength(1);
});

it('keeps trying when that happens later', async () => {
  const { process: service, pids } = run(
    "if (existsSync('ran')) process.exit(78); writeFileSync('ran', ''); setInterval(() => {}, 1000); reportReady();",
  );
  await service.ready;
  process.kill(Number(pids()[0]), 'SIGKILL');
  await waitFor('a third run', () => pids().length === 3);
  expect(pids()).toHaveLength(3);
});

it('waits on stop for what the process still finishes', async () => {
  const { process: service, folder } = run(
    "process.on('SIGTERM', () => setTimeout(() => { writeFileSync('finished', ''); process.exit(0); }, 300));" +
      'setInterval(() => {}, 1000); reportReady();',
  );
  await service.ready;
  await service.stop();
  expect(existsSync(join(folder, 'finished'))).toBe(true);
});

it('ends a process that does not end, and what that one had started', async () => {
  const { process: service, pids } = run(
    "process.on('SIGTERM', () => {}); const lane = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);" +
      "appendFileSync('pids', lane.pid + '\\n'); setInterval(() => {}, 1000); reportReady();",
  );
  await service.ready;
  const stopped = service.stop();
  service.kill();
  await stopped;
  await waitFor('both to be gone', () => pids().every((pid) => identifyProcess(pid) === undefined));
  expect(pids()).toHaveLength(2);
});

it('leaves nothing of a killed process behind before it starts the next', async () => {
  const { process: service, pids } = run(
    "const lane = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);" +
      "appendFileSync('pids', lane.pid + '\\n'); setInterval(() => {}, 1000); reportReady();",
  );
  await service.ready;
  const [worker, lane] = pids();
  process.kill(Number(worker), 'SIGKILL');
  await waitFor('the next run', () => pids().length === 4);
  expect(identifyProcess(Number(lane))).toBeUndefined();
});

it('stops while it waits for the next start', async () => {
  const { process: service, pids } = run('process.exit(1);');
  await waitFor('the first run', () => pids().length === 1);
  await waitFor('its end', () => identifyProcess(Number(pids()[0])) === undefined);
  await service.stop();
  expect(pids()).toHaveLength(1);
});
