import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decide } from '../../../src/autoscale/decide.ts';
import { plot } from '../../../src/autoscale/plot.ts';
import { type Figures, type Policy, parseRules } from '../../../src/autoscale/policy.ts';
import { simulate } from '../../../src/autoscale/simulate.ts';
import { parseTrace } from '../../../src/autoscale/trace.ts';
import { StartError } from '../../../src/errors.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

function policy(more: object = {}): Policy {
  const rules = parseRules(JSON.stringify({ workers: { face: { max: 6, ...more } } }), 'test');
  if (rules.workers.face === undefined) throw new Error('no rules');
  return rules.workers.face;
}

const CROWDED: Figures = { length: 101, wait_s: 31, cpu_percent: 95 };
const IDLE: Figures = { length: 9, wait_s: 0, cpu_percent: 29 };
const NOON = Date.parse('2026-01-05T12:00:00Z');

function wanted(
  workers: number,
  figures: Figures,
  { changed = undefined as number | undefined, rules = policy() } = {},
) {
  const changedAt = changed === undefined ? undefined : NOON - changed * 1000;
  return decide(rules, 'UTC', workers, figures, changedAt, NOON).workers;
}

describe('a decision', () => {
  it('adds two only where more than 100 wait and wait for more than 30 s', () => {
    expect(wanted(1, CROWDED)).toBe(3);
    expect(wanted(1, { ...CROWDED, length: 100 })).toBe(1);
    expect(wanted(1, { ...CROWDED, wait_s: 30 })).toBe(1);
  });

  it('removes one only where less than 10 wait and less than 30 % of the CPU are used', () => {
    expect(wanted(3, IDLE)).toBe(2);
    expect(wanted(3, { ...IDLE, length: 10 })).toBe(3);
    expect(wanted(3, { ...IDLE, cpu_percent: 30 })).toBe(3);
    expect(wanted(3, { ...IDLE, cpu_percent: undefined })).toBe(3);
  });

  it('stays between minimum and maximum', () => {
    expect(wanted(5, CROWDED)).toBe(6);
    expect(wanted(6, CROWDED)).toBe(6);
    expect(wanted(1, IDLE)).toBe(1);
    expect(wanted(9, CROWDED)).toBe(6);
    expect(wanted(0, IDLE)).toBe(1);
  });

  it('adds none that the global concurrency of the queue would keep idle, and says so', () => {
    const held = { ...CROWDED, limit: { concurrency: 4, slots: 4 } };
    expect(decide(policy(), 'UTC', 2, held, undefined, NOON)).toMatchObject({
      workers: 2,
      held: "the queue's global concurrency of 4 is the limit: 4 slots are online",
    });
    expect(wanted(2, { ...held, limit: { concurrency: 5, slots: 4 } })).toBe(4);
    // Minimums hold, and rules take away as ever.
    expect(wanted(1, held, { rules: policy({ min: 2 }) })).toBe(2);
    expect(wanted(3, { ...IDLE, limit: { concurrency: 1, slots: 4 } })).toBe(2);
  });

  it('adds none to a queue that is paused, and says so', () => {
    const held = { ...CROWDED, paused: true };
    expect(decide(policy(), 'UTC', 2, held, undefined, NOON)).toMatchObject({
      workers: 2,
      reason: undefined,
      held: 'the queue is paused',
    });
    expect(wanted(2, { ...CROWDED, paused: false })).toBe(4);
    // Minimums hold, and rules take away as ever.
    expect(wanted(1, held, { rules: policy({ min: 2 }) })).toBe(2);
    expect(wanted(3, { ...IDLE, paused: true })).toBe(2);
  });

  it('waits for the cool-down, longer before it removes than before it adds', () => {
    expect(wanted(1, CROWDED, { changed: 59 })).toBe(1);
    expect(wanted(1, CROWDED, { changed: 60 })).toBe(3);
    expect(wanted(3, IDLE, { changed: 299 })).toBe(3);
    expect(wanted(3, IDLE, { changed: 300 })).toBe(2);
  });

  it('takes a schedule as a minimum at once, and adds above it', () => {
    const rules = policy({ schedules: [{ days: ['mon'], from: '09:00', to: '17:00', min: 4 }] });
    expect(wanted(1, IDLE, { rules, changed: 1 })).toBe(4);
    expect(wanted(4, IDLE, { rules })).toBe(4);
    expect(wanted(4, CROWDED, { rules })).toBe(6);
    expect(decide(rules, 'UTC', 1, IDLE, undefined, NOON).floor).toBe(4);
  });
});

