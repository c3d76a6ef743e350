import type { TaskDetail } from '../../contract/admin.ts';
import type { BoundingBox, TaskResult } from '../../contract/results.ts';
import { h } from './dom.ts';

type Drawn = { bbox: BoundingBox; text: string };

const percent = (confidence: number) => `${Math.round(confidence * 100)} %`;

function boxesOf(result: TaskResult | undefined): Drawn[] {
  if (result === undefined) return [];
  if ('faces' in result)
    return result.faces.map((face) => ({ bbox: face.bbox, text: `face ${face.face_id} ${percent(face.confidence)}` }));
  if ('objects' in result)
    return result.objects.map((object) => ({
      bbox: object.bbox,
      text: `${object.class} ${percent(object.confidence)}`,
    }));
  return [];
}

/** The boxes over the original, drawn here: nothing has to be rendered for a look. */
function overlay(width: number, height: number, boxes: Drawn[]): HTMLElement {
  const unit = Math.max(width, height) / 500;
  return h(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, class: 'boxes', 'aria-hidden': 'true' },
    boxes.map(({ bbox: { x, y, width: across, height: down }, text }) =>
      h(
        'g',
        {},
        h('rect', { x, y, width: across, height: down, 'stroke-width': unit * 1.6 }),
        h('text', { x, y: Math.max(unit * 12, y - unit * 3), 'font-size': unit * 12, 'stroke-width': unit * 3 }, text),
      ),
    ),
  );
}

const counted = (count: number, thing: string) => `${count} ${thing}${count === 1 ? '' : 's'}`;

function found(result: TaskResult | undefined): string {
  if (result === undefined) return '';
  if ('faces_detected' in result) return counted(result.faces_detected, 'face');
  if ('objects_detected' in result) {
    const labels = [...new Set(result.objects.map((object) => object.class))];
    return [counted(result.objects_detected, 'object'), ...(labels.length === 0 ? [] : [labels.join(', ')])].join(': ');
  }
  const frames = counted(result.processed_frames, 'frame');
  if ('total_faces_detected' in result) return `${counted(result.total_faces_detected, 'face')} in ${frames}`;
  const labels = Object.entries(result.object_summary).map(([label, count]) => `${label} ${count}`);
  return labels.length === 0 ? `0 objects in ${frames}` : labels.join(', ');
}

/** What every browser of today shows in an `img`. */
const SEEN = new Set(['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif', 'image/bmp']);

/** A source of its own key: another one takes its place, the same one is left as it plays. */
const kept = (src: string) => ({ src, 'data-keep': true, 'data-key': src });

const picture = (src: string, ...over: HTMLElement[]) =>
  h('div', { class: 'picture', 'data-key': src }, h('img', { ...kept(src), alt: 'The picture of this task' }), over);

/** The picture with its boxes, or the video: the annotated one where there is one. */
function shownOf({ task: { result }, media, file, original_url, annotated_url }: TaskDetail): HTMLElement | undefined {
  if (file === null || original_url === null) return undefined;
  if (media === 'video' && annotated_url !== null)
    return h('video', { ...kept(annotated_url), controls: true, preload: 'metadata' });
  if (SEEN.has(file.mime)) {
    // An animation is taken as a video, and has its boxes for each frame.
    const boxes = media === 'video' ? [] : [overlay(file.width, file.height, boxesOf(result))];
    return picture(original_url, ...boxes);
  }
  if (media === 'video') return h('video', { ...kept(original_url), controls: true, preload: 'metadata' });
  if (annotated_url !== null) return picture(annotated_url);
  return h('p', {}, `Browsers do not show ${file.mime}: the original can be saved and opened elsewhere.`);
}

/** What a task looked at, with links to its files. */
export function preview(detail: TaskDetail): HTMLElement | string {
  const { original_url, annotated_url, detections_url } = detail;
  const { result } = detail.task;
  const shown = shownOf(detail);
  if (shown === undefined) return '';
  return h(
    'section',
    { class: 'card', id: 'preview' },
    h('h2', {}, 'Preview'),
    result === undefined ? '' : h('p', {}, found(result)),
    shown,
    h(
      'p',
      { class: 'hint' },
      original_url === null ? '' : h('a', { href: original_url }, 'original'),
      annotated_url !== null ? h('span', {}, ', ', h('a', { href: annotated_url }, 'annotated')) : '',
      detections_url === null ? '' : h('span', {}, ', ', h('a', { href: detections_url }, 'all detections')),
    ),
  );
}
