import type { VideoMime } from './media-types.ts';

/** A video's container: its media type and the one demuxer of ffmpeg that may read it. */
export type VideoContainer = { mime: VideoMime; demuxer: string };

const ASF_HEADER = Buffer.from('3026b2758e66cf11a6d900aa0062ce6c', 'hex');
const EBML_HEADER = Buffer.from('1a45dfa3', 'hex');
const PROGRAM_STREAM = Buffer.from('000001ba', 'hex');

/** Brands of the file type box that are not videos but pictures of the same box structure: HEIF, AVIF, JPEG 2000. */
const PICTURE_BRANDS = /^(hei|hev|avi|mif|msf|jp2|jpm|jpx|miaf)/;
/** First boxes of QuickTime files from before the file type box. */
const OLD_QUICKTIME_BOXES = new Set(['moov', 'mdat', 'wide', 'free', 'skip', 'pnot']);

const TS_SYNC = 0x47;
/** Packet length and offset of the first sync byte: plain, and with the time codes of discs and cameras. */
const TS_LAYOUTS = [
  { length: 188, first: 0 },
  { length: 192, first: 4 },
];
const TS_PACKETS = 5;
/** One sync byte is the letter G, with which many a text begins. */
const TS_LEAST_PACKETS = 2;

function mp4Container(head: Buffer): VideoContainer | undefined {
  const box = head.toString('latin1', 4, 8);
  if (box !== 'ftyp') {
    return OLD_QUICKTIME_BOXES.has(box) ? { mime: 'video/quicktime', demuxer: 'mov' } : undefined;
  }
  const brand = head.toString('latin1', 8, 12);
  if (PICTURE_BRANDS.test(brand)) return undefined;
  if (brand === 'qt  ') return { mime: 'video/quicktime', demuxer: 'mov' };
  if (brand === 'M4V ' || brand === 'M4VP' || brand === 'M4VH') return { mime: 'video/x-m4v', demuxer: 'mov' };
  if (/^3g2/.test(brand)) return { mime: 'video/3gpp2', demuxer: 'mov' };
  if (/^3g/.test(brand)) return { mime: 'video/3gpp', demuxer: 'mov' };
  return { mime: 'video/mp4', demuxer: 'mov' };
}

/** WebM and Matroska differ in the document type that their header names. */
function ebmlContainer(head: Buffer): VideoContainer | undefined {
  const header = head.toString('latin1', 0, 128);
  if (header.includes('webm')) return { mime: 'video/webm', demuxer: 'matroska' };
  return header.includes('matroska') ? { mime: 'video/x-matroska', demuxer: 'matroska' } : undefined;
}

function isTransportStream(head: Buffer): boolean {
  return TS_LAYOUTS.some(({ length, first }) => {
    const packets = Math.min(TS_PACKETS, Math.floor((head.length - first) / length));
    return (
      packets >= TS_LEAST_PACKETS &&
      Array.from({ length: packets }).every((_, n) => head[first + n * length] === TS_SYNC)
    );
  });
}

/**
 * The video container that a file claims to be by its first bytes (4100, or all of a shorter file), undefined for
 * everything else: playlists, scripts and elementary streams among them. Says nothing on whether there is a picture in it.
 */
export function videoContainerOf(bytes: Uint8Array): VideoContainer | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const startsWith = (start: Buffer) => head.subarray(0, start.length).equals(start);
  if (startsWith(EBML_HEADER)) return ebmlContainer(head);
  if (startsWith(ASF_HEADER)) return { mime: 'video/x-ms-wmv', demuxer: 'asf' };
  if (startsWith(PROGRAM_STREAM)) return { mime: 'video/mpeg', demuxer: 'mpeg' };
  const text = head.toString('latin1', 0, 12);
  if (text.startsWith('RIFF') && text.endsWith('AVI ')) return { mime: 'video/x-msvideo', demuxer: 'avi' };
  if (text.startsWith('FLV\x01')) return { mime: 'video/x-flv', demuxer: 'flv' };
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return { mime: 'image/gif', demuxer: 'gif' };
  if (isTransportStream(head)) return { mime: 'video/mp2t', demuxer: 'mpegts' };
  return mp4Container(head);
}
