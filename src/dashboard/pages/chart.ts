import { h } from './dom.ts';

const WIDTH = 288;
const HEIGHT = 40;

export type Series = { name: string; values: (number | null)[]; kind: 'line' | 'bad' | 'area' };

/** A line of a day, drawn small; null values are gaps. The title tells what a screen reader should say. */
export function sparkline(title: string, series: Series[], show: (value: number) => string): HTMLElement {
  const most = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const top = most === 0 ? 1 : most;
  const y = (value: number) => HEIGHT - 1 - (value / top) * (HEIGHT - 3);
  const drawn = series.map(({ name, values, kind }) => {
    const step = WIDTH / Math.max(1, values.length - 1);
    if (kind === 'bad') {
      const bars = values.map((value, index) =>
        value ? `M${(index * step).toFixed(1)} ${HEIGHT}V${y(value).toFixed(1)}` : '',
      );
      return h('path', { d: bars.join('') || 'M0 0', class: kind }, h('title', {}, name));
    }
    let path = '';
    let open = false;
    for (const [index, value] of values.entries()) {
      if (value === null) {
        open = false;
        continue;
      }
      path += `${open ? 'L' : 'M'}${(index * step).toFixed(1)} ${y(value).toFixed(1)}`;
      // A value between two gaps is a dot.
      if (kind === 'line') path += 'h0.6';
      open = true;
    }
    if (kind === 'area' && path !== '') path = `${path}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`;
    return h('path', { d: path === '' ? 'M0 0' : path, class: kind }, h('title', {}, name));
  });
  return h(
    'figure',
    { class: 'spark' },
    h('figcaption', {}, h('span', {}, title), h('span', {}, `max ${show(most)}`)),
    h(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-label': `${title}, last 24 hours, most ${show(most)}`,
      },
      drawn,
    ),
  );
}
