import type { Step } from './simulate.ts';

const WIDTH = 960;
const PANEL_HEIGHT = 150;
const MARGIN = { left: 64, right: 20, top: 36, gap: 44, bottom: 36 };

type Line = { of: (step: Step) => number; colour: string; stepped: boolean; filled?: boolean; name: string };
type Panel = { title: string; lines: Line[] };

const PANELS: Panel[] = [
  { title: 'Tasks that wait', lines: [{ of: (s) => s.length, colour: '#3465a4', stepped: false, name: '' }] },
  {
    title: 'Average wait in seconds',
    lines: [{ of: (s) => s.wait_s, colour: '#c17d11', stepped: false, name: '' }],
  },
  {
    title: 'CPU of the workers in percent',
    lines: [{ of: (s) => s.cpu_percent ?? 0, colour: '#75507b', stepped: false, name: '' }],
  },
  {
    title: 'Workers (shaded: the minimum at that time)',
    lines: [
      { of: (s) => s.floor, colour: '#b8d8b0', stepped: true, filled: true, name: 'minimum' },
      { of: (s) => s.workers, colour: '#2e7d32', stepped: true, name: 'workers' },
    ],
  },
];

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const round = (value: number) => Math.round(value * 10) / 10;

/** The next of 1, 2, 5, 10, 20 ... that is not below a value. */
function niceMaximum(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}

/** Steps of the time axis in ms, of which at most a dozen fit. */
function tickEvery(spanMs: number): number {
  const minutes = [1, 5, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080];
  return 60_000 * (minutes.find((count) => spanMs / (count * 60_000) <= 12) ?? 10_080);
}

function path(points: readonly [x: number, y: number][], stepped: boolean): string {
  return points
    .map(([x, y], index) => {
      if (index === 0) return `M${round(x)} ${round(y)}`;
      return stepped ? `H${round(x)}V${round(y)}` : `L${round(x)} ${round(y)}`;
    })
    .join('');
}

/**
 * Draws a simulation as an SVG: what waited, how long, how busy the workers were, and how many the rules asked for.
 *
 * @param timezone in which the time axis is labelled
 */
export function plot(steps: readonly Step[], title: string, timezone: string): string {
  const first = steps[0]?.at ?? 0;
  const span = Math.max(1, (steps.at(-1)?.at ?? 0) - first);
  const inner = WIDTH - MARGIN.left - MARGIN.right;
  const x = (at: number) => MARGIN.left + ((at - first) / span) * inner;
  const height = MARGIN.top + PANELS.length * (PANEL_HEIGHT + MARGIN.gap) + MARGIN.bottom;
  const label = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const every = tickEvery(span);
  const ticks: number[] = [];
  for (let at = Math.ceil(first / every) * every; at <= first + span; at += every) ticks.push(at);

  const panels = PANELS.map(({ title: name, lines }, index) => {
    const top = MARGIN.top + index * (PANEL_HEIGHT + MARGIN.gap) + 20;
    const bottom = top + PANEL_HEIGHT;
    const most = niceMaximum(Math.max(...steps.flatMap((step) => lines.map(({ of }) => of(step))), 1));
    const y = (value: number) => bottom - (value / most) * PANEL_HEIGHT;
    const grid = [0, 0.5, 1].map(
      (part) =>
        `<path class="grid" d="M${MARGIN.left} ${round(y(part * most))}H${WIDTH - MARGIN.right}"/><text x="${MARGIN.left - 8}" y="${round(y(part * most)) + 4}" text-anchor="end">${round(part * most)}</text>`,
    );
    const marks = ticks.map(
      (at) =>
        `<path class="grid" d="M${round(x(at))} ${top}V${bottom}"/>${index === PANELS.length - 1 ? `<text x="${round(x(at))}" y="${bottom + 18}" text-anchor="middle">${escaped(label.format(at))}</text>` : ''}`,
    );
    const drawn = lines.map(({ of, colour, stepped, filled }) => {
      const points = steps.map((step): [number, number] => [x(step.at), y(of(step))]);
      const d = path(points, stepped);
      if (!filled) return `<path d="${d}" fill="none" stroke="${colour}" stroke-width="1.6"/>`;
      return `<path d="${d}V${bottom}H${MARGIN.left}Z" fill="${colour}" stroke="none"/>`;
    });
    return `<g><text class="title" x="${MARGIN.left}" y="${top - 8}">${escaped(name)}</text>${grid.join('')}${marks.join('')}${drawn.join('')}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="11">
<style>.grid{stroke:#ddd;stroke-width:1;fill:none}.title{font-weight:bold}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${MARGIN.left}" y="22" font-size="14" font-weight="bold">${escaped(title)}</text>
${panels.join('\n')}
</svg>
`;
}
