import { clearNotice, isAdmin, keepFresh, notify } from './api.ts';
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

let query = new URLSearchParams(location.search);
let state: SearchState = NOTHING_YET;
/** Somebody has asked for more than the first page: what is shown then stays as it is. */
let further = false;

const form = searchForm(forForm(query));

function render(): void {
  show(
    byId('results'),
    state.tasks.length === 0 ? h('p', {}, 'No such task was found.') : taskTable(state.tasks),
    searchNote(query, state),
  );
}

async function search(): Promise<void> {
  await isAdmin();
  state = await searchOn(query, NOTHING_YET);
  render();
}

const tell = (error: unknown) => notify(error instanceof Error ? error.message : String(error), 'bad');

form.addEventListener('submit', (event) => {
  event.preventDefault();
  clearNotice();
  query = readForm(form);
  further = false;
  window.history.replaceState(null, '', query.size === 0 ? '/tasks' : `/tasks?${query}`);
  search().catch(tell);
});
form.addEventListener('reset', () => setTimeout(() => form.requestSubmit()));

onPress('more', () => {
  further = true;
  searchOn(query, state).then((found) => {
    state = found;
    render();
  }, tell);
});

byId('main').replaceChildren(h('h1', {}, 'Tasks'), form, h('div', { id: 'results', class: 'wide' }));
keepFresh(async () => {
  if (!further && isKeptFresh(query, state)) await search();
}, 4000);
