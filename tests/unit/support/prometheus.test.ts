import { describe, expect, it } from 'vitest';
import { parseExposition, sampleValue } from '../../support/prometheus.ts';

const HISTOGRAM = `# HELP h Seconds.
# TYPE h histogram
h_bucket{le="0.5"} 1
h_bucket{le="+Inf"} 3
h_sum 4.5
h_count 3
`;

it('reads what is right', () => {
  const families = parseExposition(
    `# a comment\n# HELP up Whether it is.\n# TYPE up gauge\nup{job="a \\"b\\"\\\\",x="1"} 1\nup 0 1700000000000\n\n${HISTOGRAM}`,
  );
  expect(sampleValue(families, 'up', { x: '1', job: 'a "b"\\' })).toBe(1);
  expect(sampleValue(families, 'up')).toBe(0);
  expect(sampleValue(families, 'h_count')).toBe(3);
  expect(sampleValue(families, 'h_bucket', { le: '+Inf' })).toBe(3);
  expect(sampleValue(families, 'down')).toBeUndefined();
});

describe('refuses', () => {
  it.each([
    ['a missing line feed', '# TYPE a gauge\na 1'],
    ['a sample without type', 'a 1\n'],
    ['a type twice', '# TYPE a gauge\n# TYPE a gauge\na 1\n'],
    ['a type after samples', '# TYPE a gauge\na 1\n# HELP a Late.\n'],
    ['an unknown type', '# TYPE a speed\na 1\n'],
    ['lines apart', '# TYPE a gauge\na{x="1"} 1\n# TYPE b gauge\nb 1\na{x="2"} 1\n'],
    ['a series twice', '# TYPE a gauge\na{x="1",y="2"} 1\na{y="2",x="1"} 1\n'],
    ['a label twice', '# TYPE a gauge\na{x="1",x="1"} 1\n'],
    ['a label without quotes', '# TYPE a gauge\na{x=1} 1\n'],
    ['a bad name', '# TYPE a-b gauge\na-b 1\n'],
    ['no value', '# TYPE a gauge\na\n'],
    ['a bad value', '# TYPE a gauge\na one\n'],
    ['buckets that fall', HISTOGRAM.replace('} 1', '} 4')],
    ['a histogram without +Inf', HISTOGRAM.replace('h_bucket{le="+Inf"} 3\n', '')],
    ['a histogram without sum', HISTOGRAM.replace('h_sum 4.5\n', '')],
    ['a count that is not the last bucket', HISTOGRAM.replace('h_count 3', 'h_count 4')],
  ])('%s', (_what, text) => {
    expect(() => parseExposition(text)).toThrow();
  });
});
