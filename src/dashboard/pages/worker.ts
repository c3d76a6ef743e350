import type { LogTail, TaskRow, WorkerView } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh } from './api.ts';
import { byId, h, show } from './dom.ts';
import { bytes, duration, moment, number } from './format.ts';
import { badge, taskLink, taskTable } from './task-table.ts';
import { listenToWorkerButtons, workerButtons } from './worker-actions.ts';

const name = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const path = `/workers/${encodeURIComponent(name)}`;

let admin = false;
let worker: WorkerView | undefined;
let recent: TaskRow[] | undefined;
let log: LogTail | undefined;

function facts(worker: WorkerView): HTMLElement {
  const all: [string, string][] = [
    ['Queue', worker.queue],
    ['Host', worker.host],
    ['Process', String(worker.pid)],
    ['Slots', String(worker.concurrency)],
    ['Done', number(worker.done)],
    ['Failed', number(worker.failed)],
    ['Retried', number(worker.retried)],
    ['Load of host', String(worker.load)],
    ['CPU', `${worker.cpu_percent} %`],
    ['Memory', bytes(worker.rss_bytes)],
    ['Models', worker.models.map((model) => `${model.name} (${model.provider})`).join(', ') || '-'],
    ['Started', moment(worker.started_at)],
    ['Uptime', duration(worker.uptime_s)],
    ['Last heartbeat', `${duration(worker.silent_s)} ago`],
  ];
  return h(
    'dl',
    { class: 'facts' },
    all.map(([key, value]) => h('div', {}, h('dt', {}, key), h('dd', {}, value))),
  );
}

function running({ current, lanes }: WorkerView): HTMLElement {
  return h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Now'),
    current.length === 0
      ? h('p', {}, 'It runs nothing at the moment.')
      : h(
          'ul',
          {},
          current.map(({ task_id, media, started_at, percent }) =>
            h(
              'li',
              { 'data-key': task_id },
              taskLink(task_id),
              ` ${media ?? ''} since ${moment(started_at)} `,
              percent === null ? '' : h('progress', { max: 100, value: percent }),
              percent === null ? '' : ` ${Math.round(percent)} %`,
            ),
          ),
        ),
    h(
      'p',
      { class: 'hint' },
      `Detection processes: ${lanes.map(({ pid, rss_bytes }) => `${pid} (${bytes(rss_bytes)})`).join(', ') || 'none'}`,
    ),
  );
}

function logView(): HTMLElement {
  if (log === undefined) return h('p', {}, 'Reading...');
  if (!log.available) return h('p', {}, log.reason ?? '');
  return h(
    'div',
    {
      class: 'log',
      tabindex: 0,
      role: 'log',
      'aria-live': 'off',
      'aria-label': `The last lines of the log of ${name}`,
    },
    log.lines.map(({ time, level, message, task_id, more }) =>
      h(
        'div',
        { class: level },
        h('span', { class: 'time' }, time === null ? '' : moment(time)),
        h('span', { class: 'level' }, level),
        h(
          'span',
          {},
          message,
          ' ',
          task_id === null ? '' : taskLink(task_id),
          more === null ? '' : h('code', {}, ` ${more}`),
        ),
      ),
    ),
  );
}

/** A log that somebody has scrolled away from its end stays where it is. */
function showLog(): void {
  const before = document.querySelector('.log');
  const follows = before === null || before.scrollHeight - before.scrollTop - before.clientHeight < 30;
  show(byId('log'), logView());
  const after = document.querySelector('.log');
  if (follows && after !== null) after.scrollTop = after.scrollHeight;
}

function recentView(): HTMLElement {
  if (recent === undefined) return h('p', {}, 'Looking...');
  return recent.length === 0 ? h('p', {}, 'None among those that ended last.') : taskTable(recent);
}

function render(): void {
  if (worker === undefined) return;
  show(
    byId('main'),
    h('h1', {}, worker.name, ' ', badge(worker.state), admin && h('span', { class: 'buttons' }, workerButtons(worker))),
    worker.reason === null ? '' : h('p', {}, worker.reason),
    facts(worker),
    running(worker),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Recent tasks'),
      recentView(),
      h('p', {}, h('a', { href: `/tasks?worker=${encodeURIComponent(worker.name)}` }, 'All of its tasks')),
    ),
    // Filled for itself, as often as it is read.
    h('section', { class: 'card' }, h('h2', {}, 'Log'), h('div', { id: 'log', 'data-keep': true })),
  );
  showLog();
}

async function refresh(): Promise<void> {
  admin = await isAdmin();
  const { workers } = await get<{ workers: WorkerView[] }>('/workers');
  // One that is not there is told in the words of its own address.
  worker = workers.find((one) => one.name === name) ?? (await get<{ worker: WorkerView }>(path)).worker;
  render();
}

document.title = `${name} - Recognize`;
listenToWorkerButtons(refresh);
keepFresh(refresh);
// Looking for the tasks of one worker among those of all costs more than the rest of the page.
keepFresh(async () => {
  ({ recent } = await get<{ recent: TaskRow[] }>(path));
  render();
}, 15_000);
keepFresh(async () => {
  log = await get<LogTail>(`${path}/log?lines=60`);
  render();
}, 4000);
