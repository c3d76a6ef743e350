import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';

const refusing = (settings: Record<string, string>) =>
  loadConfig({ RECOGNIZE_REFUSE_WEAK_SECRETS: 'true', ...settings });

describe('weak secrets', () => {
  it.each([
    [{ DASHBOARD_USER: 'ann', DASHBOARD_PASSWORD: 'h7Kq2w' }, 'DASHBOARD_PASSWORD is shorter than 8 characters'],
    [{ DASHBOARD_USER: 'ann', DASHBOARD_PASSWORD: 'Password123!' }, 'DASHBOARD_PASSWORD is one of those'],
    [{ DASHBOARD_USER: 'ann', DASHBOARD_PASSWORD: 'aaaaaaaaaaaa' }, 'DASHBOARD_PASSWORD is one of those'],
    [{ DASHBOARD_USER: 'annannann', DASHBOARD_PASSWORD: 'annannann' }, 'the same as DASHBOARD_USER'],
    [{ METRICS_TOKEN: 'scrape-me' }, 'METRICS_TOKEN is shorter than 16 characters'],
    [{ API_KEYS: 'a:0123-4567-89ab-cdef,b:short' }, 'The key of b in API_KEYS is shorter than 16 characters'],
  ])('stop a published service: %o', (settings, sentence) => {
    expect(() => refusing(settings)).toThrow(sentence);
    expect(() => refusing(settings)).toThrow('npm run secrets');
    expect(() => loadConfig(settings)).not.toThrow();
  });

  it('are not named in the message', () => {
    expect(() => refusing({ METRICS_TOKEN: 'scrape-me' })).not.toThrow('scrape-me');
  });

  it('are not those that nobody has set, nor strong ones', () => {
    expect(() => refusing({})).not.toThrow();
    expect(() =>
      refusing({
        DASHBOARD_USER: 'ann',
        DASHBOARD_PASSWORD: 'three yellow ducks',
        METRICS_TOKEN: 'v8Jx0zq3Rm5TtYw2',
        API_KEYS: 'a:v8Jx0zq3Rm5TtYw2',
      }),
    ).not.toThrow();
  });
});
