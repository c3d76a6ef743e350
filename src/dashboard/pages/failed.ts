import type { BulkOutcome } from '../../contract/admin.ts';
import { clearNotice, isAdmin, keepFresh, notify } from './api.ts';
import { act } from './ask.ts';
import { byId, h, onPress, show } from './dom.ts';
import {
  forForm,
  isKeptFresh,
  NOTHING_YET,
  readForm,
  type SearchState,
  searchForm,
  searchNote,
  searchOn,
} from './search.ts';
import { taskTable } from './task-table.ts';

/** Ids that one request takes. */
const MOST_AT_ONCE = 200;

const HIDDEN = ['state', 'label', 'id'];
const chosen = new Set<string>();

let query = new URLSearchParams(location.search);
let state: SearchState = NOTHING_YET;
let further = false;
let admin = false;

const form = searchForm(forForm(query), HIDDEN);

function asked(): URLSearchParams {
  const failed = new URLSearchParams(query);
  failed.set('state', 'FAILURE');
  return failed;
}

function render(): void {
  const tools = h(
    'p',
    { class: 'buttons' },
    h('button', { 'data-do': 'all-or-none' }, 'Choose all or none'),
    h('button', { 'data-do': 'retry-chosen', disabled: chosen.size === 0 }, `Retry ${chosen.size} chosen`),
    h('button', { 'data-do': 'retry-all' }, 'Retry all that match'),
    h('button', { 'data-do': 'clean' }, 'Clean by age'),
  );
  show(
    byId('results'),
    admin ? tools : '',
    state.tasks.length === 0
      ? h('p', {}, 'No failed task was found.')
      : taskTable(state.tasks, admin ? chosen : undefined),
    searchNote(query, state),
  );
}

async function search(): Promise<void> {
  admin = await isAdmin();
  state = await searchOn(asked(), NOTHING_YET, 50);
  const shown = new Set(state.tasks.map(({ task_id }) => task_id));
  for (const id of chosen) if (!shown.has(id)) chosen.delete(id);
  render();
}

const tell = (error: unknown) => notify(error instanceof Error ? error.message : String(error), 'bad');
const again = () => search().catch(tell);

/** Takes over what the form says. */
function takeForm(): void {
  clearNotice();
  query = readForm(form);
  further = false;
  window.history.replaceState(null, '', query.size === 0 ? '/failed' : `/failed?${query}`);
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  takeForm();
  void again();
});
form.addEventListener('reset', () => setTimeout(() => form.requestSubmit()));

/** Ticks are a person's own and never changed by a refresh: here they follow what is chosen. */
function tick(): void {
  for (const box of document.querySelectorAll<HTMLInputElement>('input[data-do="choose"]'))
    box.checked = chosen.has(box.value);
  render();
}

onPress('choose', (box) => {
  const { checked, value } = box as HTMLInputElement;
  if (checked) chosen.add(value);
  else chosen.delete(value);
  render();
});
onPress('all-or-none', () => {
  const all = state.tasks.map(({ task_id }) => task_id);
  if (chosen.size === all.length) chosen.clear();
  else for (const id of all) chosen.add(id);
  tick();
});
onPress('retry-chosen', () => {
  const ids = [...chosen].slice(0, MOST_AT_ONCE);
  const others = chosen.size - ids.length;
  const title = others === 0 ? `Retry ${ids.length} tasks?` : `Retry the first ${ids.length} of ${chosen.size} tasks?`;
  const rest = others === 0 ? '' : ` One request takes ${MOST_AT_ONCE}; the other ${others} stay chosen.`;
  void act<BulkOutcome>(
    { title, text: `Each is queued again as if it were new.${rest}`, yes: 'Retry' },
    '/tasks/retry',
    () => ({
      task_ids: ids,
    }),
  ).then((outcome) => {
    if (outcome === undefined) return;
    for (const id of ids) chosen.delete(id);
    state = { ...state, tasks: state.tasks.filter(({ task_id }) => !ids.includes(task_id)) };
    if (others === 0) void again();
    else tick();
  });
});
onPress('retry-all', () => {
  // What is in the form is what is meant, also before anybody has pressed Search.
  takeForm();
  void again();
  const { sort: _order, ...filter } = Object.fromEntries([...query]);
  const text =
    Object.keys(filter).length === 0
      ? 'Every failed task of both queues is queued again.'
      : 'Every failed task that matches the search above is queued again.';
  void act<BulkOutcome>({ title: 'Retry all that match?', text, yes: 'Retry all' }, '/tasks/retry', () => ({
    filter,
  })).then(again);
});
onPress('clean', () => {
  const queue = query.get('queue');
  if (queue === null) {
    notify('Choose a queue in the search above first: one queue is cleaned at a time.', 'bad');
    return;
  }
  const question = {
    title: `Clean failed tasks of ${queue}?`,
    text: 'Failed tasks that ended longer ago than this are removed for good.',
    yes: 'Clean',
    number: { label: 'Hours ago', value: 24, min: 0, max: 100_000 },
  };
  void act<BulkOutcome>(question, `/queues/${queue}/clean`, (hours) => ({
    state: 'failed',
    older_than_s: hours * 3600,
  })).then(again);
});
onPress('more', () => {
  further = true;
  searchOn(asked(), state, 50).then((found) => {
    state = found;
    render();
  }, tell);
});

byId('main').replaceChildren(h('h1', {}, 'Failed tasks'), form, h('div', { id: 'results', class: 'wide' }));
keepFresh(async () => {
  if (!further && isKeptFresh(query, state)) await search();
}, 4000);
