import { pino } from 'pino';
import { expect, it } from 'vitest';
import { startAutoscaler } from '../../../src/autoscale/autoscaler.ts';
import { parseRules } from '../../../src/autoscale/policy.ts';
import { waitFor } from '../../support/wait-for.ts';

it('tries a change that failed again at the next look, and rests after one that went through', async () => {
  const rules = parseRules('{"every_s": 1, "workers": {"face": {"max": 9}}}', 'test');
  const crowded = async () => ({ length: 500, wait_s: 60, cpu_percent: 90 });
  let workers = 1;
  let looks = 0;
  const asked: number[] = [];
  const driver = {
    async count() {
      looks++;
      return workers;
    },
    async scale(_kind: string, wanted: number) {
      asked.push(wanted);
      if (asked.length === 1) throw new Error('the engine does not answer');
      workers = wanted;
    },
  };
  // Faster than any policy may ask for: a test need not take seconds.
  const autoscaler = startAutoscaler({ ...rules, every_s: 0.01 }, crowded, driver, pino({ level: 'silent' }));
  await waitFor('several looks', () => looks >= 6);
  await autoscaler.stop();
  // One more after the failure; then the cool-down of a minute holds.
  expect(asked).toEqual([3, 3]);
});
