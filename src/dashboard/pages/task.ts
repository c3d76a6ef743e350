import type { TaskDetail } from '../../contract/admin.ts';
import { ApiError, get, isAdmin, keepFresh } from './api.ts';
import { act } from './ask.ts';
import { byId, h, onPress, show } from './dom.ts';
import { bytes, duration, moment } from './format.ts';
import { preview } from './preview.ts';
import { badge, workerLink } from './task-table.ts';
import { VALUES } from './values.ts';

const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const path = `/tasks/${encodeURIComponent(id)}`;
const ENDED: readonly string[] = VALUES.finishedStates;

let admin = false;

function buttons({ task, priority }: TaskDetail): HTMLElement[] {
  if (!admin) return [];
  const all: HTMLElement[] = [];
  if (!ENDED.includes(task.state)) all.push(h('button', { 'data-do': 'cancel' }, 'Cancel'));
  if (task.state === 'FAILURE') all.push(h('button', { 'data-do': 'retry' }, 'Retry'));
  if (task.state === 'PENDING' || task.state === 'RETRY') {
    all.push(h('button', { 'data-do': 'priority', 'data-priority': priority ?? 5 }, 'Priority'));
  }
  return all;
}

function facts({ task, media, owner, request_id, file, priority, queued_at }: TaskDetail): HTMLElement {
  const started = task.started_at === undefined ? null : Date.parse(task.started_at);
  const ended = task.finished_at === undefined ? null : Date.parse(task.finished_at);
  const all: [string, HTMLElement | string][] = [
    ['Queue', `${task.queue} ${media ?? ''}`],
    ['Worker', workerLink(task.worker ?? null)],
    ['Position', task.position === undefined ? '-' : String(task.position)],
    ['Priority', priority === null ? '-' : String(priority)],
    ['Attempts', String(task.attempts)],
    ['Wait', duration(started === null ? null : Math.max(0, started - Date.parse(queued_at)) / 1000)],
    ['Run', duration(started === null || ended === null ? null : (ended - started) / 1000)],
    ['File', file === null ? '-' : `${file.mime}, ${file.width} x ${file.height}, ${bytes(file.bytes)}`],
    ['API key', owner ?? '-'],
    ['Request', request_id ?? '-'],
  ];
  return h(
    'dl',
    { class: 'facts' },
    all.map(([key, value]) => h('div', {}, h('dt', {}, key), h('dd', {}, value))),
  );
}

function progress({ task }: TaskDetail): HTMLElement | string {
  if (task.progress === undefined) return '';
  const { percent, done, total, unit, eta_seconds } = task.progress;
  return h(
    'p',
    {},
    h('progress', { max: 100, value: percent }),
    ` ${Math.round(percent)} %, ${done} of ${total} ${unit}`,
    eta_seconds === undefined ? '' : `, ${duration(eta_seconds)} to go`,
  );
}

function timeline({ timeline: entries }: TaskDetail): HTMLElement {
  let before: number | undefined;
  const rows = entries.map(({ at, what, detail }) => {
    const time = Date.parse(at);
    const since = before === undefined ? '' : `+${duration(Math.max(0, time - before) / 1000)}`;
    before = time;
    return h(
      'li',
      {},
      h('time', { datetime: at }, moment(at)),
      h('span', { class: 'since' }, since),
      h('strong', {}, what),
      ` ${detail ?? ''}`,
    );
  });
  return h('section', { class: 'card' }, h('h2', {}, 'Timeline'), h('ol', { class: 'timeline' }, rows));
}

function unreadable({ task: { unreadable: why } }: TaskDetail): HTMLElement | string {
  if (why === undefined) return '';
  return h(
    'section',
    { class: 'card', id: 'unreadable' },
    h('h2', {}, 'Not readable here'),
    h('p', {}, h('code', {}, why.error_code), ` ${why.message}`),
    h(
      'p',
      { class: 'hint' },
      'State, times and worker are right. RESULT_ENCRYPTION_KEY needs the key it was written with.',
    ),
  );
}

function options({ task }: TaskDetail): HTMLElement {
  return h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Options'),
    task.options === null
      ? h('p', {}, 'They cannot be read.')
      : h(
          'dl',
          { class: 'facts' },
          Object.entries(task.options).map(([key, value]) =>
            h('div', {}, h('dt', {}, key), h('dd', {}, String(value))),
          ),
        ),
  );
}

const json = (value: unknown) => JSON.stringify(value, null, 1);

function failure({ task, stack }: TaskDetail): HTMLElement | string {
  if (task.error === undefined && stack === null) return '';
  return h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Error'),
    task.error === undefined ? '' : h('p', {}, h('code', {}, task.error.error_code), ` ${task.error.message}`),
    task.error?.details === undefined ? '' : h('pre', {}, json(task.error.details)),
    stack === null
      ? ''
      : h('details', {}, h('summary', {}, 'Where the last fault came from'), h('pre', { id: 'stack' }, stack)),
  );
}

async function refresh(): Promise<void> {
  admin = await isAdmin();
  const detail = await get<TaskDetail>(path).catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 404)
      show(byId('main'), h('h1', {}, 'No such task'), h('p', {}, error.message));
    throw error;
  });
  const { task, board_url } = detail;
  show(
    byId('main'),
    h(
      'h1',
      {},
      'Task ',
      h('code', {}, task.task_id),
      ' ',
      badge(task.state),
      h('span', { class: 'buttons' }, buttons(detail)),
    ),
    h(
      'p',
      { id: 'status' },
      task.status,
      board_url === null ? '' : h('span', {}, ' - ', h('a', { href: board_url }, 'show in Bull Board')),
    ),
    progress(detail),
    facts(detail),
    unreadable(detail),
    failure(detail),
    preview(detail),
    timeline(detail),
    options(detail),
    task.result === undefined
      ? ''
      : h(
          'section',
          { class: 'card' },
          h('h2', {}, 'Result'),
          h('details', {}, h('summary', {}, 'As JSON'), h('pre', {}, json(task.result))),
        ),
  );
  if (ENDED.includes(task.state)) pace = 10_000;
}

let pace = 2000;
let last = 0;
const now = () => {
  last = 0;
  return refresh().catch(() => undefined);
};

onPress('cancel', () => {
  void act(
    {
      title: 'Cancel this task?',
      text: 'It ends without a result, and its files are removed.',
      yes: 'Cancel the task',
    },
    `${path}/cancel`,
  ).then(now);
});
onPress('retry', () => {
  void act(
    { title: 'Retry this task?', text: 'It is queued again as if it were new.', yes: 'Retry' },
    `${path}/retry`,
  ).then(() => {
    pace = 2000;
    return now();
  });
});
onPress('priority', ({ dataset }) => {
  const number = { label: 'Priority (9 is the most urgent)', value: Number(dataset.priority ?? 5), min: 0, max: 9 };
  void act(
    {
      title: 'Change its priority?',
      text: 'It takes its new place behind others of the same priority.',
      yes: 'Change',
      number,
    },
    `${path}/priority`,
    (priority) => ({ priority }),
  ).then(now);
});

document.title = `Task ${id.slice(0, 8)} - Recognize`;
keepFresh(async () => {
  if (Date.now() - last < pace - 500) return;
  last = Date.now();
  await refresh();
});
