import type { LogTail, TaskRow, WorkerView } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh } from './api.ts';
import { byId, h, show } from './dom.ts';
import { bytes, duration, moment, number } from './format.ts';
import { badge, taskLink, taskTable } from './task-table.ts';
import { listenToWorkerButtons, workerButtons } from './worker-actions.ts';

const name = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const path = `/workers/${encodeURIComponent(name)}`;

let admin = false;
let detail: { worker: WorkerView; recent: TaskRow[] } | undefined;
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
    { class: 'log', tabindex: 0 },
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

function render(): void {
  if (detail === undefined) return;
  const { worker, recent } = detail;
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
      recent.length === 0 ? h('p', {}, 'None among those that ended last.') : taskTable(recent),
      h('p', {}, h('a', { href: `/tasks?worker=${encodeURIComponent(worker.name)}` }, 'All of its tasks')),
    ),
    h('section', { class: 'card' }, h('h2', {}, 'Log'), logView()),
  );
}

async function refresh(): Promise<void> {
  admin = await isAdmin();
  detail = await get<{ worker: WorkerView; recent: TaskRow[] }>(path);
  render();
}

document.title = `${name} - Recognize`;
listenToWorkerButtons(refresh);
keepFresh(refresh);
keepFresh(async () => {
  log = await get<LogTail>(`${path}/log?lines=60`);
  render();
}, 4000);
