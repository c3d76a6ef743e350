import type { TaskPage, TaskRow } from '../../contract/admin.ts';
import { get } from './api.ts';
import { h } from './dom.ts';
import { VALUES } from './values.ts';

/** A search that finds little goes on by itself so often before it asks. */
const PAGES_AT_ONCE = 8;

export type SearchState = { tasks: TaskRow[]; searched: number; unreadable: number; next: string | null };

const ORDERS = new Map([
  ['newest', 'newest first'],
  ['oldest', 'oldest first'],
  ['longest_run', 'longest run of those looked at'],
  ['longest_wait', 'longest wait of those looked at'],
]);

/** Orders in which pages are put together here, from the best of each. */
const RANKS = new Map<string, (row: TaskRow) => number>([
  ['longest_run', ({ run_s }) => run_s ?? 0],
  ['longest_wait', ({ wait_s, queued_at }) => wait_s ?? (Date.now() - Date.parse(queued_at)) / 1000],
]);

const rankOf = (query: URLSearchParams) => RANKS.get(query.get('sort') ?? '');

/** A search that has looked at more tasks than this is not repeated by itself. */
const MANY = 500;

/** Looking into results, or at many tasks to find a few, costs more than a list: that is not repeated by itself. */
const isCostly = (query: URLSearchParams, { searched }: SearchState) =>
  query.has('label') || rankOf(query) !== undefined || searched > MANY;

/** Whether what is shown is to be looked up again by itself. */
export const isKeptFresh = (query: URLSearchParams, state: SearchState) =>
  state === NOTHING_YET || !isCostly(query, state);

type Field = { name: string; label: string; type?: string; options?: readonly string[]; placeholder?: string };

const FIELDS: Field[] = [
  { name: 'id', label: 'Task id', placeholder: 'or how it begins' },
  { name: 'state', label: 'State', options: VALUES.states },
  { name: 'queue', label: 'Queue', options: VALUES.queues },
  { name: 'worker', label: 'Worker', placeholder: VALUES.exampleWorker },
  { name: 'label', label: 'Label found', placeholder: 'dog' },
  { name: 'error_code', label: 'Error code', options: VALUES.errorCodes },
  { name: 'from', label: 'Created from', type: 'datetime-local' },
  { name: 'to', label: 'Created to', type: 'datetime-local' },
  { name: 'min_run_s', label: 'Ran at least (s)', type: 'number' },
  { name: 'max_run_s', label: 'Ran at most (s)', type: 'number' },
  { name: 'min_wait_s', label: 'Waited at least (s)', type: 'number' },
  { name: 'max_wait_s', label: 'Waited at most (s)', type: 'number' },
  { name: 'sort', label: 'Order', options: [...ORDERS.keys()].slice(1) },
];

/** @param given what the fields hold at first @param without fields that are left out */
export function searchForm(given: URLSearchParams, without: readonly string[] = []): HTMLFormElement {
  const input = ({ name, type = 'text', options, placeholder }: Field) => {
    const value = given.get(name) ?? '';
    if (options === undefined)
      return h('input', {
        name,
        type,
        value,
        placeholder,
        min: type === 'number' ? 0 : null,
        step: type === 'number' ? 'any' : type === 'datetime-local' ? 1 : null,
      });
    const all = value === '' || options.includes(value) ? options : [value, ...options];
    return h(
      'select',
      { name },
      h('option', { value: '' }, name === 'sort' ? ORDERS.get('newest') : 'any'),
      all.map((option) => h('option', { value: option, selected: option === value }, ORDERS.get(option) ?? option)),
    );
  };
  return h(
    'form',
    { class: 'search', 'data-keep': true, role: 'search' },
    FIELDS.filter(({ name }) => !without.includes(name)).map((field) =>
      h('label', {}, h('span', {}, field.label), input(field)),
    ),
    h(
      'span',
      { class: 'buttons' },
      h('button', { class: 'primary' }, 'Search'),
      h('button', { type: 'reset' }, 'Clear'),
    ),
  ) as HTMLFormElement;
}

/** What a form asks for, as the admin API and the address of the page take it. */
export function readForm(form: HTMLFormElement): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const text = String(value).trim();
    if (text === '') continue;
    const isTime = name === 'from' || name === 'to';
    query.set(name, isTime ? new Date(text).toISOString() : text);
  }
  return query;
}

const two = (value: number) => String(value).padStart(2, '0');

/** The same the other way round, for the fields of a form. */
export function forForm(query: URLSearchParams): URLSearchParams {
  const given = new URLSearchParams(query);
  for (const name of ['from', 'to']) {
    const time = new Date(query.get(name) ?? '');
    if (Number.isNaN(time.getTime())) given.delete(name);
    else {
      const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
      given.set(name, `${day}T${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`);
    }
  }
  return given;
}

/** Searches on from where `state` stands, until there is a page more, all was looked at or it has taken long enough. */
export async function searchOn(
  query: URLSearchParams,
  state: SearchState,
  limit = 25,
  more = limit,
): Promise<SearchState> {
  let { tasks, searched, unreadable, next } = state;
  const rank = rankOf(query);
  const wanted = tasks.length + more;
  for (let page = 0; page < PAGES_AT_ONCE; page++) {
    const asked = new URLSearchParams(query);
    asked.set('limit', String(rank === undefined ? Math.min(limit, wanted - tasks.length) : limit));
    if (next !== null) asked.set('cursor', next);
    const found = await get<TaskPage>(`/tasks?${asked}`);
    tasks = [...tasks, ...found.tasks];
    searched += found.searched;
    unreadable += found.unreadable;
    next = found.next_cursor;
    if (next === null || tasks.length >= wanted || rank !== undefined) break;
  }
  if (rank !== undefined) tasks = [...tasks].sort((a, b) => rank(b) - rank(a)).slice(0, Math.max(limit, wanted - more));
  return { tasks, searched, unreadable, next };
}

export const NOTHING_YET: SearchState = { tasks: [], searched: 0, unreadable: 0, next: null };

/** How far the search has come, with a button to go on where there is more. */
export function searchNote(query: URLSearchParams, state: SearchState): HTMLElement {
  const { tasks, searched, unreadable, next } = state;
  return h(
    'p',
    { class: 'hint', id: 'searched' },
    `${tasks.length} shown of ${searched.toLocaleString()} looked at. `,
    unreadable === 0
      ? ''
      : h('strong', {}, `${unreadable.toLocaleString()} could not be read: the key to their results is missing here. `),
    isKeptFresh(query, state) ? '' : 'Press Search for news: this is not repeated by itself. ',
    next === null ? 'That is all.' : h('button', { 'data-do': 'more' }, 'Search on'),
  );
}
