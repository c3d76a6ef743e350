import type { History, Overview, QueueView } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh } from './api.ts';
import { act } from './ask.ts';
import { sparkline } from './chart.ts';
import { byId, h, onPress, show } from './dom.ts';
import { bytes, duration, number, percent } from './format.ts';

/** A task that waits longer than this is worth a look, in seconds. */
const OLD_SECONDS = 120;
const GOOD_RATE = 0.95;

let span = '1h';
let admin = false;
let overview: Overview | undefined;
let history: History | undefined;

function problemsOf({ workers, queues, success_rate }: Overview): string[] {
  const problems: string[] = [];
  if (workers.lost > 0) problems.push(`${workers.lost} ${workers.lost === 1 ? 'worker is' : 'workers are'} lost`);
  if (workers.slots === 0) problems.push('no worker takes tasks');
  for (const { queue, paused, oldest_waiting_s } of queues) {
    if (paused) problems.push(`${queue} is paused`);
    if (oldest_waiting_s > OLD_SECONDS)
      problems.push(`a task of ${queue} has waited for ${duration(oldest_waiting_s)}`);
  }
  if (success_rate !== null && success_rate < GOOD_RATE)
    problems.push(`only ${percent(success_rate)} of tasks succeed`);
  return problems;
}

function tile(name: string, value: string, note: string, bad = false): HTMLElement {
  return h(
    'div',
    { class: `tile${bad ? ' bad' : ''}` },
    h('span', { class: 'name' }, name),
    h('strong', {}, value),
    h('span', { class: 'note' }, note),
  );
}

function tiles({ workers, queues, success_rate, redis }: Overview): HTMLElement {
  const oldest = Math.max(...queues.map(({ oldest_waiting_s }) => oldest_waiting_s));
  const waiting = queues.reduce((sum, view) => sum + view.waiting + view.prioritized, 0);
  const others = [`${workers.busy} busy`];
  if (workers.starting > 0) others.push(`${workers.starting} starting`);
  if (workers.draining > 0) others.push(`${workers.draining} draining`);
  if (workers.lost > 0) others.push(`${workers.lost} lost`);
  const limit = redis.limit_bytes === null ? '' : ` of ${bytes(redis.limit_bytes)}`;
  return h(
    'section',
    { class: 'tiles', 'aria-label': 'At a glance' },
    tile('Workers online', number(workers.online), others.join(', '), workers.online === 0 || workers.lost > 0),
    tile('Slots busy', `${workers.slots_busy} / ${workers.slots}`, 'detections at a time', workers.slots === 0),
    tile('Waiting', number(waiting), oldest > 0 ? `oldest ${duration(oldest)}` : 'nothing waits', oldest > OLD_SECONDS),
    tile('Success rate', percent(success_rate), `last ${span}`, success_rate !== null && success_rate < GOOD_RATE),
    tile('Redis', `${redis.latency_ms} ms`, redis.used_bytes === null ? '' : `${bytes(redis.used_bytes)}${limit}`),
  );
}

function counts(view: QueueView): HTMLElement {
  const all: [string, string][] = [
    ['Waiting', number(view.waiting)],
    ['Prioritised', number(view.prioritized)],
    ['Active', number(view.active)],
    ['Delayed', number(view.delayed)],
    ['Done a minute', String(view.succeeded_per_minute)],
    ['Failed a minute', String(view.failed_per_minute)],
    ['Oldest waiting', duration(view.oldest_waiting_s || null)],
    ['Results kept', number(view.completed)],
    ['Failures kept', number(view.failed)],
    ['Success rate', percent(view.success_rate)],
  ];
  return h(
    'dl',
    { class: 'facts' },
    all.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

function times({ totals: { wait, run } }: QueueView): HTMLElement {
  const row = (name: string, { p50, p95, p99 }: typeof wait) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, name),
      [p50, p95, p99].map((value) => h('td', {}, duration(value))),
    );
  return h(
    'table',
    { class: 'times' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', {}, ''),
        ['p50', 'p95', 'p99'].map((name) => h('th', {}, name)),
      ),
    ),
    h('tbody', {}, row('Wait', wait), row('Run', run)),
  );
}

