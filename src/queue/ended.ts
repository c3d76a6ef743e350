import type { Redis } from 'ioredis';
import { CHANNELS } from './keys.ts';

export type EndedListener = {
  /** Calls back once when the task ends; the returned function gives up. */
  once(taskId: string, callback: () => void): () => void;
};

/** Listens for the ends of tasks on a connection of its own, subscribed from the first time that somebody waits. */
export function listenForEnds(subscriber: Redis): EndedListener {
  const waiting = new Map<string, Set<() => void>>();
  let subscribed = false;

  subscriber.on('message', (channel: string, taskId: string) => {
    if (channel !== CHANNELS.ended) return;
    for (const callback of waiting.get(taskId) ?? []) callback();
  });

  return {
    once(taskId, callback) {
      if (!subscribed) {
        subscribed = true;
        subscriber.subscribe(CHANNELS.ended).catch(() => {
          subscribed = false;
        });
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
