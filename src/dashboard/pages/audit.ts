import type { AuditList } from '../../contract/admin.ts';
import { get, isAdmin, keepFresh, notify } from './api.ts';
import { byId, h, onPress, show } from './dom.ts';
import { moment } from './format.ts';

type Entries = AuditList['entries'];

let entries: Entries = [];
let next: string | null = null;
let further = false;

const TONES: Record<string, string> = { done: 'success', unchanged: 'retry', unknown: 'retry', failed: 'failure' };

function render(): void {
  const columns = ['When', 'Who', 'What', 'To what', 'Result', 'Detail'];
  const cells = (entry: Entries[number]) => [
    moment(entry.at),
    entry.who,
    entry.action,
    entry.target,
    h('span', { class: `badge ${TONES[entry.result] ?? ''}` }, entry.result),
    entry.detail,
  ];
  show(
    byId('main'),
    h('h1', {}, 'Audit log'),
    entries.length === 0
      ? h('p', {}, 'Nobody has done anything yet.')
      : h(
          'table',
          { class: 'cards' },
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              columns.map((name) => h('th', {}, name)),
            ),
          ),
          h(
            'tbody',
            {},
            entries.map((entry) =>
              h(
                'tr',
                { 'data-key': entry.id },
                cells(entry).map((content, index) => h('td', { 'data-label': columns[index] ?? '' }, content)),
              ),
            ),
          ),
        ),
    next === null ? '' : h('button', { 'data-do': 'more' }, 'Earlier ones'),
    h('p', { class: 'hint' }, 'The last 2,000 actions are kept here; all of them stand in the log of the dashboard.'),
  );
}

onPress('more', () => {
  further = true;
  get<AuditList>(`/audit?before=${next ?? ''}`).then(
    (page) => {
      entries = [...entries, ...page.entries];
      next = page.next_before;
      render();
    },
    (error: unknown) => notify(error instanceof Error ? error.message : String(error), 'bad'),
  );
});

keepFresh(async () => {
  await isAdmin();
  if (further) return;
  ({ entries, next_before: next } = await get<AuditList>('/audit'));
  render();
}, 4000);
