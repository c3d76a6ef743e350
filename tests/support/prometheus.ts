export type Sample = { name: string; labels: Record<string, string>; value: number };
export type Family = { type: string; help: string; samples: Sample[] };

const METRIC = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const SAMPLE = new RegExp(`^(${METRIC})(?:\\{(.*)\\})? (\\S+)(?: (-?\\d+))?$`);
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/;
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped'];

function readLabels(text: string | undefined): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text ?? ''; rest !== ''; ) {
    const [whole = '', name = '', value = ''] = LABEL.exec(rest) ?? [];
    if (whole === '') throw new Error(`malformed labels: ${text}`);
    if (Object.hasOwn(labels, name)) throw new Error(`label ${name} twice: ${text}`);
    labels[name] = value.replaceAll(/\\([\\n"])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(whole.length);
  }
  return labels;
}

function readValue(text: string): number {
  const special: Record<string, number> = { '+Inf': Infinity, '-Inf': -Infinity, NaN: Number.NaN };
  const value = special[text] ?? Number(text);
  if (Number.isNaN(value) && text !== 'NaN') throw new Error(`malformed value: ${text}`);
  return value;
}

/** Name of the family that a sample belongs to. */
function familyOf(name: string, families: Map<string, Family>): string {
  const stem = name.replace(/_(bucket|sum|count)$/, '');
  const type = families.get(stem)?.type;
  return type === 'histogram' || (type === 'summary' && !name.endsWith('_bucket')) ? stem : name;
}

const keyOf = (labels: Record<string, string>) =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));

function checkHistogram(name: string, { samples }: Family): void {
  const series = new Map<string, { buckets: [bound: number, count: number][]; sum?: number; count?: number }>();
  for (const { name: sample, labels, value } of samples) {
    const { le, ...others } = labels;
    const one = series.get(keyOf(others)) ?? { buckets: [] };
    series.set(keyOf(others), one);
    if (sample === `${name}_bucket`) one.buckets.push([readValue(le ?? ''), value]);
    else if (sample === `${name}_sum`) one.sum = value;
    else if (sample === `${name}_count`) one.count = value;
    else throw new Error(`${sample} in histogram ${name}`);
  }
  for (const [labels, { buckets, sum, count }] of series) {
    const isRising = buckets.every(([bound, n], i) => {
      const before = buckets[i - 1];
      return before === undefined || (bound > before[0] && n >= before[1]);
    });
    const last = buckets.at(-1);
    if (!isRising || last?.[0] !== Infinity || last[1] !== count || sum === undefined) {
      throw new Error(`histogram ${name}${labels} does not add up`);
    }
  }
}

/**
 * Reads Prometheus' text format 0.0.4 as strictly as its documentation words it: one HELP and one TYPE per family, before
 * its samples, all lines of a family together, no series twice, histograms that add up, a line feed at the very end.
 *
 * @throws Error that says what is wrong
 */
export function parseExposition(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const series = new Set<string>();
  const closed = new Set<string>();
  let current: string | undefined;
  if (!text.endsWith('\n')) throw new Error('no line feed at the end');

  function enter(name: string): Family {
    if (name !== current) {
      if (closed.has(name)) throw new Error(`the lines of ${name} are not together`);
      if (current !== undefined) closed.add(current);
      current = name;
    }
    const family = families.get(name) ?? { type: '', help: '', samples: [] };
    families.set(name, family);
    return family;
  }

  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const [, keyword, name = '', rest = ''] = new RegExp(`^# (HELP|TYPE) (${METRIC})(?: (.*))?$`).exec(line) ?? [];
    if (keyword === 'HELP') {
      const family = enter(name);
      if (family.help !== '' || family.samples.length > 0) throw new Error(`second or late HELP: ${line}`);
      family.help = rest;
    } else if (keyword === 'TYPE') {
      const family = enter(name);
      if (family.type !== '' || family.samples.length > 0) throw new Error(`second or late TYPE: ${line}`);
      if (!TYPES.includes(rest)) throw new Error(`unknown type: ${line}`);
      family.type = rest;
    } else if (!line.startsWith('#')) {
      const [, sample = '', labelText, valueText = ''] = SAMPLE.exec(line) ?? [];
      if (sample === '') throw new Error(`malformed line: ${line}`);
      const labels = readLabels(labelText);
      const family = enter(familyOf(sample, families));
      if (family.type === '') throw new Error(`sample without TYPE: ${line}`);
      const key = `${sample}${keyOf(labels)}`;
      if (series.has(key)) throw new Error(`series twice: ${line}`);
      series.add(key);
      family.samples.push({ name: sample, labels, value: readValue(valueText) });
    } else if (/^# (HELP|TYPE)\b/.test(line)) throw new Error(`malformed comment: ${line}`);
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family);
  return families;
}

/** The value of one series, undefined where there is none. */
export function sampleValue(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const { samples = [] } = families.get(familyOf(name, families)) ?? {};
  return samples.find((sample) => sample.name === name && keyOf(sample.labels) === keyOf(labels))?.value;
}
