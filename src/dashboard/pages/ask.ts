import type { ActionOutcome } from '../../contract/admin.ts';
import { notify, post } from './api.ts';
import { h } from './dom.ts';

export type Question = {
  title: string;
  text: string;
  /** What the button says that does it. */
  yes: string;
  /** A number to be given with it. */
  number?: { label: string; value: number; min: number; max: number };
};

/** Asks once, in a dialog. @returns undefined where the answer is no; else the number, 0 where none was asked for */
export function ask({ title, text, yes, number }: Question): Promise<number | undefined> {
  const input =
    number &&
    h('input', {
      type: 'number',
      name: 'number',
      value: number.value,
      min: number.min,
      max: number.max,
      required: true,
      autofocus: true,
    });
  // No button that submits: Enter means the one that does.
  const back = h('button', { type: 'button' }, 'Back');
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'question' },
    h(
      'form',
      { method: 'dialog' },
      h('h2', { id: 'question' }, title),
      h('p', {}, text),
      number && h('label', {}, `${number.label} `, input),
      h(
        'p',
        { class: 'buttons' },
        back,
        h('button', { value: 'yes', class: 'primary', autofocus: input === undefined }, yes),
      ),
    ),
  ) as HTMLDialogElement;
  back.addEventListener('click', () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      const value = input === undefined ? 0 : Number((input as HTMLInputElement).value);
      dialog.remove();
      resolve(dialog.returnValue === 'yes' ? value : undefined);
    });
  });
}

/**
 * Asks, does it and says how it went.
 *
 * @param body makes the request's body from the number that was given
 * @returns what came of it, undefined where nothing was tried or it failed
 */
export async function act<T extends ActionOutcome>(
  question: Question,
  path: string,
  body: (number: number) => unknown = () => ({}),
): Promise<T | undefined> {
  const number = await ask(question);
  if (number === undefined) return undefined;
  try {
    const outcome = await post<T>(path, body(number));
    notify(outcome.message, outcome.applied ? 'good' : 'bad');
    return outcome;
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error), 'bad');
    return undefined;
  }
}
