import { existsSync, readFileSync } from 'node:fs';
import { probeVideo } from '../../src/media/probe-video.ts';
import { readVideoFrames, type VideoFramesOptions, type VideoReading } from '../../src/media/video-frames.ts';
import type { VideoHeader } from '../../src/media/video-header.ts';
import { sharedPath } from './shared.ts';

const PIXELS = 100_000_000;

export type KnownVideo = {
  codec: string;
  stored: [number, number];
  shown: [number, number];
  frames: number;
  avg_frame_rate: string;
  audio: boolean;
};

/** The clips of the shared material by name, with what is known of them; none where it is missing. */
export function knownVideos(): [name: string, KnownVideo][] {
  const list = sharedPath('data/videos/videos.json');
  return existsSync(list) ? Object.entries(JSON.parse(readFileSync(list, 'utf8')) as Record<string, KnownVideo>) : [];
}

export function probeFile(path: string, pixels = PIXELS): Promise<VideoHeader> {
  return probeVideo(path, readFileSync(path).subarray(0, 4100), { pixels });
}

export type ReadVideo = {
  header: VideoHeader;
  frames: { index: number; timestamp: number; data: Uint8Array }[];
  reading: VideoReading;
};

/** Reads a video to its end as a detection does, in its own shape and 64 pixels wide where no size is given. */
export async function readFile(path: string, options: Partial<VideoFramesOptions> = {}): Promise<ReadVideo> {
  const header = await probeFile(path);
  const size = options.size ?? { width: 64, height: Math.max(1, Math.round((64 * header.height) / header.width)) };
  const video = readVideoFrames(path, header, { frameSkip: 1, pixels: PIXELS, ...options, size });
  const frames: ReadVideo['frames'] = [];
  for await (const { frame, index, timestamp } of video) frames.push({ index, timestamp, data: frame.data.slice() });
  return { header, frames, reading: await video.ended };
}
