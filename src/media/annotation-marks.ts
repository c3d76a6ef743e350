import type { Size } from '../detect/detector.ts';
import { type Colour, groupColour, textColourOn } from './annotation-colours.ts';
import type { BoxToDraw } from './boxes-to-draw.ts';
import { GLYPH_ADVANCE, GLYPH_HEIGHT } from './font.ts';

/** A rectangle of pixels, `right` and `bottom` not included. */
export type Area = { left: number; top: number; right: number; bottom: number };

type Painted = Area & { colour: Colour };
/** Text from the top left corner of its area on, a font pixel being `scale` pixels wide and high. */
export type TextMark = Painted & { shape: 'text'; text: string; scale: number };
/** Something to paint: an area filled, a disc within it, or text. */
export type Mark = (Painted & { shape: 'rectangle' | 'disc' }) | TextMark;

/** Rows of label background above and below the text, and columns beside it, in font pixels. */
const PADDING = { top: 2, bottom: 1, side: 2 };
const LABEL_HEIGHT = PADDING.top + GLYPH_HEIGHT + PADDING.bottom;
const LONGEST_LABEL = 60;
/** Less of a label than this says nothing. */
const SHORTEST_LABEL = 3;

/** Thickness of lines and size of a font pixel, in pixels, so that both look alike in small and large pictures. */
function penFor(picture: Size): { line: number; text: number } {
  const side = Math.sqrt(picture.width * picture.height);
  return { line: Math.max(1, Math.round(1 + side / 500)), text: Math.max(1, Math.round(0.6 + side / 600)) };
}

function clip(area: Area, within: Size): Area {
  return {
    left: Math.max(0, area.left),
    top: Math.max(0, area.top),
    right: Math.min(within.width, area.right),
    bottom: Math.min(within.height, area.bottom),
  };
}

function isEmpty(area: Area): boolean {
  return area.right <= area.left || area.bottom <= area.top;
}

/** The four edges of a box, inside it. */
function edgesOf(box: Area, line: number): Area[] {
  const thickness = Math.max(1, Math.min(line, Math.floor(Math.min(box.right - box.left, box.bottom - box.top) / 3)));
  const { left, top, right, bottom } = box;
  return [
    { left, top, right, bottom: top + thickness },
    { left, top: bottom - thickness, right, bottom },
    { left, top: top + thickness, right: left + thickness, bottom: bottom - thickness },
    { left: right - thickness, top: top + thickness, right, bottom: bottom - thickness },
  ];
}

/** As much of a text as fits into the width of a label, undefined when that says nothing. */
function fitText(text: string, widthPx: number, scale: number): string | undefined {
  const room = Math.floor((widthPx / scale - 2 * PADDING.side + 1) / GLYPH_ADVANCE);
  const characters = Array.from(text);
  if (characters.length > room && room < SHORTEST_LABEL) return undefined;
  return characters.slice(0, Math.min(room, LONGEST_LABEL)).join('');
}

/** A label above the box, or inside it at its top where there is no room, always within the picture. */
function labelOf(text: string, box: Area, picture: Size, scale: number, colour: Colour): Mark[] {
  const fitting = fitText(text, picture.width, scale);
  const height = LABEL_HEIGHT * scale;
  if (!fitting || height > picture.height) return [];
  const width = (Array.from(fitting).length * GLYPH_ADVANCE - 1 + 2 * PADDING.side) * scale;
  const left = Math.max(0, Math.min(box.left, picture.width - width));
  const top = box.top >= height ? box.top - height : Math.min(box.top, picture.height - height);
  return [
    { shape: 'rectangle', colour, left, top, right: left + width, bottom: top + height },
    {
      shape: 'text',
      text: fitting,
      scale,
      colour: textColourOn(colour),
      left: left + PADDING.side * scale,
      top: top + PADDING.top * scale,
      right: left + width - PADDING.side * scale,
      bottom: top + (PADDING.top + GLYPH_HEIGHT) * scale,
    },
  ];
}

/** A dot with a rim, so that it shows on skin as well as on hair. */
function dotAt(point: { x: number; y: number }, radius: number, rim: number, colour: Colour): Mark[] {
  const around = (reach: number): Area => ({
    left: point.x - reach,
    top: point.y - reach,
    right: point.x + reach + 1,
    bottom: point.y + reach + 1,
  });
  return [
    { shape: 'disc', colour: textColourOn(colour), ...around(radius + rim) },
    { shape: 'disc', colour, ...around(radius) },
  ];
}

/**
 * What is to be painted for one box, the lower layers first.
 *
 * @returns `outline`: edges and landmark points, which every label covers; `label`: its background and text
 */
export function marksOf(box: BoxToDraw, picture: Size): { outline: Mark[]; label: Mark[] } {
  const pen = penFor(picture);
  const colour = groupColour(box.group);
  const { x, y, width, height } = box.bbox;
  const area = clip({ left: x, top: y, right: x + width, bottom: y + height }, picture);
  if (isEmpty(area)) return { outline: [], label: [] };
  const edges = edgesOf(area, pen.line).map((edge): Mark => ({ shape: 'rectangle', colour, ...edge }));
  const radius = Math.round(Math.min(pen.line, Math.min(width, height) / 30));
  const points = (box.points ?? []).flatMap((point) => dotAt(point, radius, Math.ceil(radius / 3), colour));
  return {
    outline: [...edges.filter((edge) => !isEmpty(edge)), ...points],
    label: labelOf(box.text, area, picture, pen.text, colour),
  };
}
