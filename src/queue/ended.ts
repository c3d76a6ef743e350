import type { Redis } from 'ioredis';
import { CHANNELS } from './keys.ts';

export type EndedListener = {
  /** Calls back when the task ends, also where it did a moment ago; the returned function gives up. */
  once(taskId: string, callback: () => void): () => void;
  /** Whether ends are heard of at present. */
  isListening(): boolean;
};

/** So many of the latest ends are remembered, for those who begin to wait right after one. */
const REMEMBERED = 2000;

/** Listens for the ends of tasks on a connection of its own, subscribed from the first time that somebody waits. */
export function listenForEnds(subscriber: Redis): EndedListener {
  const waiting = new Map<string, Set<() => void>>();
  const recent = new Set<string>();
  let subscribed: 'no' | 'asked' | 'yes' = 'no';

  subscriber.on('message', (channel: string, taskId: string) => {
    if (channel !== CHANNELS.ended) return;
    const callbacks = waiting.get(taskId);
    if (callbacks !== undefined) {
      for (const callback of callbacks) callback();
      return;
    }
    recent.add(taskId);
    const [oldest] = recent;
    if (recent.size > REMEMBERED && oldest !== undefined) recent.delete(oldest);
  });

  function subscribe(): void {
    subscribed = 'asked';
    subscriber.subscribe(CHANNELS.ended).then(
      () => {
        subscribed = 'yes';
      },
      () => {
        subscribed = 'no';
      },
    );
  }

  return {
    isListening: () => subscribed === 'yes' && subscriber.status === 'ready',
    once(taskId, callback) {
      if (subscribed === 'no') subscribe();
      if (recent.delete(taskId)) {
        callback();
        return () => undefined;
      }
      const callbacks = waiting.get(taskId) ?? new Set();
      waiting.set(taskId, callbacks.add(callback));
      return () => {
        callbacks.delete(callback);
        if (callbacks.size === 0 && waiting.get(taskId) === callbacks) waiting.delete(taskId);
      };
    },
  };
}
