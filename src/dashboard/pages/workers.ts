import type { WorkerView } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh } from './api.ts';
import { byId, h, show } from './dom.ts';
import { bytes, duration, number } from './format.ts';
import { badge, taskLink, workerLink } from './task-table.ts';
import { listenToWorkerButtons, workerButtons } from './worker-actions.ts';

let admin = false;

const COLUMNS = [
  'Worker',
  'State',
  'Current tasks',
  'Slots',
  'Done',
  'Failed',
  'Retried',
  'Load',
  'CPU',
  'Memory',
  'Models',
  'Uptime',
  'Heartbeat',
  'Host',
];

function current({ current: tasks }: WorkerView): HTMLElement[] {
  return tasks.map(({ task_id, media, percent }) =>
    h(
      'span',
      { class: 'running', 'data-key': task_id },
      taskLink(task_id),
      ` ${media ?? ''} `,
      percent === null ? '' : h('progress', { max: 100, value: percent, title: `${Math.round(percent)} %` }),
    ),
  );
}

function row(worker: WorkerView): HTMLElement {
  const cell = (name: string, ...children: Parameters<typeof h>[2][]) => h('td', { 'data-label': name }, ...children);
  return h(
    'tr',
    { 'data-key': worker.name, class: worker.state === 'lost' ? 'faded' : '' },
    cell('Worker', workerLink(worker.name), admin && h('div', { class: 'buttons' }, workerButtons(worker))),
    cell('State', badge(worker.state), worker.reason === null ? '' : h('small', {}, ` ${worker.reason}`)),
    cell('Current tasks', current(worker)),
    cell('Slots', worker.concurrency),
    cell('Done', number(worker.done)),
    cell('Failed', number(worker.failed)),
    cell('Retried', number(worker.retried)),
    cell('Load', worker.load),
    cell('CPU', `${worker.cpu_percent}\u00a0%`),
    cell('Memory', bytes(worker.rss_bytes).replace(' ', '\u00a0')),
    cell('Models', worker.models.map(({ name, provider }) => `${name} (${provider})`).join(', ')),
    cell('Uptime', duration(worker.uptime_s)),
    cell('Heartbeat', `${duration(worker.silent_s)} ago`),
    cell('Host', `${worker.host} / ${worker.pid}`),
  );
}

async function refresh(): Promise<void> {
  admin = await isAdmin();
  const { workers } = await get<{ workers: WorkerView[] }>('/workers');
  show(
    byId('main'),
    h('h1', {}, 'Workers'),
    workers.length === 0
      ? h('p', {}, 'No worker has been heard of within the last hour.')
      : h(
          'div',
          { class: 'wide' },
          h(
            'table',
            { class: 'cards' },
            h(
              'thead',
              {},
              h(
                'tr',
                {},
                COLUMNS.map((name) => h('th', {}, name)),
              ),
            ),
            h('tbody', {}, workers.map(row)),
          ),
        ),
    h('p', { class: 'hint' }, 'Lost workers fell silent without signing off; they are shown for an hour.'),
  );
}

listenToWorkerButtons(refresh);
keepFresh(refresh);
