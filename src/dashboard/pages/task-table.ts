import type { TaskRow } from '../../contract/admin.ts';
import { h } from './dom.ts';
import { duration, moment, words } from './format.ts';

export const taskLink = (id: string) =>
  h('a', { href: `/tasks/${encodeURIComponent(id)}`, class: 'id', title: id }, id.slice(0, 8));

export const badge = (state: string) => h('span', { class: `badge ${state.toLowerCase()}` }, words(state));

export const workerLink = (name: string | null) =>
  name === null ? '-' : h('a', { href: `/workers/${encodeURIComponent(name)}` }, name);

function foundText(found: Record<string, number>): string {
  return Object.entries(found)
    .map(([label, count]) => `${label} ${count}`)
    .join(', ');
}

function cell(name: string, ...children: Parameters<typeof h>[2][]): HTMLElement {
  return h('td', { 'data-label': name }, ...children);
}

/** Tasks as rows; on a narrow screen each becomes a card. @param chosen ids with a tick, where rows can be ticked */
export function taskTable(tasks: readonly TaskRow[], chosen?: ReadonlySet<string>): HTMLElement {
  const columns = ['Task', 'State', 'Queue', 'Worker', 'Created', 'Wait', 'Run', 'Attempts', 'Notes'];
  return h(
    'table',
    { class: 'cards' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        chosen && h('th', {}, h('span', { class: 'unseen' }, 'Choose')),
        columns.map((name) => h('th', {}, name)),
      ),
    ),
    h(
      'tbody',
      {},
      tasks.map((task) =>
        h(
          'tr',
          { 'data-key': task.task_id },
          chosen &&
            cell(
              'Choose',
              h('input', {
                type: 'checkbox',
                'data-do': 'choose',
                'data-keep': true,
                value: task.task_id,
                'aria-label': `Choose ${task.task_id}`,
                checked: chosen.has(task.task_id),
              }),
            ),
          cell('Task', taskLink(task.task_id)),
          cell('State', badge(task.state)),
          cell('Queue', `${task.queue} ${task.media}`),
          cell('Worker', workerLink(task.worker)),
          cell('Created', h('time', { datetime: task.created_at }, moment(task.created_at))),
          cell('Wait', duration(task.wait_s)),
          cell('Run', duration(task.run_s)),
          cell('Attempts', task.attempts),
          cell('Notes', task.error_code ?? (task.found === undefined ? '' : foundText(task.found))),
        ),
      ),
    ),
  );
}