function charts(queue: string): HTMLElement[] {
  const points = history?.queues.find((entry) => entry.queue === queue)?.points ?? [];
  if (points.length === 0) return [];
  return [
    sparkline(
      'Done and failed',
      [
        { name: 'done', values: points.map(({ succeeded }) => succeeded), kind: 'area' },
        { name: 'failed', values: points.map(({ failed }) => failed), kind: 'bad' },
      ],
      number,
    ),
    sparkline('Waiting', [{ name: 'waiting', values: points.map(({ waiting }) => waiting), kind: 'area' }], number),
    sparkline(
      'Run time p95',
      [{ name: 'run p95', values: points.map(({ run_p95 }) => run_p95), kind: 'line' }],
      duration,
    ),
  ];
}

function card(view: QueueView): HTMLElement {
  const verb = view.paused ? 'resume' : 'pause';
  return h(
    'section',
    { class: 'card', 'data-queue': view.queue },
    h(
      'h2',
      {},
      h('a', { href: `/queue/${view.queue}`, title: 'Show in Bull Board' }, view.queue),
      view.paused && h('span', { class: 'badge failure' }, 'paused'),
      admin &&
        h(
          'span',
          { class: 'buttons' },
          h('button', { 'data-do': verb, 'data-queue': view.queue }, view.paused ? 'Resume' : 'Pause'),
          h('button', { 'data-do': 'clean', 'data-queue': view.queue }, 'Clean'),
        ),
    ),
    counts(view),
    times(view),
    h('div', { class: 'sparks' }, charts(view.queue)),
  );
}

function render(): void {
  if (overview === undefined) return;
  const problems = problemsOf(overview);
  show(
    byId('main'),
    h(
      'div',
      { class: 'top' },
      h(
        'h1',
        { class: problems.length === 0 ? 'good' : 'bad', id: 'verdict' },
        problems.length === 0 ? 'All is well' : `Have a look: ${problems.join('; ')}`,
      ),
      h(
        'label',
        {},
        'Rates over ',
        h(
          'select',
          { id: 'window', 'data-keep': true },
          ['5m', '1h', '24h'].map((name) => h('option', { value: name, selected: name === span }, name)),
        ),
      ),
    ),
    tiles(overview),
    h('div', { class: 'queues' }, overview.queues.map(card)),
  );
}

async function refresh(): Promise<void> {
  admin = await isAdmin();
  overview = await get<Overview>(`/overview?window=${span}`);
  render();
}

document.addEventListener('change', (event) => {
  if (!(event.target instanceof HTMLSelectElement) || event.target.id !== 'window') return;
  span = event.target.value;
  void refresh().catch(() => undefined);
});

for (const verb of ['pause', 'resume'] as const) {
  onPress(verb, (button) => {
    const { queue = '' } = button.dataset;
    const question =
      verb === 'pause'
        ? {
            title: `Pause ${queue}?`,
            text: 'No worker takes its tasks any more until it is resumed. What runs goes on.',
            yes: 'Pause',
          }
        : { title: `Resume ${queue}?`, text: 'Its workers take tasks again.', yes: 'Resume' };
    void act(question, `/queues/${queue}/${verb}`)
      .then(refresh)
      .catch(() => undefined);
  });
}

onPress('clean', ({ dataset: { queue = '' } }) => {
  const question = {
    title: `Clean results of ${queue}?`,
    text: 'Good results of tasks that ended longer ago than this are removed for good, before their time.',
    yes: 'Clean',
    number: { label: 'Hours ago', value: 12, min: 0, max: 100_000 },
  };
  void act(question, `/queues/${queue}/clean`, (hours) => ({ state: 'completed', older_than_s: hours * 3600 }))
    .then(refresh)
    .catch(() => undefined);
});

keepFresh(refresh);
keepFresh(async () => {
  history = await get<History>('/history');
  render();
}, 30_000);