describe('rules', () => {
  it.each([
    ['{', 'is no JSON'],
    ['{}', 'workers'],
    ['{"workers": {}}', 'must name face or object'],
    ['{"workers": {"face": {"max": 0}}}', 'workers.face.max'],
    ['{"workers": {"face": {"max": 2, "min": 3}}}', 'min must not be greater than max'],
    ['{"workers": {"cat": {"max": 2}}}', 'cat'],
    ['{"timezone": "Mars/Base", "workers": {"face": {"max": 2}}}', 'time zone'],
    ['{"workers": {"face": {"max": 2, "rules": [{"if": {}, "add": 1}]}}}', 'condition'],
    ['{"workers": {"face": {"max": 2, "rules": [{"if": {"length": {}}, "add": 1}]}}}', 'above'],
    ['{"workers": {"face": {"max": 2, "rules": [{"if": {"length": {"above": 1}}, "add": 0}]}}}', 'must not be 0'],
    [
      '{"workers": {"face": {"max": 2, "schedules": [{"days": ["mon"], "from": "9:00", "to": "17:00", "min": 1}]}}}',
      'time from 00:00 to 24:00',
    ],
    [
      '{"workers": {"face": {"max": 2, "schedules": [{"days": ["mon"], "from": "09:00", "to": "17:00", "min": 3}]}}}',
      'more than max',
    ],
  ])('that are wrong are told in a sentence: %s', (text, word) => {
    expect(() => parseRules(text, 'autoscale.json')).toThrow(StartError);
    expect(() => parseRules(text, 'autoscale.json')).toThrow(new RegExp(`^autoscale.json .*${word}`));
  });
});

describe('the example', () => {
  const rules = parseRules(readFileSync(resolve(ROOT, 'autoscale.example.json'), 'utf8'), 'the example');
  const trace = parseTrace(
    readFileSync(resolve(ROOT, 'deploy/autoscale/trace.example.json'), 'utf8'),
    'the example of a trace',
  );
  const steps = simulate(rules, trace);
  const at = (time: string) => steps.find((step) => step.at === Date.parse(`2026-01-05T${time}Z`));

  it('follows schedule and queue over a simulated day', () => {
    expect(at('08:59:50')?.workers).toBe(2);
    expect(at('09:00:00')?.workers).toBe(10);
    expect(at('16:59:50')?.workers).toBe(10);
    // One every five minutes once the schedule no longer holds them.
    expect(at('17:40:00')?.workers).toBe(2);
    // A burst of 2460 tasks a minute at 19:00, of which a worker does 120.
    expect(Math.max(...steps.map(({ workers }) => workers))).toBe(20);
    expect(at('21:59:50')?.workers).toBe(2);
    expect(steps.every(({ workers, floor }) => workers >= floor && workers <= 20)).toBe(true);
    expect(at('21:59:50')?.length).toBe(0);
  });

  it('never adds more than two within a minute, nor removes more than one within five', () => {
    const changes = steps.flatMap((step, index) => {
      const by = step.workers - (steps[index - 1]?.workers ?? step.workers);
      return by === 0 || step.reason?.startsWith('at least') ? [] : [{ at: step.at, by }];
    });
    expect(changes.length).toBeGreaterThan(20);
    for (const [index, { at: time, by }] of changes.entries()) {
      expect([-1, 2]).toContain(by);
      const before = changes[index - 1];
      if (before !== undefined) expect(time - before.at).toBeGreaterThanOrEqual(by > 0 ? 60_000 : 300_000);
    }
  });

  it('is drawn as an SVG', () => {
    const svg = plot(steps, 'a <day>', 'UTC');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg).toContain('a &lt;day&gt;');
    expect(svg).toContain('Mon 12:00');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('a recorded trace', () => {
  const rules = parseRules('{"every_s": 60, "workers": {"object": {"max": 9}}}', 'test');

  it('is taken as it is', () => {
    const points = [CROWDED, CROWDED, { ...CROWDED, length: 50 }, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE];
    const trace = parseTrace(
      JSON.stringify({ kind: 'object', start: '2026-01-05T12:00:00Z', step_s: 60, workers: 1, points }),
      'trace',
    );
    // Two more at once, two more a minute later, then five minutes of rest before the first goes.
    expect(simulate(rules, trace).map(({ workers }) => workers)).toEqual([3, 5, 5, 5, 5, 5, 4, 4, 4]);
  });

  it('must fit', () => {
    const face = { kind: 'face', start: '2026-01-05T12:00:00Z', step_s: 60, points: [IDLE] };
    expect(() => simulate(rules, parseTrace(JSON.stringify(face), 'trace'))).toThrow('no rules for face');
    expect(() => parseTrace(JSON.stringify({ ...face, points: [] }), 'trace')).toThrow(/^trace cannot be used/);
    expect(() => parseTrace('[', 'trace')).toThrow(/^trace is no JSON/);
  });
});
