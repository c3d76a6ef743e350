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

function found(result: TaskResult | undefined): string {
  if (result === undefined) return '';
  if ('faces_detected' in result) return `${result.faces_detected} faces`;
  if ('objects_detected' in result)
    return `${result.objects_detected} objects: ${[...new Set(result.objects.map((object) => object.class))].join(', ')}`;
  if ('total_faces_detected' in result)
    return `${result.total_faces_detected} faces in ${result.processed_frames} frames`;
  return Object.entries(result.object_summary)
    .map(([label, count]) => `${label} ${count}`)
    .join(', ');
}

/** The picture with its boxes, or the video: the annotated one where there is one. */
export function preview({
  task: { result },
  media,
  file,
  original_url,
  annotated_url,
  detections_url,
}: TaskDetail): HTMLElement | string {
  const source = media === 'video' ? (annotated_url ?? original_url) : original_url;
  if (source === null || file === null) return '';
  const shown =
    media === 'video'
      ? h('video', { src: source, controls: true, preload: 'metadata', 'data-keep': true })
      : h(
          'div',
          { class: 'picture' },
          h('img', { src: source, alt: 'The picture of this task', 'data-keep': true }),
          overlay(file.width, file.height, boxesOf(result)),
        );
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
      media === 'video' && annotated_url !== null
        ? h('span', {}, ', ', h('a', { href: annotated_url }, 'annotated'))
        : '',
      detections_url === null ? '' : h('span', {}, ', ', h('a', { href: detections_url }, 'all detections')),
    ),
  );
}
