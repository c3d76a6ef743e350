import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchStorage } from '../../../src/storage/storage-watch.ts';

describe('a watch over storage', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  /** A store that answers each look only when it is told to. */
  function store() {
    const looks: PromiseWithResolvers<boolean>[] = [];
    const watch = watchStorage(() => {
      const look = Promise.withResolvers<boolean>();
      looks.push(look);
      return look.promise;
    });
    return { watch, looks };
  }

  it('looks once for all who ask, and again only after ten seconds', async () => {
    const { watch, looks } = store();
    const both = [watch.state(), watch.state()];
    looks[0]?.resolve(true);
    expect(await Promise.all(both)).toEqual([{ up: true }, { up: true }]);
    await vi.advanceTimersByTimeAsync(9900);
    expect(await watch.state()).toEqual({ up: true });
    expect(looks.length).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    const next = watch.state();
    expect(looks.length).toBe(2);
    looks[1]?.resolve(true);
    expect(await next).toEqual({ up: true });
  });

  it('says within two seconds that a store hangs, at once to those who ask later, and meets it with one look', async () => {
    const { watch, looks } = store();
    const first = watch.state();
    await vi.advanceTimersByTimeAsync(2001);
    const silent = { up: false, reason: 'the storage for files does not answer' };
    expect(await first).toEqual(silent);
    expect(await watch.state()).toEqual(silent);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await watch.state()).toEqual(silent);
    expect(looks.length).toBe(1);
    looks[0]?.resolve(true);
    await vi.advanceTimersByTimeAsync(1);
    expect(await watch.state()).toEqual({ up: true });
  });

  it('looks again soon at one that does not work, and tells one that is not there apart', async () => {
    const { watch, looks } = store();
    const first = watch.state();
    looks[0]?.reject(new Error('no space left'));
    expect(await first).toEqual({ up: false, reason: 'the storage for files cannot be used' });
    await vi.advanceTimersByTimeAsync(2100);
    const second = watch.state();
    looks[1]?.resolve(false);
    expect(await second).toEqual({ up: null, reason: 'it is not seen from here' });
  });
});
