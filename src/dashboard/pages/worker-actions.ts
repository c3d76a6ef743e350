import type { WorkerView } from '../../contract/admin.ts';
import { act } from './ask.ts';
import { h, onPress } from './dom.ts';

const QUESTIONS = {
  drain: { text: 'It finishes what it runs and takes no more tasks until it is resumed.', yes: 'Drain' },
  resume: { text: 'It takes tasks again.', yes: 'Resume' },
  restart: {
    text: 'It finishes what it can within its grace period, gives the rest back to the queue, ends, and is started anew by what supervises it.',
    yes: 'Restart',
  },
} as const;

/** Buttons for what can be done to a worker in its state. */
export function workerButtons({ name, state, concurrency }: WorkerView): HTMLElement[] {
  if (state === 'lost') return [];
  const button = (what: string, text: string) =>
    h('button', { 'data-do': what, 'data-worker': name, 'data-slots': concurrency }, text);
  return [
    state === 'draining' ? button('resume', 'Resume') : button('drain', 'Drain'),
    button('restart', 'Restart'),
    button('resize', 'Slots'),
  ];
}

/** @param after runs when something may have changed */
export function listenToWorkerButtons(after: () => Promise<void>): void {
  const then = () => after().catch(() => undefined);
  for (const verb of ['drain', 'resume', 'restart'] as const) {
    onPress(verb, ({ dataset: { worker = '' } }) => {
      const { text, yes } = QUESTIONS[verb];
      void act({ title: `${yes} ${worker}?`, text, yes }, `/workers/${worker}/${verb}`).then(then);
    });
  }
  onPress('resize', ({ dataset: { worker = '', slots = '1' } }) => {
    const question = {
      title: `Slots of ${worker}`,
      text: 'How many tasks it runs at a time, each in a process of its own. This lasts until the worker is started anew.',
      yes: 'Change',
      number: { label: 'Slots', value: Number(slots), min: 1, max: 256 },
    };
    void act(question, `/workers/${worker}/concurrency`, (concurrency) => ({ concurrency })).then(then);
  });
}
