import type { History, Overview } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh } from './api.ts';
import { act } from './ask.ts';
import { byId, h, onPress, show } from './dom.ts';
import { bytes, duration, number, percent } from './format.ts';
import { heldBack, queueCard } from './queue-card.ts';
import { VALUES } from './values.ts';

/** A task that waits longer than this is worth a look, in seconds. */
const OLD_SECONDS = 120;
const GOOD_RATE = 0.95;

let span = '1h';
let admin = false;
let overview: Overview | undefined;
let history: History | undefined;

function problemsOf({ workers, queues, success_rate, storage }: Overview): string[] {
  const problems: string[] = [];
  if (storage.up === false) problems.push(storage.reason ?? 'files cannot be read');
  if (workers.lost > 0) problems.push(`${workers.lost} ${workers.lost === 1 ? 'worker is' : 'workers are'} lost`);
  for (const view of queues) {
    const { queue, paused, oldest_waiting_s, slots } = view;
    if (slots === 0) problems.push(`no worker takes tasks of ${queue}`);
    if (paused) problems.push(`${queue} is paused`);
    const most = heldBack(view);
    if (most !== undefined) problems.push(`${queue} may run only ${most} of ${slots} tasks at a time`);
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

const STORAGE_WORDS = new Map([
  [true, 'works'],
  [false, 'not working'],
]);

function tiles({ workers, queues, success_rate, redis, storage }: Overview): HTMLElement {
  const oldest = Math.max(...queues.map(({ oldest_waiting_s }) => oldest_waiting_s));
  const waiting = queues.reduce((sum, view) => sum + view.waiting + view.prioritized, 0);
  const others: string[] = [];
  if (workers.starting > 0) others.push(`${workers.starting} starting`);
  if (workers.draining > 0) others.push(`${workers.draining} draining`);
  const limit = redis.limit_bytes === null ? '' : ` of ${bytes(redis.limit_bytes)}`;
  return h(
    'section',
    { class: 'tiles', 'aria-label': 'At a glance' },
    tile('Workers online', number(workers.online), others.join(', ') || 'all take tasks', workers.online === 0),
    tile('Workers busy', number(workers.busy), 'at work on a task'),
    tile('Workers lost', number(workers.lost), 'silent without a farewell', workers.lost > 0),
    tile('Slots busy', `${workers.slots_busy} / ${workers.slots}`, 'detections at a time', workers.slots === 0),
    tile('Waiting', number(waiting), oldest > 0 ? `oldest ${duration(oldest)}` : 'nothing waits', oldest > OLD_SECONDS),
    tile('Success rate', percent(success_rate), `last ${span}`, success_rate !== null && success_rate < GOOD_RATE),
    tile(
      'Redis',
      `${redis.latency_ms < 10 ? redis.latency_ms : Math.round(redis.latency_ms)} ms`,
      redis.used_bytes === null ? '' : `${bytes(redis.used_bytes)}${limit}`,
    ),
    tile(
      'Storage',
      storage.up === null ? '-' : (STORAGE_WORDS.get(storage.up) ?? '-'),
      storage.reason ?? 'files can be read',
      storage.up === false,
    ),
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
        problems.length === 0 ? 'All is well' : `Attention: ${problems.join('; ')}`,
      ),
      h(
        'label',
        {},
        'Rates over ',
        h(
          'select',
          { id: 'window', 'data-keep': true },
          VALUES.windows.map((name) => h('option', { value: name, selected: name === span }, name)),
        ),
      ),
    ),
    tiles(overview),
    h(
      'div',
      { class: 'queues' },
      overview.queues.map((view) => queueCard(view, history, admin)),
    ),
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

onPress('lift', ({ dataset: { queue = '' } }) => {
  const question = {
    title: `Lift the limits of ${queue}?`,
    text: 'Its global concurrency and its rate limit are taken away: the slots of all its workers are used.',
    yes: 'Lift',
  };
  void act(question, `/queues/${queue}/lift-limits`)
    .then(refresh)
    .catch(() => undefined);
});

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
