import type { History, QueueView } from '../../contract/admin.ts';
import { sparkline } from './chart.ts';
import { h } from './dom.ts';
import { duration, number, percent } from './format.ts';

/** What one queue may have at work, where that is less than its workers could do. */
export function heldBack({ slots, global_concurrency: most }: QueueView): number | undefined {
  return most !== null && most < slots ? most : undefined;
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
    ['Slots', number(view.slots)],
  ];
  return h(
    'dl',
    { class: 'facts' },
    all.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
  );
}

/** Limits over all workers, with a button to take them away. */
function limits(view: QueueView, admin: boolean): HTMLElement | string {
  const { queue, global_concurrency: most, global_rate_limit: rate } = view;
  if (most === null && rate === null) return '';
  const texts = [
    ...(most === null ? [] : [`at most ${most} at a time over all workers (global concurrency)`]),
    ...(rate === null ? [] : [`at most ${rate.max} begun in ${duration(rate.duration_ms / 1000)} (rate limit)`]),
  ];
  return h(
    'p',
    { class: `limits${heldBack(view) === undefined ? '' : ' bad'}` },
    `Limited: ${texts.join('; ')}. `,
    admin && h('button', { 'data-do': 'lift', 'data-queue': queue }, 'Lift'),
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

function charts(queue: string, history: History | undefined): HTMLElement[] {
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

/** A queue on the overview: how it stands, its times, its last day; with buttons for an admin. */
export function queueCard(view: QueueView, history: History | undefined, admin: boolean): HTMLElement {
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
    limits(view, admin),
    counts(view),
    times(view),
    h('div', { class: 'sparks' }, charts(view.queue, history)),
  );
}
