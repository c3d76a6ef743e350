import type { TaskPage, TaskRow } from '../../contract/admin.ts';
import { get } from './api.ts';
import { h } from './dom.ts';

/** A search that finds little goes on by itself so often before it asks. */
const PAGES_AT_ONCE = 8;

export type SearchState = { tasks: TaskRow[]; searched: number; next: string | null };

const STATES = ['PENDING', 'PROCESSING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED'];
const QUEUES = ['face_detection', 'object_detection'];
const ERROR_CODES = [
  'UNREADABLE_MEDIA',
  'MODEL_UNAVAILABLE',
  'TIMEOUT',
  'WORKER_LOST',
  'INTERNAL',
  'UNSUPPORTED_MEDIA_TYPE',
];

type Field = { name: string; label: string; type?: string; options?: string[]; placeholder?: string };

const FIELDS: Field[] = [
  { name: 'id', label: 'Task id', placeholder: 'or how it begins' },
  { name: 'state', label: 'State', options: STATES },
  { name: 'queue', label: 'Queue', options: QUEUES },
  { name: 'worker', label: 'Worker', placeholder: 'face_worker_1' },
  { name: 'label', label: 'Label found', placeholder: 'dog' },
  { name: 'error_code', label: 'Error code', options: ERROR_CODES },
  { name: 'from', label: 'Created from', type: 'datetime-local' },
  { name: 'to', label: 'to', type: 'datetime-local' },
  { name: 'min_run_s', label: 'Ran at least (s)', type: 'number' },
  { name: 'max_run_s', label: 'at most (s)', type: 'number' },
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
      h('option', { value: '' }, 'any'),
      all.map((option) => h('option', { value: option, selected: option === value }, option)),
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
  let { tasks, searched, next } = state;
  const wanted = tasks.length + more;
  for (let page = 0; page < PAGES_AT_ONCE; page++) {
    const asked = new URLSearchParams(query);
    asked.set('limit', String(Math.min(limit, wanted - tasks.length)));
    if (next !== null) asked.set('cursor', next);
    const found = await get<TaskPage>(`/tasks?${asked}`);
    tasks = [...tasks, ...found.tasks];
    searched += found.searched;
    next = found.next_cursor;
    if (next === null || tasks.length >= wanted) break;
  }
  return { tasks, searched, next };
}

export const NOTHING_YET: SearchState = { tasks: [], searched: 0, next: null };

/** How far the search has come, with a button to go on where there is more. */
export function searchNote({ tasks, searched, next }: SearchState): HTMLElement {
  return h(
    'p',
    { class: 'hint', id: 'searched' },
    `${tasks.length} shown of ${searched.toLocaleString()} looked at. `,
    next === null ? 'That is all.' : h('button', { 'data-do': 'more' }, 'Search on'),
  );
}
